"""`build`: stem, stages, head."""

from collections import Counter
from typing import Any

import keras
from keras import layers

from keras_resnet import blocks
from keras_resnet.architectures import Architecture, get_architecture
from keras_resnet.blocks import NHWC
from keras_resnet.errors import InputError
from keras_resnet.layers import LowestPadding2D
from keras_resnet.weights import load_weights

_names = Counter()


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
) -> keras.Model:
    """Builds a network as a functional Keras model.

    Pictures are (batch, height, width, channels), whatever Keras's image data
    format says; a picture's side may be None (any size), since the head pools over
    all positions. Under a half-precision dtype policy the head stays in float32.

    Args:
        architecture: a name (`list_models`) or an `Architecture`.
        include_top: whether to end in the classifier.
        weights: None (random), or the path of a `.keras` or `.weights.h5` file that
            was saved from the same architecture.
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
    classes = architecture.classes if classes is None else classes
    _check_head(include_top, pooling, classes)
    name = name or _unique(architecture.name)
    inputs = _input(architecture, include_top, input_tensor, input_shape, name)

    x = _stem(inputs, architecture, name)
    x = _stages(x, architecture, name)
    x = _head(x, include_top, pooling, classes, classifier_activation, name)

    sources = keras.utils.get_source_inputs(inputs)
    model = keras.Model(sources[0] if len(sources) == 1 else sources, x, name=name)
    if weights is not None:
        load_weights(model, weights)
    return model


def _unique(name: str) -> str:
    _names[name] += 1
    return name if _names[name] == 1 else f"{name}_{_names[name] - 1}"


def _stem(x, net: Architecture, name: str):
    prefix = f"{name}-stem-conv" if net.preactivation else f"{name}-conv1"
    kernel, stride = (7, 2) if net.stem == "imagenet" else (3, 1)
    x = blocks.convolution(x, net.widths[0], kernel, stride, name=prefix)
    if not net.preactivation:
        x = blocks.normalization(x, name=f"{name}-bn1")
        x = blocks.relu(x, name=f"{name}-relu")
    if net.stem == "cifar":
        return x
    if net.preactivation:
        x = LowestPadding2D(1, name=f"{name}-maxpool-padding")(x)
    else:  # zeros are exact behind the ReLU
        pad = layers.ZeroPadding2D(1, data_format=NHWC, name=f"{name}-maxpool-padding")
        x = pad(x)
    return layers.MaxPooling2D(3, 2, data_format=NHWC, name=f"{name}-maxpool")(x)


def _stages(x, net: Architecture, name: str):
    block = _block_function(net)
    for stage, (depth, width) in enumerate(zip(net.depths, net.widths, strict=True)):
        for i in range(depth):
            # torchvision's names for the original order, timm's resnetv2 for v2, with
            # dashes: the torch backend takes no dots in names
            x = block(
                x,
                width,
                stride=2 if stage > 0 and i == 0 else 1,
                shortcut=net.shortcut,
                name=f"{name}-stages-{stage}-blocks-{i}"
                if net.preactivation
                else f"{name}-layer{stage + 1}-{i}",
                **_block_options(net, first=stage == i == 0),
            )
    if net.preactivation:
        x = blocks.normalization(x, name=f"{name}-norm")
        x = blocks.relu(x, name=f"{name}-relu")
    return x


def _block_function(net: Architecture):
    """The function for the architecture's blocks."""
    functions = {
        ("basic", False): blocks.basic_block,
        ("basic", True): blocks.preactivation_basic_block,
        ("bottleneck", False): blocks.bottleneck_block,
        ("bottleneck", True): blocks.preactivation_bottleneck_block,
    }
    return functions[net.block, net.preactivation]


def _block_options(net: Architecture, first: bool):
    """What this kind of block alone takes."""
    if net.block == "bottleneck":
        return {"stride_conv": net.stride_conv}
    # of the ImageNet form's reference, timm, the first identity keeps its raw input
    return {"first": first} if net.preactivation and net.stem == "cifar" else {}


def _head(x, include_top, pooling, classes, activation, name: str):
    policy = keras.config.dtype_policy()
    half = policy.compute_dtype in ("float16", "bfloat16")
    dtype = "float32" if half else policy
    options = {"data_format": NHWC, "dtype": dtype, "name": f"{name}-avgpool"}
    if include_top:
        x = layers.GlobalAveragePooling2D(**options)(x)
        dense = layers.Dense(
            classes, activation=activation, dtype=dtype, name=f"{name}-fc"
        )
        return dense(x)
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(**options)(x)
    if pooling == "max":
        options["name"] = f"{name}-maxpool-global"
        return layers.GlobalMaxPooling2D(**options)(x)
    return x


def _check_head(include_top, pooling, classes):
    if pooling not in (None, "avg", "max"):
        raise InputError(f"pooling={pooling!r}: accepted are None, 'avg' and 'max'.")
    if include_top and (not isinstance(classes, int) or classes < 1):
        raise InputError(f"classes={classes!r}: a whole number from 1 is needed.")


def _input(net: Architecture, include_top, input_tensor, input_shape, name):
    """The Keras tensor to build upon, its shape checked."""
    if input_tensor is not None:
        if not keras.backend.is_keras_tensor(input_tensor):
            raise InputError(
                f"input_tensor={type(input_tensor).__name__}: a Keras tensor, such as "
                "keras.Input(...) gives, is needed."
            )
        shape = tuple(input_tensor.shape[1:])
        if input_shape is not None and tuple(input_shape) != shape:
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
        one is None or (isinstance(one, int) and one > 0) for one in shape
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
