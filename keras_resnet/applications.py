"""`ResNet18(...)` and every other row of the table, in keras.applications' signature.

Importing this module imports no Keras; calling a function does.
"""

from inspect import signature
from typing import TYPE_CHECKING, Any, Protocol

from keras_resnet.architectures import PAPERS, get_architecture
from keras_resnet.architectures.fields import changes

if TYPE_CHECKING:
    import keras

_DOCUMENTATION = """{title}

    Blocks are {blocks} a stage: {block}.
    Source: {source}.
    {paper}.

    Args:
        include_top: whether to end in the classifier.
        weights: None (random); "imagenet" or another tag, as `list_weights({name!r})`
            names them; or the path of a file, as `load_weights` takes it.
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
        output_stride, drop_path_rate, drop_rate, zero_init_residual, norm,
            activation, antialias: settings, as in `keras_resnet.build`.

    Returns:
        A `keras.Model`: (batch, height, width, channels) to (batch, classes).

    Raises:
        ValueError: an argument cannot be used; the message says what could.
    """


class _Application(Protocol):
    """The signature that every function here has; keras.applications' own."""

    __name__: str

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
        output_stride: int | None = None,
        drop_path_rate: float | None = None,
        drop_rate: float | None = None,
        zero_init_residual: bool | None = None,
        norm: str | None = None,
        activation: str | None = None,
        antialias: str | None = None,
    ) -> "keras.Model":
        """Builds the network; see `keras_resnet.build` for the arguments."""
        ...


_METHOD = signature(_Application.__call__)
_SIGNATURE = _METHOD.replace(parameters=list(_METHOD.parameters.values())[1:])


def _application(public_name: str, name: str) -> _Application:
    """The public function for one row of the table."""

    def application(*args, **kwargs):
        from keras_resnet.model import build

        try:
            arguments = _SIGNATURE.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{public_name}() {error}") from None
        return build(architecture, **arguments)

    architecture = get_architecture(name)
    application.__name__ = application.__qualname__ = public_name
    vars(application)["__signature__"] = _SIGNATURE
    application.__doc__ = _DOCUMENTATION.format(
        title=f"{public_name}, built by `keras_resnet.build({name!r}, ...)`.",
        blocks=", ".join(map(str, architecture.depths)),
        block=" / ".join(dict.fromkeys(map(changes, architecture.blocks))),
        source=architecture.source,
        paper="; ".join(
            f"{k}: {v}" for k, v in PAPERS.items() if k in architecture.source
        ),
        size=architecture.input_size,
        stride=architecture.total_stride,
        classes=architecture.classes,
        name=architecture.name,
    )
    return application


# Spelled out, one line a function, so that editors complete and check them.
ResNet8 = _application("ResNet8", "resnet8")
ResNet8V2 = _application("ResNet8V2", "resnet8_v2")
ResNet10t = _application("ResNet10t", "resnet10t")
ResNet14 = _application("ResNet14", "resnet14")
ResNet14V2 = _application("ResNet14V2", "resnet14_v2")
ResNet14t = _application("ResNet14t", "resnet14t")
ResNet18 = _application("ResNet18", "resnet18")
ResNet18V1 = _application("ResNet18V1", "resnet18_v1")
ResNet18V2 = _application("ResNet18V2", "resnet18_v2")
ResNet18_vd = _application("ResNet18_vd", "resnet18_vd")
ResNet18d = _application("ResNet18d", "resnet18d")
ResNet20 = _application("ResNet20", "resnet20")
ResNet20V2 = _application("ResNet20V2", "resnet20_v2")
ResNet26 = _application("ResNet26", "resnet26")
ResNet26d = _application("ResNet26d", "resnet26d")
ResNet26t = _application("ResNet26t", "resnet26t")
ResNet32 = _application("ResNet32", "resnet32")
ResNet32V2 = _application("ResNet32V2", "resnet32_v2")
ResNet34 = _application("ResNet34", "resnet34")
ResNet34V1 = _application("ResNet34V1", "resnet34_v1")
ResNet34V2 = _application("ResNet34V2", "resnet34_v2")
ResNet34_vd = _application("ResNet34_vd", "resnet34_vd")
ResNet34d = _application("ResNet34d", "resnet34d")
ResNet44 = _application("ResNet44", "resnet44")
ResNet44V2 = _application("ResNet44V2", "resnet44_v2")
ResNet50 = _application("ResNet50", "resnet50")
ResNet50_gn = _application("ResNet50_gn", "resnet50_gn")
ResNet50_keras = _application("ResNet50_keras", "resnet50_keras")
ResNet50V1 = _application("ResNet50V1", "resnet50_v1")
ResNet50V2 = _application("ResNet50V2", "resnet50_v2")
ResNet50_vd = _application("ResNet50_vd", "resnet50_vd")
ResNet50c = _application("ResNet50c", "resnet50c")
ResNet50d = _application("ResNet50d", "resnet50d")
ResNet50s = _application("ResNet50s", "resnet50s")
ResNet50t = _application("ResNet50t", "resnet50t")
ResNet50v2_keras = _application("ResNet50v2_keras", "resnet50v2_keras")
ResNet56 = _application("ResNet56", "resnet56")
ResNet56V2 = _application("ResNet56V2", "resnet56_v2")
ResNet101 = _application("ResNet101", "resnet101")
ResNet101_keras = _application("ResNet101_keras", "resnet101_keras")
ResNet101V1 = _application("ResNet101V1", "resnet101_v1")
ResNet101V2 = _application("ResNet101V2", "resnet101_v2")
ResNet101_vd = _application("ResNet101_vd", "resnet101_vd")
ResNet101c = _application("ResNet101c", "resnet101c")
ResNet101d = _application("ResNet101d", "resnet101d")
ResNet101s = _application("ResNet101s", "resnet101s")
ResNet101v2_keras = _application("ResNet101v2_keras", "resnet101v2_keras")
ResNet110 = _application("ResNet110", "resnet110")
ResNet110V2 = _application("ResNet110V2", "resnet110_v2")
ResNet152 = _application("ResNet152", "resnet152")
ResNet152_keras = _application("ResNet152_keras", "resnet152_keras")
ResNet152V1 = _application("ResNet152V1", "resnet152_v1")
ResNet152V2 = _application("ResNet152V2", "resnet152_v2")
ResNet152_vd = _application("ResNet152_vd", "resnet152_vd")
ResNet152c = _application("ResNet152c", "resnet152c")
ResNet152d = _application("ResNet152d", "resnet152d")
ResNet152s = _application("ResNet152s", "resnet152s")
ResNet152v2_keras = _application("ResNet152v2_keras", "resnet152v2_keras")
ResNet164 = _application("ResNet164", "resnet164")
ResNet164V2 = _application("ResNet164V2", "resnet164_v2")
ResNet200 = _application("ResNet200", "resnet200")
ResNet200V1 = _application("ResNet200V1", "resnet200_v1")
ResNet200V2 = _application("ResNet200V2", "resnet200_v2")
ResNet200_vd = _application("ResNet200_vd", "resnet200_vd")
ResNet200d = _application("ResNet200d", "resnet200d")
ResNet1001 = _application("ResNet1001", "resnet1001")
ResNet1001V2 = _application("ResNet1001V2", "resnet1001_v2")
ResNet1202 = _application("ResNet1202", "resnet1202")
ResNet1202V2 = _application("ResNet1202V2", "resnet1202_v2")
ECAResNetLight = _application("ECAResNetLight", "ecaresnetlight")
ResNeSt14d = _application("ResNeSt14d", "resnest14d")
ResNeSt26d = _application("ResNeSt26d", "resnest26d")
ResNeSt50d = _application("ResNeSt50d", "resnest50d")
ResNeSt50d_1s4x24d = _application("ResNeSt50d_1s4x24d", "resnest50d_1s4x24d")
ResNeSt50d_4s2x40d = _application("ResNeSt50d_4s2x40d", "resnest50d_4s2x40d")
ResNeSt101e = _application("ResNeSt101e", "resnest101e")
ResNeSt200e = _application("ResNeSt200e", "resnest200e")
ResNeSt269e = _application("ResNeSt269e", "resnest269e")
ResNetBlur18 = _application("ResNetBlur18", "resnetblur18")
ResNetBlur50 = _application("ResNetBlur50", "resnetblur50")
ResNetBlur50d = _application("ResNetBlur50d", "resnetblur50d")
ResNetBlur101d = _application("ResNetBlur101d", "resnetblur101d")
ResNetV2_18 = _application("ResNetV2_18", "resnetv2_18")
ResNetV2_18d = _application("ResNetV2_18d", "resnetv2_18d")
ResNetV2_34 = _application("ResNetV2_34", "resnetv2_34")
ResNetV2_34d = _application("ResNetV2_34d", "resnetv2_34d")
ResNetV2_50 = _application("ResNetV2_50", "resnetv2_50")
ResNetV2_50d = _application("ResNetV2_50d", "resnetv2_50d")
ResNetV2_50d_evos = _application("ResNetV2_50d_evos", "resnetv2_50d_evos")
ResNetV2_50d_frn = _application("ResNetV2_50d_frn", "resnetv2_50d_frn")
ResNetV2_50d_gn = _application("ResNetV2_50d_gn", "resnetv2_50d_gn")
ResNetV2_50t = _application("ResNetV2_50t", "resnetv2_50t")
ResNetV2_50x1_bit = _application("ResNetV2_50x1_bit", "resnetv2_50x1_bit")
ResNetV2_50x3_bit = _application("ResNetV2_50x3_bit", "resnetv2_50x3_bit")
ResNetV2_101 = _application("ResNetV2_101", "resnetv2_101")
ResNetV2_101d = _application("ResNetV2_101d", "resnetv2_101d")
ResNetV2_101x1_bit = _application("ResNetV2_101x1_bit", "resnetv2_101x1_bit")
ResNetV2_101x3_bit = _application("ResNetV2_101x3_bit", "resnetv2_101x3_bit")
ResNetV2_152 = _application("ResNetV2_152", "resnetv2_152")
ResNetV2_152d = _application("ResNetV2_152d", "resnetv2_152d")
ResNetV2_152x2_bit = _application("ResNetV2_152x2_bit", "resnetv2_152x2_bit")
ResNetV2_152x4_bit = _application("ResNetV2_152x4_bit", "resnetv2_152x4_bit")
SEResNet18 = _application("SEResNet18", "seresnet18")
SEResNet34 = _application("SEResNet34", "seresnet34")
SEResNet50 = _application("SEResNet50", "seresnet50")
SEResNet50t = _application("SEResNet50t", "seresnet50t")
SEResNet101 = _application("SEResNet101", "seresnet101")
SEResNet152 = _application("SEResNet152", "seresnet152")
SEResNet152d = _application("SEResNet152d", "seresnet152d")
SEResNet200d = _application("SEResNet200d", "seresnet200d")
SEResNet269d = _application("SEResNet269d", "seresnet269d")
SKResNet18 = _application("SKResNet18", "skresnet18")
SKResNet34 = _application("SKResNet34", "skresnet34")
SKResNet50 = _application("SKResNet50", "skresnet50")
SKResNet50d = _application("SKResNet50d", "skresnet50d")
ECAResNet26t = _application("ECAResNet26t", "ecaresnet26t")
ECAResNet50d = _application("ECAResNet50d", "ecaresnet50d")
ECAResNet50d_pruned = _application("ECAResNet50d_pruned", "ecaresnet50d_pruned")
ECAResNet50t = _application("ECAResNet50t", "ecaresnet50t")
ECAResNet101d = _application("ECAResNet101d", "ecaresnet101d")
ECAResNet101d_pruned = _application("ECAResNet101d_pruned", "ecaresnet101d_pruned")
ECAResNet200d = _application("ECAResNet200d", "ecaresnet200d")
ECAResNet269d = _application("ECAResNet269d", "ecaresnet269d")
ECAResNeXt26t_32x4d = _application("ECAResNeXt26t_32x4d", "ecaresnext26t_32x4d")
ECAResNeXt50t_32x4d = _application("ECAResNeXt50t_32x4d", "ecaresnext50t_32x4d")
SEResNeXt26d_32x4d = _application("SEResNeXt26d_32x4d", "seresnext26d_32x4d")
SEResNeXt26t_32x4d = _application("SEResNeXt26t_32x4d", "seresnext26t_32x4d")
SEResNeXt50_32x4d = _application("SEResNeXt50_32x4d", "seresnext50_32x4d")
SEResNeXt101_32x4d = _application("SEResNeXt101_32x4d", "seresnext101_32x4d")
SEResNeXt101_32x8d = _application("SEResNeXt101_32x8d", "seresnext101_32x8d")
SEResNeXt101_64x4d = _application("SEResNeXt101_64x4d", "seresnext101_64x4d")
SEResNeXt101d_32x8d = _application("SEResNeXt101d_32x8d", "seresnext101d_32x8d")
ResNetAA34d = _application("ResNetAA34d", "resnetaa34d")
ResNetAA50 = _application("ResNetAA50", "resnetaa50")
ResNetAA50d = _application("ResNetAA50d", "resnetaa50d")
ResNetAA101d = _application("ResNetAA101d", "resnetaa101d")
Res2Net50_14w_8s = _application("Res2Net50_14w_8s", "res2net50_14w_8s")
Res2Net50_26w_4s = _application("Res2Net50_26w_4s", "res2net50_26w_4s")
Res2Net50_26w_6s = _application("Res2Net50_26w_6s", "res2net50_26w_6s")
Res2Net50_26w_8s = _application("Res2Net50_26w_8s", "res2net50_26w_8s")
Res2Net50_48w_2s = _application("Res2Net50_48w_2s", "res2net50_48w_2s")
Res2Net50d = _application("Res2Net50d", "res2net50d")
Res2Net101_26w_4s = _application("Res2Net101_26w_4s", "res2net101_26w_4s")
Res2Net101d = _application("Res2Net101d", "res2net101d")
Res2NeXt50 = _application("Res2NeXt50", "res2next50")
ResNetRS50 = _application("ResNetRS50", "resnetrs50")
ResNetRS101 = _application("ResNetRS101", "resnetrs101")
ResNetRS152 = _application("ResNetRS152", "resnetrs152")
ResNetRS200 = _application("ResNetRS200", "resnetrs200")
ResNetRS270 = _application("ResNetRS270", "resnetrs270")
ResNetRS350 = _application("ResNetRS350", "resnetrs350")
ResNetRS420 = _application("ResNetRS420", "resnetrs420")
ResNeXt50_32x4d = _application("ResNeXt50_32x4d", "resnext50_32x4d")
ResNeXt50d_32x4d = _application("ResNeXt50d_32x4d", "resnext50d_32x4d")
ResNeXt101_32x16d = _application("ResNeXt101_32x16d", "resnext101_32x16d")
ResNeXt101_32x32d = _application("ResNeXt101_32x32d", "resnext101_32x32d")
ResNeXt101_32x4d = _application("ResNeXt101_32x4d", "resnext101_32x4d")
ResNeXt101_32x8d = _application("ResNeXt101_32x8d", "resnext101_32x8d")
ResNeXt101_64x4d = _application("ResNeXt101_64x4d", "resnext101_64x4d")
SEResNetAA50d = _application("SEResNetAA50d", "seresnetaa50d")
SKResNeXt50_32x4d = _application("SKResNeXt50_32x4d", "skresnext50_32x4d")
WideResNet50_2 = _application("WideResNet50_2", "wide_resnet50_2")
WideResNet101_2 = _application("WideResNet101_2", "wide_resnet101_2")
SEResNeXtAA101d_32x8d = _application("SEResNeXtAA101d_32x8d", "seresnextaa101d_32x8d")
SEResNeXtAA201d_32x8d = _application("SEResNeXtAA201d_32x8d", "seresnextaa201d_32x8d")
DenseNet121 = _application("DenseNet121", "densenet121")
DenseNet161 = _application("DenseNet161", "densenet161")
DenseNet169 = _application("DenseNet169", "densenet169")
DenseNet201 = _application("DenseNet201", "densenet201")
SENet154 = _application("SENet154", "senet154")

# Type checkers take all names without an underscore, which are the same.
__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    name
    for name, value in globals().items()
    if getattr(value, "__module__", None) == __name__ and not name.startswith("_")
]
