"""The record that a row of the table is. Standard library only."""

from dataclasses import dataclass

from keras_resnet.architectures.checks import check


@dataclass(frozen=True)
class Architecture:
    """One residual network, as data.

    Attributes:
        name: unique, lower case.
        block: "basic" (two 3x3 convolutions), "bottleneck" (1x1, 3x3, 1x1; four times
            as many channels leave as its middle has), one of the other names in
            `checks.BLOCKS`, or a name for each stage.
        depths: blocks in each stage.
        widths: channels of the 3x3 convolutions in each stage; of "dense" blocks, the
            channels that enter each stage.
        stem: "imagenet" (7x7 at stride 2), "deep" (three 3x3, the first at stride 2)
            or "cifar" (3x3 at stride 1, and no pool).
        preactivation: normalisation and activation before each convolution (v2)
            rather than after it.
        stride_conv: which convolution of a block carries its stride: 1, or, in a
            bottleneck, 2 (the 3x3).
        shortcut: where the shape changes: "B", a 1x1 projection; "D", an average pool
            for the stride, then a projection; "A", subsampling and zero padding of
            the new channels, no parameters; "subsample", a projection where channels
            change and subsampling where only the size does; "none", no shortcut in
            any block, a plain net.
        input_size: side of the images that the source trains on, in pixels.
        classes: outputs of the source's classifier.
        source: paper and section, or reference implementation.
        stem_widths: channels of the stem's convolutions; empty for `widths[0]`.
        stem_pool: "max" (3x3 at stride 2, padded with minus infinity), "zero_max"
            (padded with zeros) or "convolution" (3x3 at stride 2, in its place).
        cardinality: groups of the 3x3 convolutions.
        base_width: channels of a group, for 64 of `widths` (ResNeXt).
        reduce_first: divides the channels of a block's first convolution.
        shortcut_kernel: side of a projection's kernel where it has a stride.
        project_first: whether the first block projects even an unchanged shape.
        stride_block: which block of a stage carries its stride: "first", or "last",
            for the stage that follows.
        branch_widths: for a pruned net, channels of the first two convolutions of
            each block of each stage, in place of what `widths` gives.
        outputs: for a pruned net, channels that leave each stage.
        attention: behind each block's branch: None, "se" or "eca".
        attention_ratio: reduced channels of "se" and of "selective_kernel" blocks over
            their channels.
        attention_divisor: the reduced channels are a multiple of it.
        radix: splits of a "split_attention" block.
        pool_first: whether a "split_attention" block's pool, which carries its stride,
            stands before the 3x3 convolution rather than behind it.
        scale: groups of a "res2net" block that are chained.
        split_input: whether each path of a "selective_kernel" block sees its share of
            the channels alone.
        growth: channels that each layer of a "dense" block adds.
        antialias: before subsampling: None, "average" or "blur".
        norm, activation, epsilon, momentum, standardized: as in `Style`.
        biases: which convolutions have one: "none"; "outer", the stem, projections
            and each branch's last; or "all".
        output_stride: input pixels a side for one position of the last stage: 8, 16
            or 32; beyond it stages dilate rather than stride. None: as they come.
        drop_path_rate: probability of leaving out the last block's branch in
            training; rises linearly from 0 (Huang et al. 2016).
        drop_rate: of the dropout before the classifier.
        zero_init_residual: each branch starts at zero (Goyal et al. 2017, section 5.1).

    Raises:
        InputError: a field cannot be used, or the blocks have no place for it.
    """

    name: str
    block: str | tuple[str, ...]
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem: str
    preactivation: bool
    stride_conv: int
    shortcut: str
    input_size: int
    classes: int
    source: str
    stem_widths: tuple[int, ...] = ()
    stem_pool: str = "max"
    cardinality: int = 1
    base_width: int = 64
    reduce_first: int = 1
    shortcut_kernel: int = 1
    project_first: bool = False
    stride_block: str = "first"
    branch_widths: tuple[tuple[tuple[int, int], ...], ...] = ()
    outputs: tuple[int, ...] = ()
    attention: str | None = None
    attention_ratio: float = 1 / 16
    attention_divisor: int = 8
    radix: int = 1
    pool_first: bool = False
    scale: int = 1
    split_input: bool = False
    growth: int = 0
    antialias: str | None = None
    norm: str = "batch"
    activation: str = "relu"
    epsilon: float = 1e-5
    momentum: float = 0.9
    standardized: bool = False
    biases: str = "none"
    output_stride: int | None = None
    drop_path_rate: float = 0.0
    drop_rate: float = 0.0
    zero_init_residual: bool = False

    def __post_init__(self):
        check(self)

    @property
    def blocks(self) -> tuple[str, ...]:
        """The kind of block of each stage."""
        if isinstance(self.block, str):
            return (self.block,) * len(self.depths)
        return self.block

    def stage_outputs(self, stage: int) -> int:
        """Channels that leave a stage of residual blocks (He2015, table 1)."""
        if self.outputs:
            return self.outputs[stage]
        expansion = 1 if self.blocks[stage] in _UNEXPANDED else 4
        return expansion * self.widths[stage]

    @property
    def classifier(self) -> str:
        """The reference's name of the classifier."""
        if "dense" in self.blocks:
            return "classifier"
        return "head.fc" if self.preactivation else "fc"

    @property
    def total_stride(self) -> int:
        """Input pixels a side for one position of the last stage, if none dilates."""
        return (1 if self.stem == "cifar" else 4) * 2 ** (len(self.depths) - 1)


_UNEXPANDED = ("basic", "selective_kernel_basic")
