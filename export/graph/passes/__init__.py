"""What is done to a converted graph, in order.

    for change in PASSES:
        change(model)

Each pass is a function of an `onnx_ir.Model`, which it changes. The docstring of its
module says what graph it expects and what it leaves. `tests/test_graph_passes.py` shows
each on a graph of a few nodes.
"""

from collections.abc import Callable

import onnx_ir as ir

from export.graph.passes.convolutions import fold_channel_reversal, fold_scales
from export.graph.passes.layout import channels_first
from export.graph.passes.library import fold_constants, infer_shapes, remove_unused
from export.graph.passes.normalization import (
    replace_group_normalization,
    replace_scales,
)
from export.graph.passes.padding import fold_padding

PASSES: tuple[Callable[[ir.Model], None], ...] = (
    fold_constants,
    infer_shapes,
    channels_first,
    remove_unused,
    fold_scales,
    fold_padding,
    fold_channel_reversal,
    replace_group_normalization,
    remove_unused,
    replace_scales,
    remove_unused,
)
