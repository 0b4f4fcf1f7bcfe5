"""Normalizations that stay in the graph, as the operators that runtimes have for them.

`replace_group_normalization` makes an InstanceNormalization of the groups, and a scale
and an offset for each channel, of the fourteen operators that Keras computes a group
normalization by. `replace_scales` makes a BatchNormalization of a Mul and an Add by a
constant for each channel: onnxruntime keeps it in the convolutions' blocked layout.

Both expect channels first and what a convolution can take in folded into it.
"""

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import pattern

from export.graph.passes.values import (
    constant,
    new_constant,
    only_use,
    plain,
    replace,
    shape_of,
    with_constant,
)


class GroupNormalization(pattern.RewriteRuleClassBase):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta of each group, in the order
    of `tf.nn.moments` and `tf.nn.batch_normalization`."""

    def pattern(self, op, images, groups, epsilon, gamma, beta, shape):
        # Images, groups, channels of a group, height, width.
        x = op.Reshape(images, groups, _outputs=["x"])
        mean = op.ReduceMean(x, axes=[2, 3, 4], _allow_other_attributes=True)
        distance = op.Sub(x, mean)
        variance = op.ReduceMean(
            op.Mul(distance, distance), axes=[2, 3, 4], _allow_other_attributes=True
        )
        deviation = op.Sqrt(op.Add(variance, epsilon))
        scale = op.Mul(op.Reciprocal(deviation), gamma)
        offset = op.Add(op.Mul(op.Neg(mean), scale), beta)
        normalized = op.Add(op.Mul(x, scale), offset)
        return op.Reshape(normalized, shape, _outputs=["output"])

    def check(self, context, images, x, epsilon, gamma, beta, output, **_):
        before, after = shape_of(images), shape_of(output)
        return (
            before is not None
            and after is not None
            and plain(before) == plain(after)
            and isinstance((shape_of(x) or ("", ""))[1], int)
            and all(constant(value) is not None for value in (epsilon, gamma, beta))
        )

    def rewrite(self, op, images, x, epsilon, gamma, beta, shape, output, **_):
        name, groups, array = output.name, x.shape[1], constant(epsilon)
        assert array is not None
        arrays = {
            "shape": np.array([0, groups, -1]),
            "ones": np.ones(groups, np.float32),
            "zeros": np.zeros(groups, np.float32),
            **_batch_norm_arrays(gamma, beta),
        }
        flat_shape, ones, zeros, *affine = (
            op.initializer(ir.tensor(values), name=f"{name}.{part}")
            for part, values in arrays.items()
        )
        flat = op.Reshape(images, flat_shape, _outputs=[f"{name}.groups"])
        normalized = op.InstanceNormalization(
            flat,
            ones,
            zeros,
            epsilon=float(array.reshape(())),
            _outputs=[f"{name}.normalized"],
        )
        channels = op.Reshape(normalized, shape, _outputs=[f"{name}.channels"])
        return op.BatchNormalization(channels, *affine, epsilon=0.0)


def replace_group_normalization(model: ir.Model) -> None:
    pattern.RewriteRuleSet([GroupNormalization().rule()]).apply_to_model(model)


def replace_scales(model: ir.Model) -> None:
    for add in model.graph:
        offset = _by_channel(add, "Add")
        mul = offset[0].producer() if offset else None
        scale = None if mul is None else _by_channel(mul, "Mul")
        if not offset or not scale or only_use(offset[0]) is not add:
            continue
        output = add.outputs[0]
        arrays = _batch_norm_arrays(scale[1], offset[1])
        constants = [
            new_constant(model.graph, f"{output.name}.{part}", array)
            for part, array in arrays.items()
        ]
        norm = ir.node(
            "BatchNormalization",
            [scale[0], *constants],
            {"epsilon": 0.0},
            name=f"{output.name}.norm",
        )
        model.graph.insert_before(add, norm)
        norm.outputs[0].name = f"{output.name}.normalized"
        replace(add, norm.outputs[0])


def _by_channel(node: ir.Node, operator: str) -> tuple[ir.Value, ir.Value] | None:
    """(value, constant of (1, C, 1, 1)) of such a node; None of any other."""
    pair = with_constant(node)
    array = constant(pair[1]) if pair else None
    if array is None or node.op_type != operator or array.ndim != 4:
        return None
    channels = array.shape[1]
    return pair if array.shape == (1, channels, 1, 1) and channels > 1 else None


def _batch_norm_arrays(gamma: ir.Value, beta: ir.Value) -> dict[str, np.ndarray]:
    """The constants of a BatchNormalization that is no more than `gamma` and `beta`."""
    scale, offset = constant(gamma), constant(beta)
    assert scale is not None and offset is not None
    return {
        "gamma": scale.reshape(-1),
        "beta": offset.reshape(-1),
        "mean": np.zeros(scale.size, np.float32),
        "variance": np.ones(scale.size, np.float32),
    }
