"""`build`: stem, stages, head."""

from typing import Any

import keras
from keras import layers

from keras_resnet.architectures import Architecture, get_architecture
from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_choice, check_whole, is_whole
from keras_resnet.layers import NHWC
from keras_resnet.saving import Card, allow_deep_graphs, attach, card_of
from keras_resnet.stages import feature_names, features
from keras_resnet.style import Style
from keras_resnet.weights import load_weights


def build(
    architecture: str | Architecture,
    *,
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: Any = "softmax",
    name: str | None = None,
    output_stride: int | None = None,
    drop_path_rate: float | None = None,
    drop_rate: float | None = None,
    zero_init_residual: bool | None = None,
    norm: str | None = None,
    activation: str | None = None,
    antialias: str | None = None,
) -> keras.Model:
    """Builds a network as a functional Keras model.

        >>> model = keras_resnet.build("resnet18", classes=10)
        >>> model.input_shape, model.output_shape
        ((None, 224, 224, 3), (None, 10))

    Images are (batch, height, width, channels), whatever Keras's image data
    format says; an image's side may be None (any size), since the head pools over
    all positions. Under a half-precision dtype policy the head stays in float32.

    Args:
        architecture: a name (`list_models`) or an `Architecture`.
        include_top: whether to end in the classifier.
        weights: None (random), "imagenet" or another tag, or the path of a file: as
            `load_weights` takes it.
        input_tensor: a Keras tensor to build upon, in place of a new input.
        input_shape: (height, width, channels). None takes the architecture's with
            the classifier, and (None, None, 3) without.
        pooling: without the classifier: None gives the last feature map, "avg" and
            "max" its average and maximum over positions.
        classes: outputs of the classifier. None takes the architecture's.
        classifier_activation: of the classifier; None gives logits.
        name: of the model, and prefix of its layers' names (`<name>-layer1-0-conv1`).
            None takes the architecture's, numbered from the second model on, so that
            models can be joined in one graph.
        output_stride: input pixels a side for one position of the last feature map: 8,
            16 or 32; later stages dilate in place of striding. None takes the
            architecture's, here and in all that follow.
        drop_path_rate: of the last block's branch; rises linearly from 0.
        drop_rate: of a dropout before the classifier.
        zero_init_residual: whether each branch starts at zero.
        norm: "batch", "frozen" (batch normalization in inference mode, untrained) or
            "group".
        activation: a name that Keras knows.
        antialias: pool before subsampling, "average" or "blur".

    Returns:
        A `keras.Model`; input (batch, height, width, channels), output (batch,
        classes), or features as `pooling` says.

    Raises:
        InputError: (a ValueError) an argument cannot be used.
    """
    if isinstance(architecture, str):
        architecture = get_architecture(architecture)
    if not isinstance(architecture, Architecture):
        raise InputError(
            f"architecture={architecture!r}: a name or an Architecture is needed."
        )
    settings = {
        "output_stride": output_stride,
        "drop_path_rate": drop_path_rate,
        "drop_rate": drop_rate,
        "zero_init_residual": zero_init_residual,
        "norm": norm,
        "activation": activation,
        "antialias": antialias,
    }
    changes = {key: value for key, value in settings.items() if value is not None}
    architecture = architecture.derive(**changes)
    allow_deep_graphs(architecture)
    classes = architecture.classes if classes is None else classes
    _check_head(include_top, pooling, classes, classifier_activation)
    if not name:
        number = keras.backend.get_uid(architecture.name)
        name = architecture.name if number == 1 else f"{architecture.name}_{number - 1}"
    if not isinstance(name, str) or "/" in name:  # which Keras refuses
        raise InputError(f"name={name!r}: a text without '/' is needed.")
    inputs = _input(architecture, include_top, input_tensor, input_shape, name)

    shared = ("norm", "activation", "epsilon", "momentum", "standardized", "biases")
    style = Style(**{field: getattr(architecture, field) for field in shared})
    x = features(inputs, architecture, style, name)
    x = _head(
        x, architecture, include_top, pooling, classes, classifier_activation, name
    )

    sources = keras.utils.get_source_inputs(inputs)
    model = keras.Model(sources[0] if len(sources) == 1 else sources, x, name=name)
    attach(model, Card(architecture))
    if weights is not None:
        load_weights(model, weights)
    return model


def feature_maps(model: keras.Model) -> dict[str, Any]:
    """The feature maps C1, C2 ... of a model that `build` made, for a network on top.

        >>> backbone = keras_resnet.ResNet18(
        ...     include_top=False, input_shape=(64, 64, 3)
        ... )
        >>> maps = keras_resnet.feature_maps(backbone)
        >>> {level: tuple(value.shape[1:]) for level, value in maps.items()}
        {'C1': (32, 32, 64), 'C2': (16, 16, 64), 'C3': (8, 8, 128),
         'C4': (4, 4, 256), 'C5': (2, 2, 512)}
        >>> pyramid = keras.Model(backbone.input, maps)

    Args:
        model: from `build`, or loaded from a file that was saved from such a model.

    Returns:
        Keras tensors of (batch, height, width, channels): C1 after the stem's
        convolutions, then each stage's output. In v2 the last map is normalized and
        activated, the others are the stages' raw sums.

    Raises:
        InputError: the model was not made by `build`.
    """
    card = card_of(model)
    try:
        names = feature_names(card.architecture) if card else {}
        ends = {key: f"{model.name}-{end}" for key, end in names.items()}
        maps = {key: model.get_layer(end).output for key, end in ends.items()}
    except ValueError:  # no such layer: the card is another model's
        maps = {}
    if not maps:
        name = getattr(model, "name", type(model).__name__)
        raise InputError(f"model={name!r}: a model from keras_resnet is needed.")
    return maps


def _head(x, net, include_top, pooling, classes, activation, name: str):
    policy = keras.config.dtype_policy()
    half = policy.compute_dtype in ("float16", "bfloat16")
    dtype = "float32" if half else policy
    options = {"data_format": NHWC, "dtype": dtype, "name": f"{name}-avgpool"}
    if include_top:
        x = layers.GlobalAveragePooling2D(**options)(x)
        if net.drop_rate:
            x = layers.Dropout(net.drop_rate, dtype=dtype, name=f"{name}-dropout")(x)
        dense = layers.Dense(
            int(classes),
            activation=activation,
            dtype=dtype,
            name=f"{name}-{net.classifier.replace('.', '-')}",
        )
        return dense(x)
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(**options)(x)
    if pooling == "max":
        options["name"] = f"{name}-maxpool-global"
        return layers.GlobalMaxPooling2D(**options)(x)
    return x


def _check_head(include_top, pooling, classes, activation):
    if not isinstance(include_top, bool):
        raise InputError(f"include_top={include_top!r}: True or False is needed.")
    check_choice("pooling", pooling, (None, "avg", "max"))
    if include_top:
        check_whole("classes", classes)
    try:
        keras.activations.get(activation)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"classifier_activation={activation!r}: None, a name that "
            "keras.activations knows or a function is needed."
        ) from error


def _input(net: Architecture, include_top, input_tensor, input_shape, name):
    """The Keras tensor to build upon, its shape checked."""
    if input_tensor is not None:
        if not keras.backend.is_keras_tensor(input_tensor):
            raise InputError(
                f"input_tensor={type(input_tensor).__name__}: a Keras tensor, such as "
                "keras.Input(...) gives, is needed."
            )
        if not keras.backend.is_float_dtype(input_tensor.dtype):
            raise InputError(
                f"input_tensor of {input_tensor.dtype}: a floating-point one is needed."
            )
        shape = tuple(input_tensor.shape[1:])
        wanted = tuple(input_shape) if isinstance(input_shape, list) else input_shape
        if wanted not in (None, shape):
            raise InputError(
                f"input_shape={input_shape} does not fit input_tensor, which has "
                f"{shape}: leave one of them out."
            )
        _check_shape(net, shape, "input_tensor.shape[1:]")
        return input_tensor
    if input_shape is None:
        side = net.input_size if include_top else None
        input_shape = (side, side, 3)
    _check_shape(net, input_shape, "input_shape")
    return keras.Input(tuple(input_shape), name=f"{name}-images")


def _check_shape(net: Architecture, shape, argument: str):
    wanted = f"{argument}={shape}: (height, width, channels) is needed"
    whole = isinstance(shape, tuple | list) and all(
        side is None or is_whole(side) for side in shape
    )
    if not whole or len(shape) != 3:
        raise InputError(f"{wanted}, whole numbers from 1 (height and width or None).")
    height, width, channels = shape
    if channels is None:
        raise InputError(f"{wanted}, with the number of channels.")
    sides = [side for side in (height, width) if side is not None]
    if sides and min(sides) < net.total_stride:
        hint = " It looks channels-first." if height in (1, 3, 4) else ""
        raise InputError(
            f"{wanted}, at least {net.total_stride} pixels a side: {net.name} halves "
            f"its input down to 1/{net.total_stride}.{hint}"
        )
