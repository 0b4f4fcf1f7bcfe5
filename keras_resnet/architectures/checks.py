"""What an `Architecture` must fulfil. Standard library only."""

from dataclasses import fields
from math import isfinite
from typing import TYPE_CHECKING, Any

from keras_resnet.common.errors import InputError

if TYPE_CHECKING:
    from keras_resnet.architectures.record import Architecture

BLOCKS = (
    *("basic", "bottleneck", "dense", "split_attention"),
    *("selective_kernel_basic", "selective_kernel_bottleneck", "res2net"),
)
_ACCEPTED = {
    "stem": ("imagenet", "deep", "cifar"),
    "stem_pool": ("max", "zero_max", "convolution"),
    "stride_conv": (1, 2),
    "stride_block": ("first", "last"),
    "shortcut": ("A", "B", "D", "subsample", "none"),
    "attention": (None, "se", "eca"),
    "antialias": (None, "average", "blur"),
    "norm": ("batch", "frozen", "group", "evonorm", "frn"),
    "biases": ("none", "outer", "all"),
    "output_stride": (None, 8, 16, 32),
}
_GROUPED = ("bottleneck", "split_attention", "selective_kernel_bottleneck", "res2net")
_PLACES = {  # blocks with a place for what they do not all know
    "cardinality": _GROUPED,
    "base_width": _GROUPED,
    "radix": ("split_attention",),
    "pool_first": ("split_attention",),
    "scale": ("res2net",),
    "split_input": ("selective_kernel_basic", "selective_kernel_bottleneck"),
    "growth": ("dense",),
    "branch_widths": ("bottleneck",),
    "outputs": ("bottleneck",),
    "reduce_first": ("basic", "bottleneck"),
    "shortcut_kernel": ("basic", "bottleneck"),
    "project_first": ("basic", "bottleneck"),
    "attention": ("basic", "bottleneck"),
    "antialias": ("basic", "bottleneck"),
}
# and of these, in the original order alone
_ORIGINAL = (
    *("branch_widths", "outputs", "reduce_first", "shortcut_kernel"),
    *("project_first", "attention", "antialias"),
)


def check(net: "Architecture") -> None:
    """Raises an InputError that names the first field that cannot be used."""
    _check_values(net)
    _check_lengths(net)
    _check_blocks(net)
    _check_settings(net)


def _check_values(net):
    """Each field by itself, most of them only where it is not the default."""
    for field in ("drop_path_rate", "drop_rate", "momentum"):
        if not _number(rate := getattr(net, field)) or rate >= 1:
            raise _fault(net, field, "a number in [0, 1) is needed")
    for field in fields(net):
        value = getattr(net, field.name)
        if value is field.default:
            continue
        fits, wanted = _KINDS.get(field.type, (_anything, ""))
        if not fits(value):
            raise _fault(net, field.name, f"{wanted} needed")
        choices = _ACCEPTED.get(field.name)
        if choices and value not in choices:
            raise _fault(net, field.name, f"accepted are {_listed(choices)}")
    if net.shortcut_kernel % 2 == 0:
        raise _fault(net, "shortcut_kernel", "an odd number is needed")
    if not net.name or "/" in net.name:  # which Keras refuses
        raise _fault(net, "name", "a name without '/' is needed")


def _anything(value: Any) -> bool:
    return True


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _wholes(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_whole, value))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and isfinite(value) and value >= 0


_KINDS = {  # by annotation
    int: (_whole, "a whole number from 1 is"),
    float: (_number, "a number from 0 is"),
    bool: (lambda value: isinstance(value, bool), "True or False is"),
    str: (lambda value: isinstance(value, str), "a text is"),
    tuple[int, ...]: (_wholes, "a tuple of whole numbers from 1 is"),
}


def _check_lengths(net):
    """How many entries there are, and that all kinds of blocks are known."""
    texts = isinstance(net.block, str | tuple)
    if not texts or not set(net.blocks) <= set(BLOCKS):
        raise _fault(net, "block", f"accepted are {_listed(BLOCKS)}")
    stages = len(net.depths)
    if not stages or not stages == len(net.widths) == len(net.blocks):
        received = f"depths={net.depths}, widths={net.widths}, block={net.block!r}"
        raise InputError(
            f"{received} of architecture {net.name!r}: one entry a stage is needed in "
            "each."
        )
    if net.stem == "deep" and len(net.stem_widths) != 3:
        raise _fault(net, "stem_widths", "a deep stem needs three")
    if net.stem != "deep" and len(net.stem_widths) > 1:
        raise _fault(net, "stem_widths", f"a stem of {net.stem!r} has one")
    if bool(net.outputs) != bool(net.branch_widths):
        raise _fault(net, "outputs", "they go together with branch_widths")
    if net.outputs and not _pruned(net):
        raise _fault(
            net, "branch_widths", "two a block, and one of outputs a stage, are needed"
        )


def _pruned(net) -> bool:
    """Whether the channels of a pruned net are those of all its blocks."""
    try:
        pairs = [[len(pair) for pair in stage] for stage in net.branch_widths]
        whole = all(_wholes(pair) for stage in net.branch_widths for pair in stage)
    except TypeError:
        return False
    one_a_block = pairs == [[2] * depth for depth in net.depths]
    return whole and one_a_block and len(net.outputs) == len(net.depths)


def _check_blocks(net):
    """Refuses what the kinds of blocks have no place for: it would be passed over."""
    kinds = set(net.blocks)
    if kinds == {"basic"} and net.stride_conv != 1:
        raise _fault(net, "stride_conv", "basic blocks accept 1")
    if "dense" in kinds:
        frame = (net.stem, net.preactivation, net.shortcut)
        if len(kinds) > 1 or frame != ("imagenet", True, "none"):
            raise _fault(
                net,
                "block",
                "dense blocks stand alone, behind stem='imagenet', with "
                "preactivation=True and shortcut='none'",
            )
    elif net.preactivation and not kinds <= {"basic", "bottleneck"}:
        raise _fault(net, "preactivation", f"{net.blocks[0]} blocks know one order")
    if net.stem == "cifar" and net.stem_pool != "max":
        raise _fault(net, "stem_pool", "a CIFAR form has none")
    for field, known in _PLACES.items():
        if getattr(net, field) == getattr(type(net), field):  # the default
            continue
        if other := kinds - set(known):
            raise _fault(net, field, f"{min(other)} blocks have no place for it")
        if net.preactivation and field in _ORIGINAL:
            raise _fault(net, field, "pre-activation blocks have no place for it")


def _check_settings(net):
    """Refuses settings that make no sense for this network, with the reason."""
    plain, dense = net.shortcut == "none", "dense" in net.blocks
    strided = net.output_stride and net.output_stride != net.total_stride
    activates = net.norm in ("evonorm", "frn")
    refusals = (
        (strided and net.stem == "cifar", "output_stride", "a CIFAR form has 4"),
        (strided and dense, "output_stride", "DenseNet's transitions must pool"),
        (
            *(strided and net.stride_block == "last", "output_stride"),
            "the stride is in a stage's last block",
        ),
        (net.drop_path_rate and dense, "drop_path_rate", "nothing is added"),
        (net.drop_path_rate and plain, "drop_path_rate", "it has no shortcut"),
        (net.zero_init_residual and dense, "zero_init_residual", "nothing is added"),
        (net.zero_init_residual and plain, "zero_init_residual", "it has no shortcut"),
        (
            *(activates and (dense or not net.preactivation), "norm"),
            "it activates as well, so it fits pre-activation residual blocks only",
        ),
        (
            *(activates and net.stem_pool == "convolution", "norm"),
            "it activates as well, which the stem's pooling convolution cannot have",
        ),
    )
    for refused, field, reason in refusals:
        if refused:
            raise _fault(net, field, reason)


def _fault(net, field: str, reason: str) -> InputError:
    received = f"{field}={getattr(net, field)!r}"
    return InputError(f"{received} of architecture {net.name!r}: {reason}.")


def _listed(choices) -> str:
    return ", ".join(map(repr, choices))
