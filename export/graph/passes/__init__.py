"""What is done to a converted graph, in order.

    for change in PASSES:
        change(model)

Each pass is a function of an `onnx_ir.Model`, which it changes. The docstring of its
module says what graph it expects and what it leaves. Those here are onnx_ir's and
onnxscript's, with the options that a converted graph needs; they take any valid graph.
`tests/test_graph_passes.py` shows each on a graph of a few nodes.
"""

from collections.abc import Callable

import onnx
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.optimizer import fold_constants as fold

from export.graph.files import weights_as_inputs
from export.graph.passes.fusion import (
    fold_channel_reversal,
    fold_padding,
    fold_scales,
)
from export.graph.passes.layout import channels_first
from export.graph.passes.normalization import (
    replace_group_normalization,
    replace_scales,
)

# The shape inference of this opset knows the most; what is valid in an earlier one
# from 13 on is valid in it.
INFERENCE_OPSET = 17
NO_LIMIT = 2**62  # elements of a constant


def fold_constants(model: ir.Model) -> None:
    """Leaves no operator whose inputs are all constant: kernels that are transposed or
    standardized, the factors of a batch normalization, shapes."""
    fold(
        model,
        input_size_limit=NO_LIMIT,
        output_size_limit=NO_LIMIT,
        should_fold=lambda node: True,
    )
    for value in model.graph.initializers.values():
        value.metadata_props.clear()  # what it was folded from
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    remove_unused(model)


def infer_shapes(model: ir.Model) -> None:
    """Leaves a shape on every value whose number of axes can be inferred, with a name
    on every axis whose size is open."""
    proto = weights_as_inputs(model)
    proto.opset_import[0].version = INFERENCE_OPSET
    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    values = {value.name: value for node in model.graph for value in node.outputs}
    for info in (*graph.value_info, *graph.output):
        tensor = info.type.tensor_type
        if tensor.HasField("shape") and info.name in values:
            value = values[info.name]
            value.type = ir.TensorType(ir.DataType(tensor.elem_type))
            value.shape = ir.Shape(
                axis.dim_value
                if axis.HasField("dim_value")
                else axis.dim_param or f"{info.name}:{index}"
                for index, axis in enumerate(tensor.shape.dim)
            )


def remove_unused(model: ir.Model) -> None:
    """Leaves what an output depends on."""
    common.RemoveUnusedNodesPass()(model)


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
