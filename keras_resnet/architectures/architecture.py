"""The record that a row of the table is. Standard library only."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from keras_resnet.architectures.fields import (
    check_fields,
    from_json,
    refusal,
    refuse_unknown,
    to_json,
)
from keras_resnet.architectures.records import (
    RECORDS,
    Antialias,
    Block,
    CifarStem,
    DenseLayer,
    ImageNetStem,
    Stem,
)
from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_number

Norm = Literal["batch", "frozen", "group", "evonorm", "frn"]
Biases = Literal["none", "outer", "all"]
ACTIVATING_NORMS = ("evonorm", "frn")  # they activate as well


@dataclass(frozen=True)
class Architecture:
    """One network, as data.

        resnet50 = get_architecture("resnet50")
        wide = replace(resnet50, name="wide", widths=(128, 256, 512, 1024))
        resnext = resnet50.derive(name="resnext", groups=32, base_width=4)

    Attributes:
        name: unique, lower case.
        block: the record of all blocks, or a tuple of one for each stage.
        depths: blocks in each stage.
        widths: channels of the 3x3 convolutions in each stage; of `DenseLayer`, the
            channels that enter each stage.
        stem: the record of what comes before the stages.
        input_size: side of the images that the source trains on, in pixels.
        classes: outputs of the source's classifier.
        source: paper and section, or reference implementation.
        stride_block: which block of a stage carries its stride: "first", or "last",
            for the stage that follows.
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
        InputError: a field cannot be used, or the fields do not fit each other.
    """

    name: str
    block: Block | tuple[Block, ...]
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem: Stem
    input_size: int
    classes: int
    source: str
    stride_block: Literal["first", "last"] = "first"
    norm: Norm = "batch"
    activation: str = "relu"
    epsilon: float = 1e-5
    momentum: float = 0.9
    standardized: bool = False
    biases: Biases = "none"
    output_stride: Literal[8, 16, 32] | None = None
    drop_path_rate: float = 0.0
    drop_rate: float = 0.0
    zero_init_residual: bool = False

    def __post_init__(self):
        for field in ("drop_path_rate", "drop_rate", "momentum"):
            check_number(field, getattr(self, field), minimum=0, below=1)
        check_fields(self)
        if not self.name or "/" in self.name:  # which Keras refuses
            raise refusal(self, "name", "a name without '/' is needed")
        _check_stages(self)
        _check_settings(self)

    def derive(self, **changes: Any) -> "Architecture":
        """A variant: fields of this architecture or of its blocks are changed.

        Args:
            **changes: fields of `Architecture`; every other field is changed in the
                blocks of all stages.

        Raises:
            InputError: a field cannot be used, or a block has no such field.
        """
        of_blocks = {k: v for k, v in changes.items() if k not in _FIELDS}
        changes = {k: v for k, v in changes.items() if k in _FIELDS}
        if not of_blocks:
            return replace(self, **changes)
        block = changes.get("block", self.block)
        blocks = block if isinstance(block, tuple) else (block,)
        for kind in map(type, blocks):
            if unknown := of_blocks.keys() - kind.__dataclass_fields__.keys():
                field = min(unknown)
                raise InputError(
                    f"{field}={of_blocks[field]!r} of architecture {self.name!r}: "
                    f"{kind.__name__} blocks have no place for it."
                )
        blocks = tuple(replace(block, **of_blocks) for block in blocks)
        changes["block"] = blocks if isinstance(block, tuple) else blocks[0]
        return replace(self, **changes)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The record of each stage's blocks."""
        if isinstance(self.block, tuple):
            return self.block
        return (self.block,) * len(self.depths)

    @property
    def preactivation(self) -> bool:
        """Whether normalization and activation come before each convolution (v2)."""
        return self.blocks[0].preactivation

    @property
    def dense(self) -> bool:
        """Whether it is a DenseNet, whose layers are concatenated and not added."""
        return isinstance(self.blocks[0], DenseLayer)

    @property
    def plain(self) -> bool:
        """Whether there is no shortcut in any block."""
        return getattr(self.blocks[0], "shortcut", None) == "none"

    @property
    def antialias(self) -> Antialias | None:
        """The anti-aliasing of its blocks, which the stem's pool shares."""
        return getattr(self.blocks[0], "antialias", None)

    def stage_outputs(self, stage: int) -> int:
        """Channels that leave a stage (He2015, table 1)."""
        return self.blocks[stage].stage_outputs(self.widths[stage], self.depths[stage])

    @property
    def classifier(self) -> str:
        """The reference's name of the classifier."""
        if self.dense:
            return "classifier"
        return "head.fc" if self.preactivation else "fc"

    @property
    def total_stride(self) -> int:
        """Input pixels a side for one position of the last stage, if none dilates."""
        return self.stem.stride * 2 ** (len(self.depths) - 1)

    def to_json(self) -> dict[str, Any]:
        """Nested dictionaries that `Architecture.from_json` reads back."""
        record = to_json(self)
        del record["type"]
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Architecture":
        """The architecture that `to_json` wrote.

        Raises:
            InputError: it holds something that this version does not know.
            TypeError: a field without default is missing.
        """
        refuse_unknown(cls, record)
        return cls(**{key: from_json(value, RECORDS) for key, value in record.items()})


_FIELDS = frozenset(Architecture.__dataclass_fields__)


def _check_stages(net: Architecture) -> None:
    """There is one entry a stage, and the blocks of all stages fit each other."""
    stages = len(net.depths)
    if not stages or not stages == len(net.widths) == len(net.blocks):
        raise InputError(
            f"depths={net.depths}, widths={net.widths}, block={net.block!r} of "
            f"architecture {net.name!r}: one entry a stage is needed in each."
        )
    for block, depth in zip(net.blocks, net.depths, strict=True):
        if len(pairs := getattr(block, "branch_widths", ())) not in (0, depth):
            raise InputError(
                f"branch_widths={pairs} of architecture {net.name!r}: one pair a "
                f"block is needed, and the stage has {depth}."
            )
    if len({block.preactivation for block in net.blocks}) > 1:
        raise refusal(net, "block", "pre-activation blocks stand among themselves")
    if net.dense and (len(set(net.blocks)) > 1 or net.stem != ImageNetStem()):
        raise refusal(
            net,
            "block",
            "dense layers are the same in all stages, after stem=ImageNetStem()",
        )


def _check_settings(net: Architecture) -> None:
    """Refuses settings that make no sense for this network, with the reason."""
    strided = net.output_stride and net.output_stride != net.total_stride
    activates = net.norm in ACTIVATING_NORMS
    no_sum = (net.dense and "nothing is added") or (net.plain and "it has no shortcut")
    refusals = (  # field, whether it is refused, reason
        (
            "output_stride",
            strided and isinstance(net.stem, CifarStem),
            "a CIFAR form has 4",
        ),
        ("output_stride", strided and net.dense, "DenseNet's transitions must pool"),
        (
            "output_stride",
            strided and net.stride_block == "last",
            "the stride is in a stage's last block",
        ),
        ("drop_path_rate", net.drop_path_rate and no_sum, no_sum),
        ("zero_init_residual", net.zero_init_residual and no_sum, no_sum),
        (
            "norm",
            activates and (net.dense or not net.preactivation),
            "it activates as well, so it fits pre-activation residual blocks only",
        ),
        (
            "norm",
            activates and getattr(net.stem, "pool", None) == "convolution",
            "it activates as well, which the stem's pooling convolution cannot have",
        ),
    )
    for field, refused, reason in refusals:
        if refused:
            raise refusal(net, field, str(reason))
