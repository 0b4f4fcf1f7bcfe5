"""Passes of onnx_ir and onnxscript, with the options that a converted graph needs.

They expect any valid graph. `fold_constants` leaves no operator whose inputs are all
constant: kernels that are transposed or standardized, the factors of a batch
normalization, shapes. `infer_shapes` leaves a shape on every value whose number of axes
can be inferred, with a name on every axis whose size is open. `remove_unused` leaves
what an output depends on.
"""

import onnx
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.optimizer import fold_constants as fold

from export.graph.files import weights_as_inputs

# The shape inference of this opset knows the most; what is valid in an earlier one
# from 13 on is valid in it.
INFERENCE_OPSET = 17
NO_LIMIT = 2**62  # elements of a constant


def fold_constants(model: ir.Model) -> None:
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
    common.RemoveUnusedNodesPass()(model)
