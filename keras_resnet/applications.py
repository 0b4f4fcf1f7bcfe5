"""`ResNet18(...)` to `ResNet1202(...)`, in keras.applications' signature.

Importing this module imports no Keras; calling a function does.
"""

from typing import TYPE_CHECKING, Any, Protocol

from keras_resnet.architectures import PAPERS, get_architecture

if TYPE_CHECKING:
    import keras

_DOCUMENTATION = """{title}

    Blocks are {blocks} a stage, {block}{order}; shortcut {shortcut}.
    Source: {source}.
    {paper}.

    Args:
        include_top: whether to end in the classifier.
        weights: None (random), or the path of a `.keras` or `.weights.h5` file that
            was saved from the same architecture.
        input_tensor: a Keras tensor to build upon, in place of a new input.
        input_shape: (height, width, channels), channels last; height and width may
            be None. Default: ({size}, {size}, 3) with the classifier, (None, None, 3)
            without. At least {stride} pixels a side.
        pooling: without the classifier: None gives the last feature map, "avg" and
            "max" its average and maximum over positions.
        classes: outputs of the classifier. Default: {classes}.
        classifier_activation: of the classifier; None gives logits.
        name: of the model, and prefix of its layers' names. Default: "{name}",
            numbered from the second model on.

    Returns:
        A `keras.Model`: (batch, height, width, channels) to (batch, classes).

    Raises:
        ValueError: an argument cannot be used; the message says what could.
    """


class Application(Protocol):
    """The signature that every function here has; keras.applications' own."""

    def __call__(
        self,
        include_top: bool = True,
        weights: Any = None,
        input_tensor: Any = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int | None = None,
        classifier_activation: Any = "softmax",
        name: str | None = None,
    ) -> "keras.Model":
        """Builds the network; see `keras_resnet.build` for the arguments."""


def _application(public_name: str, name: str) -> Application:
    """The public function for one row of the table."""

    def application(
        include_top=True,
        weights=None,
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=None,
        classifier_activation="softmax",
        name=None,
    ):
        from keras_resnet.model import build

        return build(
            architecture,
            include_top=include_top,
            weights=weights,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            name=name,
        )

    architecture = get_architecture(name)
    application.__name__ = application.__qualname__ = public_name
    application.__doc__ = _DOCUMENTATION.format(
        title=f"{public_name}, built by `keras_resnet.build({name!r}, ...)`.",
        blocks=", ".join(map(str, architecture.depths)),
        block=architecture.block,
        order=", pre-activation" if architecture.preactivation else "",
        shortcut=architecture.shortcut,
        source=architecture.source,
        paper="; ".join(
            f"{k}: {v}" for k, v in PAPERS.items() if k in architecture.source
        ),
        size=architecture.input_size,
        stride=architecture.total_stride,
        classes=architecture.classes,
        name=name,
    )
    return application


# Spelled out, one line a function, so that editors complete and check them.
ResNet18 = _application("ResNet18", "resnet18")
ResNet18V1 = _application("ResNet18V1", "resnet18_v1")
ResNet18V2 = _application("ResNet18V2", "resnet18_v2")
ResNet34 = _application("ResNet34", "resnet34")
ResNet34V1 = _application("ResNet34V1", "resnet34_v1")
ResNet34V2 = _application("ResNet34V2", "resnet34_v2")
ResNet50 = _application("ResNet50", "resnet50")
ResNet50V1 = _application("ResNet50V1", "resnet50_v1")
ResNet50V2 = _application("ResNet50V2", "resnet50_v2")
ResNet101 = _application("ResNet101", "resnet101")
ResNet101V1 = _application("ResNet101V1", "resnet101_v1")
ResNet101V2 = _application("ResNet101V2", "resnet101_v2")
ResNet152 = _application("ResNet152", "resnet152")
ResNet152V1 = _application("ResNet152V1", "resnet152_v1")
ResNet152V2 = _application("ResNet152V2", "resnet152_v2")
ResNet200 = _application("ResNet200", "resnet200")
ResNet200V1 = _application("ResNet200V1", "resnet200_v1")
ResNet200V2 = _application("ResNet200V2", "resnet200_v2")
ResNet8 = _application("ResNet8", "resnet8")
ResNet8V2 = _application("ResNet8V2", "resnet8_v2")
ResNet14 = _application("ResNet14", "resnet14")
ResNet14V2 = _application("ResNet14V2", "resnet14_v2")
ResNet20 = _application("ResNet20", "resnet20")
ResNet20V2 = _application("ResNet20V2", "resnet20_v2")
ResNet32 = _application("ResNet32", "resnet32")
ResNet32V2 = _application("ResNet32V2", "resnet32_v2")
ResNet44 = _application("ResNet44", "resnet44")
ResNet44V2 = _application("ResNet44V2", "resnet44_v2")
ResNet56 = _application("ResNet56", "resnet56")
ResNet56V2 = _application("ResNet56V2", "resnet56_v2")
ResNet110 = _application("ResNet110", "resnet110")
ResNet110V2 = _application("ResNet110V2", "resnet110_v2")
ResNet1202 = _application("ResNet1202", "resnet1202")
ResNet1202V2 = _application("ResNet1202V2", "resnet1202_v2")
ResNet164 = _application("ResNet164", "resnet164")
ResNet164V2 = _application("ResNet164V2", "resnet164_v2")
ResNet1001 = _application("ResNet1001", "resnet1001")
ResNet1001V2 = _application("ResNet1001V2", "resnet1001_v2")

__all__ = [name for name in globals() if name.startswith("ResNet")]
