"""How the convolutions, normalizations and activations of one network are made."""

from dataclasses import dataclass
from typing import Any, get_args

import keras
from keras import layers

from keras_resnet.architectures.architecture import Biases, Norm
from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_choice
from keras_resnet.layers import NHWC, EvoNormS0, FilterResponseNorm, StandardizedConv2D

GROUPS = 32  # of group normalization (Wu and He 2018, table 3)
_ACTIVATING = {"evonorm": EvoNormS0, "frn": FilterResponseNorm}


@dataclass(frozen=True)
class Style:
    """What all blocks of a network share.

    Attributes:
        norm: "batch"; "frozen" (batch normalization that does not train and uses its
            moving statistics, until `trainable` is set on it or on its model);
            "group" (32 groups); "evonorm" (EvoNorm-S0) or
            "frn" (filter response normalization), which activate as well.
        activation: a name that `keras.activations.get` knows.
        epsilon: of the normalization; the default is torch's, which the reference
            weights were trained with.
        momentum: of the moving statistics; the default is torch's 0.1 in Keras's
            sense.
        standardized: whether kernels are standardised (Qiao et al. 2019).
        biases: which convolutions have one: "none"; "outer", the stem, projections
            and each branch's last; or "all".
    """

    norm: str = "batch"
    activation: str = "relu"
    epsilon: float = 1e-5
    momentum: float = 0.9
    standardized: bool = False
    biases: str = "none"

    def __post_init__(self):
        check_choice("norm", self.norm, get_args(Norm))
        check_choice("biases", self.biases, get_args(Biases))
        try:
            known = isinstance(self.activation, str)
            keras.activations.get(self.activation)
        except ValueError:
            known = False
        if not known:
            raise InputError(
                f"activation={self.activation!r}: a name that keras.activations "
                "knows is needed, such as 'relu', 'silu' or 'gelu'."
            )

    @property
    def ends_in_relu(self) -> bool:
        """Whether what `norm_activation` gives is nowhere below zero."""
        return self.activation == "relu" and self.norm not in _ACTIVATING

    def convolution(
        self,
        x,
        filters: int,
        kernel: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        outer: bool = False,
        zero: bool = False,
        name: str,
    ):
        """A convolution padded by kernel // 2 on every side, times the dilation.

        Args:
            x: (batch, height, width, channels).
            filters, kernel, stride, dilation, groups: as Keras's Conv2D has them.
            bias: whether it has one in any case.
            outer: whether it is one of those that `biases` calls "outer".
            zero: whether its kernel starts at 0.
            name: of the layer.

        The weights have the variance 2 / fan_out (He et al. 2015, "Delving Deep into
        Rectifiers", eq. 14), as in torchvision. They are drawn uniformly, as
        keras.applications draws: with a normal distribution, building ResNet-152 took
        a quarter longer.
        """
        if kernel > 1 and stride > 1:
            pad = layers.ZeroPadding2D(
                kernel // 2, data_format=NHWC, name=f"{name}-padding"
            )
            x, padding = pad(x), "valid"
        else:
            padding = "same"  # symmetric at stride 1, and nothing to pad at kernel 1
        layer = StandardizedConv2D if self.standardized else layers.Conv2D
        initializer: Any = "zeros"
        if not zero:
            initializer = keras.initializers.VarianceScaling(2.0, "fan_out", "uniform")
        return layer(
            filters,
            kernel,
            stride,
            padding,
            dilation_rate=dilation,
            groups=groups,
            data_format=NHWC,
            use_bias=bias or self.biases == "all" or (outer and self.biases == "outer"),
            kernel_initializer=initializer,
            name=name,
        )(x)

    def normalization(self, x, *, zero: bool = False, name: str):
        """Normalization without activation; `zero` starts its scale at 0."""
        if self.norm in _ACTIVATING:
            raise InputError(
                f"norm={self.norm!r} activates as well, so it fits pre-activation "
                "blocks only: accepted here are 'batch', 'frozen' and 'group'."
            )
        options = {
            "axis": -1,
            "epsilon": self.epsilon,
            "gamma_initializer": "zeros" if zero else "ones",
            "name": name,
        }
        if self.norm == "group":
            self._check_groups(x)
            return layers.GroupNormalization(GROUPS, **options)(x)
        return layers.BatchNormalization(
            momentum=self.momentum, trainable=self.norm != "frozen", **options
        )(x)

    def activate(self, x, *, name: str):
        """The activation."""
        if self.activation == "relu":
            return layers.ReLU(name=name)(x)
        return layers.Activation(self.activation, name=name)(x)

    def norm_activation(self, x, *, norm: str, activation: str):
        """Normalization and activation by their layers' names."""
        if self.norm in _ACTIVATING:
            self._check_groups(x)
            return _ACTIVATING[self.norm](name=norm)(x)
        return self.activate(self.normalization(x, name=norm), name=activation)

    def _check_groups(self, x):
        if self.norm in ("group", "evonorm") and x.shape[-1] % GROUPS:
            raise InputError(
                f"norm={self.norm!r} needs a multiple of {GROUPS} channels in every "
                f"layer; this network has one of {x.shape[-1]} channels."
            )


DEFAULT_STYLE = Style()  # He et al.'s
