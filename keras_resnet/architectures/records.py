"""The records of stems, blocks and attention that an `Architecture` is made of.

    Bottleneck(groups=32, base_width=4, attention=SqueezeExcitation(ratio=1 / 16))

A record has the fields that its kind reads, and no others. A block's fields are the
arguments of its function in `keras_resnet.blocks`. Standard library only.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from keras_resnet.architectures.fields import check_fields, refusal

Shortcut = Literal["A", "B", "D", "subsample", "none"]
"""What stands beside a block's branch where the shape changes.

"B" is a 1x1 projection; "D" an average pool for the stride, then a projection; "A"
subsampling and zero padding of the new channels, without parameters; "subsample" a
projection where channels change, and subsampling where only the size does. "none" is no
shortcut in any block: a plain net.
"""
Antialias = Literal["average", "blur"]
"""The pool that takes over a convolution's stride: a plain average or a blur."""
StemPool = Literal["max", "zero_max", "convolution"]
"""A stem's second halving: "max" is 3x3 at stride 2, padded with minus infinity;
"zero_max" is padded with zeros; "convolution" is a 3x3 one at stride 2 in its place."""


class Record:
    """What all records here share: their fields are checked."""

    def __post_init__(self):
        check_fields(self)


@dataclass(frozen=True)
class ImageNetStem(Record):
    """A 7x7 convolution at stride 2 and a pool at stride 2 (He2015, table 1).

    Attributes:
        pool: the second halving.
        width: channels of the convolution; None for the first stage's width.
    """

    kernel: ClassVar[int] = 7
    stride: ClassVar[int] = 4  # of the whole stem
    pool: StemPool = "max"
    width: int | None = None

    def convolutions(self, first_width: int) -> tuple[int, ...]:
        """The channels of each convolution, before stages that start `first_width`."""
        return (self.width or first_width,)


@dataclass(frozen=True)
class DeepStem(Record):
    """Three 3x3 convolutions, the first at stride 2, and a pool (He2018, fig. 2b).

    Attributes:
        widths: channels of each convolution.
        pool: the second halving.
    """

    kernel: ClassVar[int] = 3
    stride: ClassVar[int] = 4
    widths: tuple[int, int, int] = (32, 32, 64)
    pool: StemPool = "max"

    def convolutions(self, first_width: int) -> tuple[int, ...]:
        """The channels of each convolution."""
        return self.widths


@dataclass(frozen=True)
class CifarStem(Record):
    """One 3x3 convolution at stride 1, and no pool (He2015, section 4.2).

    Attributes:
        width: channels of the convolution; None for the first stage's width.
    """

    kernel: ClassVar[int] = 3
    stride: ClassVar[int] = 1
    width: int | None = None

    def convolutions(self, first_width: int) -> tuple[int, ...]:
        """The channels of the convolution, before stages that start `first_width`."""
        return (self.width or first_width,)


@dataclass(frozen=True)
class SqueezeExcitation(Record):
    """Channels weighted by two 1x1 convolutions of their averages (Hu2017).

    Attributes:
        ratio: channels between the two convolutions, over those that enter.
        divisor: the channels between are a multiple of it.
    """

    ratio: float = 1 / 16
    divisor: int = 8


@dataclass(frozen=True)
class EfficientAttention(Record):
    """Channels weighted by a 1-D convolution over their averages (Wang2019)."""


Attention = SqueezeExcitation | EfficientAttention


@dataclass(frozen=True)
class Block(Record):
    """The parent of all records of blocks.

    Attributes:
        expansion: channels that leave, over the width of the stage.
        preactivation: whether normalization and activation come before each
            convolution (v2) rather than after it.
    """

    expansion: ClassVar[int] = 4
    preactivation: ClassVar[bool] = False

    def stage_outputs(self, width: int, depth: int) -> int:
        """Channels that leave a stage of `depth` blocks."""
        return self.expansion * width

    def arguments(self, index: int) -> dict[str, Any]:
        """The arguments of the block's function, for block `index` of its stage."""
        return dict(vars(self))


@dataclass(frozen=True)
class OriginalBlock(Block):
    """What basic and bottleneck blocks in the original order have in common.

    Attributes:
        reduce_first: divides the channels of the first convolution.
        antialias: takes over the stride of the convolution that has it.
        attention: after the branch.
        shortcut: where the shape changes; "none" in a plain net.
        shortcut_kernel: side of a "B" projection's kernel where it has a stride.
        project_first: whether a stage's first block projects an unchanged shape too.
    """

    reduce_first: int = 1
    antialias: Antialias | None = None
    attention: Attention | None = None
    shortcut: Shortcut = "B"
    shortcut_kernel: int = 1
    project_first: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.shortcut_kernel % 2 == 0:
            raise refusal(self, "shortcut_kernel", "an odd number is needed")

    def arguments(self, index: int) -> dict[str, Any]:
        arguments = super().arguments(index)
        arguments["project"] = arguments.pop("project_first") and index == 0
        return arguments


@dataclass(frozen=True)
class Basic(OriginalBlock):
    """Two 3x3 convolutions (He2015, fig. 5 left)."""

    expansion: ClassVar[int] = 1


@dataclass(frozen=True)
class Bottleneck(OriginalBlock):
    """1x1, 3x3 and 1x1 convolutions (He2015, fig. 5 right).

    Attributes:
        stride_conv: the convolution that carries the stride: 2, the 3x3, or 1.
        groups: of the 3x3 convolution (Xie2016).
        base_width: channels of a group, for 64 of the stage's width.
        branch_widths: of a stage that was pruned: channels of the first two
            convolutions of each of its blocks, in place of what the width gives.
        outputs: of a stage that was pruned: channels that leave each of its blocks.
    """

    stride_conv: Literal[1, 2] = 2
    groups: int = 1
    base_width: int = 64
    branch_widths: tuple[tuple[int, int], ...] = ()
    outputs: int | None = None

    def __post_init__(self):
        super().__post_init__()
        if bool(self.branch_widths) != bool(self.outputs):
            raise refusal(self, "outputs", "it goes together with branch_widths")

    def stage_outputs(self, width: int, depth: int) -> int:
        return self.outputs or super().stage_outputs(width, depth)

    def arguments(self, index: int) -> dict[str, Any]:
        arguments = super().arguments(index)
        widths = arguments.pop("branch_widths")
        arguments["widths"] = widths[index] if widths else None
        return arguments


@dataclass(frozen=True)
class PreactivationBasic(Block):
    """`Basic` in full pre-activation order (He2016, fig. 1b).

    Attributes:
        shortcut: where the shape changes; "none" in a plain net.
        preactivate_first: whether the shortcut of a stage's first block starts from
            the pre-activated input even where the shape stays (He2016, appendix).
    """

    expansion: ClassVar[int] = 1
    preactivation: ClassVar[bool] = True
    shortcut: Shortcut = "B"
    preactivate_first: bool = False

    def arguments(self, index: int) -> dict[str, Any]:
        first = self.preactivate_first and index == 0
        return {"shortcut": self.shortcut, "preactivate_shortcut": first}


@dataclass(frozen=True)
class PreactivationBottleneck(Block):
    """`Bottleneck` in full pre-activation order; the fields are as there."""

    preactivation: ClassVar[bool] = True
    stride_conv: Literal[1, 2] = 2
    groups: int = 1
    base_width: int = 64
    shortcut: Shortcut = "B"


@dataclass(frozen=True)
class SplitAttention(Block):
    """ResNeSt's bottleneck (Zhang2020).

    Attributes:
        radix: splits of each group (R in the paper).
        groups: that attend by themselves (cardinality, K in the paper).
        base_width: channels of a group, for 64 of the stage's width.
        pool_first: whether the pool that carries the stride stands before the 3x3
            convolution rather than after it.
        shortcut: where the shape changes; "none" in a plain net.
    """

    radix: int = 2
    groups: int = 1
    base_width: int = 64
    pool_first: bool = False
    shortcut: Shortcut = "D"


@dataclass(frozen=True)
class SelectiveKernelBasic(Block):
    """SKNet's basic block, as in timm's sknet.py (Li2019).

    Attributes:
        ratio: reduced channels of the attention over the width (1 / r in the paper).
        divisor: the reduced channels are a multiple of it (L in the paper).
        split_input: whether each path sees its share of the channels alone.
        shortcut: where the shape changes; "none" in a plain net.
    """

    expansion: ClassVar[int] = 1
    ratio: float = 1 / 8
    divisor: int = 16
    split_input: bool = True
    shortcut: Shortcut = "B"


@dataclass(frozen=True)
class SelectiveKernelBottleneck(Block):
    """SKNet's bottleneck (Li2019); the other fields are as in its basic block.

    Attributes:
        groups: of each path's convolution (G in the paper).
        base_width: channels of a group, for 64 of the stage's width.
    """

    groups: int = 1
    base_width: int = 64
    ratio: float = 1 / 16
    divisor: int = 8
    split_input: bool = True
    shortcut: Shortcut = "B"


@dataclass(frozen=True)
class Res2Net(Block):
    """Res2Net's bottleneck (Gao2019).

    Attributes:
        scale: groups of channels that are chained, 2 or more (s in the paper).
        groups: of each 3x3 convolution.
        base_width: channels of such a group, for 64 of the stage's width.
        shortcut: where the shape changes; "none" in a plain net.
    """

    scale: int = 4
    groups: int = 1
    base_width: int = 26
    shortcut: Shortcut = "B"

    def __post_init__(self):
        super().__post_init__()
        if self.scale < 2:
            raise refusal(self, "scale", "2 or more are needed")


@dataclass(frozen=True)
class DenseLayer(Block):
    """A layer of DenseNet's dense blocks (Huang2016): a stage's depth counts layers,
    and its width is the channels that enter it.

    Attributes:
        growth: channels that each layer adds (k in the paper).
    """

    preactivation: ClassVar[bool] = True
    growth: int = 32

    def stage_outputs(self, width: int, depth: int) -> int:
        return width + depth * self.growth


Stem = ImageNetStem | DeepStem | CifarStem
RECORDS = {  # by name, for JSON
    kind.__name__: kind
    for kind in (
        ImageNetStem,
        DeepStem,
        CifarStem,
        SqueezeExcitation,
        EfficientAttention,
        Basic,
        Bottleneck,
        PreactivationBasic,
        PreactivationBottleneck,
        SplitAttention,
        SelectiveKernelBasic,
        SelectiveKernelBottleneck,
        Res2Net,
        DenseLayer,
    )
}
