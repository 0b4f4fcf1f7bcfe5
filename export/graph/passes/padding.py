"""Takes the padding before a pool into the pool, where that is exact.

A MaxPool's own `pads` mean minus infinity. Padding with zeros is the same after a Relu.
Elsewhere it is another thing, and onnxruntime's Pad_Fusion would fold it all the same
(onnxruntime#24737); minus zero as the value keeps it from that and changes nothing. An
AveragePool can be made to count what it pads as zeros.

`fold_padding` expects channels first and no unused operators. It leaves a Pad before a
pool only where the pool cannot take it in.
"""

import numpy as np
import onnx_ir as ir

from export.graph.passes.values import (
    constant,
    new_constant,
    only_use,
    operand,
    replace,
)


def fold_padding(model: ir.Model) -> None:
    for pool in model.graph:
        is_pool = pool.op_type in ("MaxPool", "AveragePool")
        pad = operand(pool).producer() if is_pool else None
        sides = constant_padding(pad) if pad else None
        if pad is None or sides is None:
            continue
        entry = operand(pad)
        value = constant(pad.inputs[2]) if len(pad.inputs) > 2 else np.float32(0)
        exact = value == 0
        if pool.op_type == "MaxPool":
            producer = entry.producer()
            after_relu = producer is not None and producer.op_type == "Relu"
            exact = value == -np.inf or (value == 0 and after_relu)
        # `sides` has all beginnings before all ends, of images, channels and so on.
        spatial = not any(sides[0:2] + sides[4:6]) and min(sides) >= 0
        if exact and spatial and only_use(pad.outputs[0]) is pool and _takes_pads(pool):
            _add_pads(pool, sides[2:4] + sides[6:8])
            replace(pad, entry)
        elif value == 0:
            name = f"{pad.name}.minus_zero"
            zero = new_constant(model.graph, name, np.array(-0.0, np.float32))
            pad.resize_inputs(3)
            pad.replace_input_with(2, zero)


def constant_padding(node: ir.Node) -> list[int] | None:
    """The sides of a Pad by a constant value; None of any other node."""
    if node.op_type != "Pad" or len(node.inputs) < 2:
        return None
    if node.attributes.get_string("mode", "constant") != "constant":
        return None
    arrays = [constant(value) for value in node.inputs[1:]]
    if any(array is None for array in arrays) or arrays[0] is None:
        return None
    return arrays[0].tolist()


def _takes_pads(pool: ir.Node) -> bool:
    """Whether a pool pads by `pads` alone; an average's own count for nothing."""
    attributes = pool.attributes
    padded = any(attributes.get_ints("pads", ())) and pool.op_type == "AveragePool"
    explicit = attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    return explicit and not padded and not attributes.get_int("ceil_mode", 0)


def _add_pads(pool: ir.Node, more: list[int]) -> None:
    before = pool.attributes.get_ints("pads", [0] * 4)
    pads = [a + b for a, b in zip(before, more, strict=True)]
    pool.attributes.pop("auto_pad", None)
    pool.attributes["pads"] = ir.AttrInt64s("pads", pads)
    if pool.op_type == "AveragePool":
        pool.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
