"""What an exported model gives: probabilities, logits, top-k, features, embedding.

`cut_model` ends a Keras model where the output leaves it, and `compute_outputs` does
what no layer of the model does.
"""

import re
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_resnet.common.errors import InputError
from keras_resnet.model import feature_maps
from keras_resnet.saving import card_of

# A block's output in keras.applications' ResNets.
APPLICATIONS_BLOCK = re.compile(r"conv(\d)_block\d+_out")


@dataclass(frozen=True)
class Output:
    """One output of an artifact.

    Attributes:
        name: in the artifact.
        kind: one of `export.config.OUTPUT_KINDS`.
    """

    name: str
    kind: str


def outputs_of(model: keras.Model, output: str) -> tuple[Output, ...]:
    """The outputs in order; `model` is what `cut_model` gave."""
    if output == "top_k":
        return Output("scores", output), Output("classes", output)
    if output == "features":
        return tuple(Output(name, output) for name in model.output)
    return (Output(output, output),)


def cut_model(model: keras.Model, output: str) -> keras.Model:
    """The model up to what `output` is computed from.

    Returns:
        A model of the same input around the same weights, that gives {"logits": (N,
        classes)}, {"embedding": (N, features)} or {"C2": (N, H, W, C), ...}.

    Raises:
        InputError: the model has no such output, or where it is cannot be told.
    """
    if output == "features":
        tensors = _features(model)
    elif output == "embedding":
        tensors = {"embedding": _embedding(model)}
    else:
        tensors = {"logits": _logits(model)}
    return keras.Model(model.inputs[0], tensors, name=model.name)


def compute_outputs(tensors: dict[str, Any], output: str, top: int) -> dict[str, Any]:
    """The outputs by name, from what the model of `cut_model` gave."""
    if output not in ("probabilities", "top_k"):
        return tensors
    probabilities = ops.softmax(tensors["logits"])
    if output == "probabilities":
        return {output: probabilities}
    best: Any = ops.top_k(probabilities, top)
    scores, classes = best
    return {"scores": scores, "classes": ops.cast(classes, "int64")}


def _features(model: keras.Model) -> dict[str, Any]:
    """C2 (the first stage's output) and on, of our models and keras.applications'."""
    if card_of(model):
        maps = feature_maps(model)
        return {name: tensor for name, tensor in maps.items() if name != "C1"}
    maps: dict[str, Any] = {}
    for layer in model.layers:  # a stage's last block replaces those before it
        if match := APPLICATIONS_BLOCK.fullmatch(layer.name):
            maps[f"C{match[1]}"] = layer.output
    if not maps:
        raise InputError(
            f"output='features': where the stages of model {model.name!r} end cannot "
            "be told; a model from keras_resnet or keras.applications is needed."
        )
    return maps


def _embedding(model: keras.Model) -> Any:
    """What enters the classifier, or what a model without one pools."""
    last, _, inner = _last_layer(model)
    while _is_softmax(last) and not isinstance(last, keras.layers.Dense):
        last, call, _ = inner._keras_history
        inner = last._inbound_nodes[call].input_tensors[0]
    if isinstance(last, keras.layers.Dense):
        return inner
    if len(model.output_shape) == 2 and "Pooling" in type(last).__name__:
        return model.outputs[0]
    raise InputError(
        f"output='embedding': model {model.name!r} ends in {type(last).__name__} "
        f"{last.name!r}; a Dense layer, before softmax or not, or global pooling is "
        "needed."
    )


def _logits(model: keras.Model) -> Any:
    """What a classifier gives, or what enters its softmax."""
    last, activation, inner = _last_layer(model)
    if activation is keras.activations.linear:
        return model.outputs[0]
    if not _is_softmax(last):
        raise InputError(
            f"model {model.name!r} ends in {type(last).__name__} {last.name!r}: "
            "whether that gives logits or probabilities cannot be told. Accepted are "
            "a Dense layer without activation, and a softmax layer."
        )
    if not isinstance(last, keras.layers.Dense):
        return inner
    linear = keras.layers.Dense.from_config(last.get_config() | {"activation": None})
    logits = linear(inner)
    linear.set_weights(last.get_weights())
    return logits


def _last_layer(model: keras.Model) -> tuple[keras.layers.Layer, Any, Any]:
    """The layer that gives the output, its activation, and the tensor that enters."""
    # Not layers[-1]: a function such as ops.softmax is no layer, and one layer may be
    # called several times.
    last, call, _ = model.outputs[0]._keras_history
    inner = last._inbound_nodes[call].input_tensors[0]
    return last, _activation(last), inner


def _activation(layer: keras.layers.Layer) -> Any:
    """The activation of a Dense layer, or of a layer that is one; else None."""
    if isinstance(layer, keras.layers.Softmax):
        return keras.activations.softmax
    if isinstance(layer, keras.layers.Dense | keras.layers.Activation):
        return layer.activation
    return None


def _is_softmax(layer: keras.layers.Layer) -> bool:
    return _activation(layer) is keras.activations.softmax
