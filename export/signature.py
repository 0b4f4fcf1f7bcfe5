"""The one serving function: every exported format is made from it.

    images (N, H, W, C) -> [preprocessing] -> model -> [softmax]
                        -> logits or probabilities (N, classes), float32

Whatever the model ends in, the function gives what was asked for: logits of a model
that ends in softmax, probabilities of one that gives logits. It computes in float32;
a model of another policy is rebuilt in float32 around the same weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_resnet.errors import InputError
from keras_resnet.preprocessing import Preprocessing
from keras_resnet.saving import Card, card_of

INPUT = "images"
OUTPUTS = ("probabilities", "logits")
PRECISION = "float32"


@dataclass(frozen=True)
class Signature:
    """What an artifact takes, computes and gives.

    Attributes:
        model: a Keras model in float32 that gives logits.
        output: "probabilities" or "logits", the output's name as well.
        shape: of the input, (None, height, width, channels); height and width are
            None where any size is taken.
        dtype: of the input: "uint8" with preprocessing baked in, else the model's.
        preprocessing: what the weights expect of a picture; None if unknown.
        baked_in: whether the function normalises, so that pictures of 0..255 enter.
        card: what travelled with the weights; None if nothing did.
    """

    model: keras.Model
    output: str
    shape: tuple[int | None, ...]
    dtype: str
    preprocessing: Preprocessing | None
    baked_in: bool
    card: Card | None

    def __call__(self, images: Any) -> Any:
        """Images to the output, as a backend tensor."""
        return self._serve(images, partial(self.model, training=False))

    def with_weights(self, images: Any, weights: list) -> Any:
        """As `__call__`, with `weights` in place of those of `model.weights`."""
        given = {id(v): w for v, w in zip(self.model.weights, weights, strict=True)}

        def call(images):
            return self.model.stateless_call(
                [given.get(id(v), v) for v in self.model.trainable_variables],
                [given.get(id(v), v) for v in self.model.non_trainable_variables],
                images,
                training=False,
            )[0]

        return self._serve(images, call)

    def _serve(self, images, call: Callable):
        if self.baked_in:
            images = self.preprocessing.normalize(images)
        logits = call(images)
        return ops.softmax(logits) if self.output == "probabilities" else logits

    def describe(self, layout: str = "nhwc") -> dict:
        """The part of an artifact's metadata that every format shares."""
        shape = list(self.shape)
        if layout == "nchw":
            shape = [shape[i] for i in (0, 3, 1, 2)]
        entry = {"name": INPUT, "shape": shape, "dtype": self.dtype, "layout": layout}
        card = self.card.to_json() if self.card else {}
        return {
            "architecture": card.get("architecture", self.model.name),
            "input": entry,
            "output": {"name": self.output, "kind": self.output},
            "labels": list(card.get("labels", ())),
            "preprocessing": self.preprocessing and self.preprocessing.to_json(),
            "preprocessing_baked_in": self.baked_in,
            "precision": PRECISION,
        }


def make_signature(
    model: keras.Model,
    *,
    card: Card | None = None,
    output: str = "probabilities",
    preprocess: bool = False,
    input_size: tuple[int, int] | None = None,
) -> Signature:
    """The serving function of a classifier.

    Args:
        model: a functional or sequential Keras model, from one image input to
            (batch, classes), that ends in a Dense layer without activation, or in
            softmax: of a Dense, Activation or Softmax layer. It need not have been
            called before.
        card: what travelled with the weights; None takes the model's own card.
        output: "probabilities" or "logits".
        preprocess: normalise inside, by the card's preprocessing; the input is then
            uint8 pictures of 0..255 at the network's size.
        input_size: (height, width) for a model that leaves them open; None leaves
            them open in the artifact too.

    Raises:
        InputError: the model is of another kind or holds NaN or infinite weights,
            `preprocess` is on and no preprocessing is known, `input_size` does not
            fit the model.
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"KERAS_BACKEND={keras.backend.backend()}: export needs 'tensorflow'."
        )
    if output not in OUTPUTS:
        raise InputError(f"output={output!r}: accepted are {', '.join(OUTPUTS)}.")
    card = card or card_of(model)
    preprocessing = card.preprocessing if card else None
    if preprocess and preprocessing is None:
        raise InputError(
            "preprocess is on, but nothing says how the pictures are to be "
            "normalised: a .keras file whose card holds its preprocessing is needed."
        )
    _check(model)
    channels = model.input_shape[-1]
    if preprocessing and len(preprocessing.mean) not in (1, channels):
        raise InputError(
            f"model {model.name!r} takes {channels} channels, and its card's "
            f"preprocessing is for {len(preprocessing.mean)}."
        )
    return Signature(
        model=_in_float32(_without_softmax(model)),
        output=output,
        shape=(None, *_size(model, input_size), channels),
        dtype="uint8" if preprocess else model.inputs[0].dtype,
        preprocessing=preprocessing,
        baked_in=preprocess,
        card=card,
    )


def _check(model) -> None:
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
    if len(end) != 2:
        raise InputError(
            f"model {name!r} gives {end}: (batch, classes) of a classifier is needed."
        )
    for variable in model.weights:
        if not np.isfinite(variable.numpy().astype("float32")).all():
            raise InputError(
                f"model {name!r}: its weight {variable.path} holds NaN or infinity."
            )


def _size(model, wanted: tuple[int, int] | None) -> tuple[int | None, int | None]:
    """Height and width of the input."""
    own = tuple(model.input_shape[1:3])
    if wanted is None:
        return own
    if min(wanted) < 1:
        raise InputError(f"input_size={wanted[0]}x{wanted[1]}: 1 or more is needed.")
    if any(mine not in (None, side) for mine, side in zip(own, wanted, strict=True)):
        raise InputError(
            f"input_size={wanted[0]}x{wanted[1]}: model {model.name!r} takes "
            f"{own[0]}x{own[1]} only."
        )
    try:
        model.compute_output_shape((None, *wanted, model.input_shape[-1]))
    except ValueError as error:
        raise InputError(
            f"input_size={wanted[0]}x{wanted[1]} is too small for model "
            f"{model.name!r}: {error}"
        ) from error
    return tuple(wanted)


def _without_softmax(model: keras.Model) -> keras.Model:
    """The model up to its logits."""
    # Not layers[-1]: a function such as ops.softmax is no layer, and one layer may be
    # called several times.
    last, call, _ = model.outputs[0]._keras_history
    logits = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    inner = last._inbound_nodes[call].input_tensors[0]
    activation = getattr(last, "activation", None)
    if isinstance(last, keras.layers.Softmax):
        activation = keras.activations.softmax
    elif not isinstance(last, keras.layers.Dense | keras.layers.Activation):
        activation = None
    if activation is keras.activations.linear:
        return logits
    if activation is not keras.activations.softmax:
        raise InputError(
            f"model {model.name!r} ends in {type(last).__name__} {last.name!r}: "
            "whether that gives logits or probabilities cannot be told. Accepted are "
            "a Dense layer without activation, and a softmax layer."
        )
    if not isinstance(last, keras.layers.Dense):
        return keras.Model(model.inputs[0], inner, name=model.name)
    linear = keras.layers.Dense.from_config(last.get_config() | {"activation": None})
    logits = keras.Model(model.inputs[0], linear(inner), name=model.name)
    linear.set_weights(last.get_weights())
    return logits


def _in_float32(model: keras.Model) -> keras.Model:
    """The model itself, or a copy of it under the float32 policy."""
    if {layer.compute_dtype for layer in model.layers if layer.weights} <= {PRECISION}:
        return model

    def in_float32(layer):
        return type(layer).from_config(layer.get_config() | {"dtype": PRECISION})

    copy = keras.models.clone_model(model, clone_function=in_float32, recursive=True)
    copy.set_weights(model.get_weights())
    return copy
