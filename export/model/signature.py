"""The one serving function: every exported format is made from it.

    images (N, H, W, C) -> [preprocessing] -> model -> [softmax, top-k]
                        -> {"probabilities": (N, classes)} or other outputs by name

Whatever the model ends in, the function gives what was asked for: logits of a model
that ends in softmax, probabilities of one that gives logits, or what lies before. It
computes in float32; a model of another policy is rebuilt in float32 around the same
weights.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from export.config import CLASSIFIER_OUTPUTS, DEFAULT_TOP, check_choices
from keras_resnet.common.errors import InputError
from keras_resnet.images.preprocessing import Preprocessing
from keras_resnet.model import feature_maps
from keras_resnet.saving import Card, attach, card_of

PRECISION = "float32"
OPEN_SIZE = (65, 96)  # used where any size is taken: an odd and an even side
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


@dataclass(frozen=True)
class Signature:
    """What an artifact takes, computes and gives.

    Attributes:
        model: a Keras model in float32 that gives {"logits": ...}, {"embedding": ...}
            or {"C2": ..., ...}.
        output: "probabilities", "logits", "top_k", "features" or "embedding".
        outputs: name and kind of each, in order.
        top: number of classes of top_k.
        shape: of the input, (batch, height, width, channels); None where any number is
            taken.
        dtype: of the input: "uint8" with preprocessing inside, else the model's.
        preprocessing: what the weights expect of an image, at the model's size where
            that is fixed; None if unknown.
        preprocess: how much of that the function does: "none", "normalize" or "full".
        card: what travelled with the weights; None if nothing did.
    """

    model: keras.Model
    output: str
    outputs: tuple[Output, ...]
    top: int
    shape: tuple[int | None, int | None, int | None, int]
    dtype: str
    preprocessing: Preprocessing | None
    preprocess: str
    card: Card | None

    def __call__(self, images: Any) -> dict[str, Any]:
        """Images to the outputs by name, as backend tensors."""
        return self._serve(images, partial(self.model, training=False))

    def with_weights(self, images: Any, weights: list) -> dict[str, Any]:
        """As `__call__`, with `weights` in place of those of `model.weights`."""
        by_id = {id(v): w for v, w in zip(self.model.weights, weights, strict=True)}

        def call(images):
            return self.model.stateless_call(
                [by_id.get(id(v), v) for v in self.model.trainable_variables],
                [by_id.get(id(v), v) for v in self.model.non_trainable_variables],
                images,
                training=False,
            )[0]

        return self._serve(images, call)

    def _serve(self, images, call: Callable) -> dict[str, Any]:
        if self.preprocessing and self.preprocess == "full":
            images = self.preprocessing(images)
        elif self.preprocessing and self.preprocess == "normalize":
            images = self.preprocessing.normalize(images)
        tensors = call(images)
        if self.output not in ("probabilities", "top_k"):
            return tensors
        probabilities = ops.softmax(tensors["logits"])
        if self.output == "probabilities":
            return {self.output: probabilities}
        best: Any = ops.top_k(probabilities, self.top)
        scores, classes = best
        return {"scores": scores, "classes": ops.cast(classes, "int64")}

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the network's images; usual ones where they are open."""
        height, width = self.preprocessing.size if self.preprocessing else OPEN_SIZE
        return self.shape[1] or height, self.shape[2] or width

    @property
    def takes_levels(self) -> bool:
        """Whether images enter as they are, in whole numbers of 0..255."""
        return np.issubdtype(np.dtype(self.dtype), np.integer)

    @property
    def scaling_known(self) -> bool:
        """Whether it is known how values of 0..255 become the input."""
        return self.takes_levels or self.preprocessing is not None


def make_signature(
    model: keras.Model,
    *,
    card: Card | None = None,
    output: str = "probabilities",
    top: int = DEFAULT_TOP,
    preprocess: str = "none",
    input_size: tuple[int, int] | None = None,
    batch: int | None = None,
) -> Signature:
    """The serving function of a model.

    Args:
        model: a functional or sequential Keras model with one image input. For
            "probabilities", "logits" and "top_k" it gives (batch, classes) and ends in
            a Dense layer without activation, or in softmax: of a Dense, Activation or
            Softmax layer. It need not have been called before.
        card: what travelled with the weights; None takes the model's own card.
        output: "probabilities" or "logits", float32 (N, classes); "top_k": `scores`,
            float32 probabilities, and `classes`, int64, both (N, top), best first;
            "features": `C2` (the first stage's) to the last stage's map, float32 (N,
            height, width, channels), of a model from keras_resnet or
            keras.applications; "embedding", float32 (N, features): what enters the
            last Dense layer, or leaves the global pooling of a model without one.
        top: number of classes of "top_k".
        preprocess: "none": images enter as the model takes them; "normalize": uint8
            images of 0..255 at the network's size enter; "full": uint8 images of
            any size, which are resized and cropped inside as well, by the card's
            preprocessing at the network's size.
        input_size: (height, width) for a model that leaves them open; None leaves
            them open in the artifact too, and "full" takes the card's.
        batch: number of images at once; None for any.

    Raises:
        InputError: the model is of another kind or holds NaN or infinite weights, has
            no such output, images shall be prepared and nothing says how, or an
            argument does not fit the model.
    """
    check_choices(output, top, preprocess, batch)
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"KERAS_BACKEND={keras.backend.backend()}: export needs 'tensorflow'."
        )
    card = card or card_of(model)
    preprocessing = card.preprocessing if card else None
    if preprocess != "none" and preprocessing is None:
        raise InputError(
            f"preprocess={preprocess!r}: nothing says what the weights expect of an "
            "image; published weights, or a .keras file whose card holds its "
            "preprocessing, are needed."
        )
    _check_model(model, output, top)
    _, *sides, channels = model.input_shape
    fitting = (channels,) if preprocess == "full" else (1, channels)
    if preprocessing and len(preprocessing.mean) not in fitting:
        raise InputError(
            f"model {model.name!r} takes {channels} channels, and its card's "
            f"preprocessing is for {len(preprocessing.mean)}."
        )
    if preprocessing and preprocess == "full" and input_size is None:
        input_size = preprocessing.size if None in sides else tuple(sides)
    if input_size is not None:
        _check_input_size(model, input_size)
    height, width = input_size or sides
    if preprocessing and height and width:
        preprocessing = replace(preprocessing, size=(height, width))
    if preprocess == "full":
        height = width = None
    cut = _cut(_in_float32(model, card), output)
    names = {"top_k": ("scores", "classes"), "features": tuple(cut.output)}
    return Signature(
        model=cut,
        output=output,
        outputs=tuple(Output(n, output) for n in names.get(output, (output,))),
        top=top,
        shape=(batch, height, width, channels),
        dtype=model.inputs[0].dtype if preprocess == "none" else "uint8",
        preprocessing=preprocessing,
        preprocess=preprocess,
        card=card,
    )


def _check_model(model, output: str, top: int) -> None:
    name = getattr(model, "name", type(model).__name__)
    if not getattr(model, "inputs", None):
        raise InputError(f"model {name!r}: a functional or sequential one is needed.")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"model {name!r} has {len(model.inputs)} inputs and {len(model.outputs)} "
            "outputs: one of each is needed."
        )
    entry, end = model.inputs[0].shape, model.outputs[0].shape
    if len(entry) != 4 or entry[-1] is None:
        raise InputError(
            f"model {name!r} takes {entry}: images of (batch, height, width, channels) "
            "are needed."
        )
    if output in CLASSIFIER_OUTPUTS and len(end) != 2:
        raise InputError(
            f"model {name!r} gives {end}: (batch, classes) of a classifier is needed."
        )
    if output == "top_k" and top > end[-1]:
        raise InputError(f"top={top}: model {name!r} has {end[-1]} classes.")
    for variable in model.weights:
        if not np.isfinite(variable.numpy().astype("float32")).all():
            raise InputError(
                f"model {name!r}: its weight {variable.path} holds NaN or infinity."
            )


def _check_input_size(model: keras.Model, size: tuple[int, int]) -> None:
    """Refuses a height and width that the model cannot take."""
    name = f"input_size={size[0]}x{size[1]}"
    if min(size) < 1:
        raise InputError(f"{name}: 1 or more is needed.")
    height, width = model.input_shape[1:3]
    if height not in (None, size[0]) or width not in (None, size[1]):
        raise InputError(f"{name}: model {model.name!r} takes {height}x{width} only.")
    try:
        model.compute_output_shape((None, *size, model.input_shape[-1]))
    except ValueError as error:
        raise InputError(
            f"{name} is too small for model {model.name!r}: {error}"
        ) from error


def _in_float32(model: keras.Model, card: Card | None) -> keras.Model:
    """The model itself, or a copy of it under the float32 policy."""
    if {layer.compute_dtype for layer in model.layers if layer.weights} <= {PRECISION}:
        return model

    def in_float32(layer):
        return type(layer).from_config(layer.get_config() | {"dtype": PRECISION})

    copy = keras.models.clone_model(model, clone_function=in_float32, recursive=True)
    copy.set_weights(model.get_weights())
    if card is not None:
        attach(copy, card)
    return copy


def _cut(model: keras.Model, output: str) -> keras.Model:
    """The model up to what `output` is computed from.

    It gives {"logits": (N, classes)}, {"embedding": (N, features)} or {"C2": (N, H, W,
    C), ...}.

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
    last, inner = _producer(model.outputs[0])
    softmax = keras.activations.softmax
    while _activation(last) is softmax and not isinstance(last, keras.layers.Dense):
        last, inner = _producer(inner)
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
    last, inner = _producer(model.outputs[0])
    activation = _activation(last)
    if activation is keras.activations.linear:
        return model.outputs[0]
    if activation is not keras.activations.softmax:
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


def _producer(tensor: Any) -> tuple[keras.layers.Layer, Any]:
    """The layer that gives a tensor, and the tensor that enters it there."""
    # The model's layers[-1] may be another: a function such as ops.softmax is no layer,
    # and one layer may be called several times.
    layer, call, _ = tensor._keras_history
    return layer, layer._inbound_nodes[call].input_tensors[0]


def _activation(layer: keras.layers.Layer) -> Any:
    """The activation of a Dense layer, or of a layer that is one; else None."""
    if isinstance(layer, keras.layers.Softmax):
        return keras.activations.softmax
    if isinstance(layer, keras.layers.Dense | keras.layers.Activation):
        return layer.activation
    return None
