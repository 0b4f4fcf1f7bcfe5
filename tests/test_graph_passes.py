"""Each pass on a graph of a few nodes, and the graph that must come out."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from export.graph.passes import (
    PASSES,
    channels_first,
    fold_channel_reversal,
    fold_constants,
    fold_padding,
    fold_scales,
    infer_shapes,
    remove_unused,
    replace_group_normalization,
    replace_scales,
)

NCHW, NHWC = ("batch", 4, 6, 6), ("batch", 6, 6, 4)


class Graph:
    """A graph in the making, with one input `x`; a node and its output share a name."""

    def __init__(self, shape=NCHW):
        entry = ir.Value(
            name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape)
        )
        self.values = {"x": entry}
        self.graph = ir.Graph([entry], [], nodes=[], opset_imports={"": 17}, name="g")

    def constant(self, name, array):
        array = np.asarray(array)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        tensor = ir.tensor(array, name=name)
        value = ir.Value(
            name=name,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(array.shape),
            const_value=tensor,
        )
        self.graph.register_initializer(value)
        self.values[name] = value
        return self

    def node(self, name, operator, *inputs, **attributes):
        value = ir.Value(name=name)
        inputs = [self.values[source] for source in inputs]
        node = ir.node(operator, inputs, attributes, outputs=[value], name=name)
        self.graph.append(node)
        self.values[name] = value
        return self

    def model(self, *outputs):
        for name in outputs:
            self.values[name].type = ir.TensorType(ir.DataType.FLOAT)
            self.graph.outputs.append(self.values[name])
        model = ir.Model(self.graph, ir_version=8)
        infer_shapes(model)
        return model


def operators(model):
    return [node.op_type for node in model.graph]


def node(model, operator):
    (match,) = [node for node in model.graph if node.op_type == operator]
    return match


def array(model, operator, index):
    return node(model, operator).inputs[index].const_value.numpy()


def run(model, images):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), options, ["CPUExecutionProvider"]
    )
    return session.run(None, {"x": images})


def check(model, expected, *passes, shape=(2, 4, 6, 6)):
    """The passes leave these operators, and the same answers."""
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    before = run(model, images)
    for change in passes:
        change(model)
    assert operators(model) == expected
    for reference, answer in zip(before, run(model, images), strict=True):
        np.testing.assert_allclose(reference, answer, rtol=1e-4, atol=1e-5)


def kernel(channels=4, groups=1):
    shape = (8, channels // groups, 3, 3)
    return np.random.default_rng(1).normal(size=shape)


def per_channel(seed, channels=8):
    return np.random.default_rng(seed).uniform(0.5, 1.5, (1, channels, 1, 1))


def test_the_list_has_every_pass_once_but_for_the_removal():
    others = [change for change in PASSES if change is not remove_unused]
    assert len(others) == len(set(others)) == 8
    assert PASSES[-1] is remove_unused


def test_constants_are_folded():
    graph = Graph().constant("hwio", kernel().transpose(2, 3, 1, 0))
    graph.node("kernel", "Transpose", "hwio", perm=[3, 2, 0, 1])
    graph.node("doubled", "Add", "kernel", "kernel").node("y", "Conv", "x", "doubled")
    model = graph.model("y")
    check(model, ["Conv"], fold_constants)
    np.testing.assert_allclose(array(model, "Conv", 1), 2 * kernel(), rtol=1e-6)
    assert list(model.graph.initializers) == [node(model, "Conv").inputs[1].name]
    assert not any(v.metadata_props for v in model.graph.initializers.values())


def test_shapes_are_inferred_and_open_axes_named():
    graph = Graph().constant("axes", np.array([2, 3]))
    graph.node("pooled", "GlobalAveragePool", "x")
    graph.node("y", "Squeeze", "pooled", "axes")
    model = graph.model("y")
    shapes = {
        n.outputs[0].name: list(map(str, n.outputs[0].shape)) for n in model.graph
    }
    assert shapes == {"pooled": ["batch", "4", "1", "1"], "y": ["batch", "4"]}
    graph = Graph().constant("mask", np.array([True, False] * 72))
    graph = graph.node("y", "Compress", "x", "mask").model("y").graph
    (axis,) = graph.outputs[0].shape
    assert axis.value


def test_unused_nodes_and_constants_are_removed():
    graph = Graph().constant("two", np.float32(2)).node("unused", "Mul", "x", "two")
    model = graph.node("y", "Relu", "x").model("y")
    check(model, ["Relu"], remove_unused)
    assert not model.graph.initializers


def channels_last(graph, name, source):
    """A convolution as tf2onnx writes it: transposed to and fro."""
    graph.node(f"{name}_in", "Transpose", source, perm=[0, 3, 1, 2])
    graph.node(f"{name}_conv", "Conv", f"{name}_in", "kernel", pads=[1, 1, 1, 1])
    return graph.node(name, "Transpose", f"{name}_conv", perm=[0, 2, 3, 1])


def test_channels_first_needs_no_transpose_inside():
    graph = Graph(NCHW).constant("kernel", kernel()[:4]).constant("bias", np.ones(4))
    graph.node("last", "Transpose", "x", perm=[0, 2, 3, 1])
    channels_last(graph, "a", "last").node("b", "Add", "a", "bias")
    channels_last(graph.node("c", "Relu", "b"), "d", "c").node("e", "Add", "d", "c")
    graph.node("y", "ReduceMean", "e", axes=[1, 2], keepdims=0)
    model = graph.model("y")
    expected = ["Conv", "Add", "Relu", "Conv", "Add", "GlobalAveragePool", "Reshape"]
    check(model, expected, channels_first, remove_unused)
    (bias,) = [n.inputs[1] for n in model.graph if n.op_type == "Add"][:1]
    assert bias.const_value.shape == (1, 4, 1, 1)


def test_an_output_is_transposed_back_once():
    graph = Graph(NCHW).node("last", "Transpose", "x", perm=[0, 2, 3, 1])
    model = graph.node("y", "Relu", "last").node("z", "Neg", "y").model("y", "z")
    expected = ["Relu", "Neg", "Transpose", "Transpose"]
    check(model, expected, channels_first, remove_unused)
    for output in model.graph.outputs:
        assert output.producer().attributes["perm"].as_ints() == (0, 2, 3, 1)


@pytest.mark.parametrize(
    ("operator", "attributes", "expected"),
    [
        ("Softmax", {"axis": -1}, ("axis", 1)),
        ("ReduceMax", {"axes": [1, 2], "keepdims": 1}, ("axes", (2, 3))),
        ("ReduceSum", {}, None),  # that has no rule
    ],
)
def test_axes_follow_the_channels(operator, attributes, expected):
    graph = Graph(NCHW).node("last", "Transpose", "x", perm=[0, 2, 3, 1])
    model = graph.node("y", operator, "last", **attributes).model("y")
    if expected is None:
        check(model, ["Transpose", operator], channels_first, remove_unused)
        return
    left = {"Softmax": [operator, "Transpose"], "ReduceMax": [operator, "Reshape"]}
    check(model, left[operator], channels_first, remove_unused)
    name, value = expected
    assert node(model, operator).attributes[name].value == value


def test_sides_repeats_and_slices_follow_the_channels():
    graph = Graph(NCHW).constant("sides", np.array([0, 1, 2, 0, 0, 3, 4, 0]))
    graph.constant("repeats", np.array([1, 1, 1, 2])).constant("axes", np.array([3]))
    graph.constant("one", np.array([1])).constant("end", np.array([10**9]))
    graph.node("last", "Transpose", "x", perm=[0, 2, 3, 1])
    graph.node("padded", "Pad", "last", "sides").node(
        "tiled", "Tile", "padded", "repeats"
    )
    graph.node("y", "Slice", "tiled", "one", "end", "axes", "one")
    model = graph.model("y")
    expected = ["Pad", "Tile", "Slice", "Transpose"]
    check(model, expected, channels_first, remove_unused)
    assert array(model, "Pad", 1).tolist() == [0, 0, 1, 2, 0, 0, 3, 4]
    assert array(model, "Tile", 1).tolist() == [1, 2, 1, 1]
    assert array(model, "Slice", 3).tolist() == [1]


def convolution(graph, name="conv", source="x", **attributes):
    graph.constant("kernel", kernel(groups=attributes.get("group", 1)))
    return graph.node(name, "Conv", source, "kernel", **attributes)


def test_scales_go_into_the_convolution():
    graph = convolution(Graph()).constant("gamma", per_channel(2))
    graph.constant("beta", per_channel(3)).constant("two", np.float32(2))
    graph.node("a", "Mul", "conv", "gamma").node("b", "Add", "beta", "a")
    model = graph.node("y", "Mul", "b", "two").model("y")
    check(model, ["Conv"], fold_scales)
    factor = 2 * per_channel(2).reshape(8, 1, 1, 1)
    np.testing.assert_allclose(array(model, "Conv", 1), kernel() * factor, rtol=1e-5)
    np.testing.assert_allclose(
        array(model, "Conv", 2), 2 * per_channel(3).reshape(8), rtol=1e-5
    )
    assert "kernel" not in model.graph.initializers


def test_a_scale_stays_where_the_unscaled_result_is_used():
    graph = convolution(Graph()).constant("gamma", per_channel(2))
    graph.node("a", "Mul", "conv", "gamma").node("y", "Add", "a", "conv")
    check(graph.model("y"), ["Conv", "Mul", "Add"], fold_scales)
    graph = convolution(Graph()).constant("gamma", per_channel(2))
    model = graph.node("y", "Mul", "conv", "gamma").model("conv", "y")
    check(model, ["Conv", "Mul"], fold_scales)


def test_a_shared_kernel_is_scaled_for_its_user_alone():
    graph = Graph().constant("kernel", kernel()).constant("gamma", per_channel(2))
    graph.node("a", "Conv", "x", "kernel").node("b", "Conv", "x", "kernel")
    graph.node("c", "Mul", "a", "gamma").node("y", "Add", "c", "b")
    model = graph.model("y")
    check(model, ["Conv", "Conv", "Add"], fold_scales)
    assert "kernel" in model.graph.initializers


def test_a_scale_by_position_stays():
    graph = convolution(Graph()).constant("mask", np.ones((1, 8, 4, 4)))
    model = graph.node("y", "Mul", "conv", "mask").model("y")
    check(model, ["Conv", "Mul"], fold_scales)


def padded_pool(operator, value, relu=False, sides=(0, 0, 1, 1) * 2, **attributes):
    graph = Graph().constant("sides", np.array(sides))
    graph.constant("value", np.float32(value))
    source = "x"
    if relu:
        graph.node("relu", "Relu", "x")
        source = "relu"
    graph.node("pad", "Pad", source, "sides", "value")
    graph.node("y", operator, "pad", kernel_shape=[3, 3], strides=[2, 2], **attributes)
    return graph.model("y")


def test_padding_goes_into_a_pool_where_that_is_exact():
    model = padded_pool("MaxPool", -np.inf)
    check(model, ["MaxPool"], fold_padding)
    assert node(model, "MaxPool").attributes["pads"].as_ints() == (1, 1, 1, 1)
    check(padded_pool("MaxPool", 0, relu=True), ["Relu", "MaxPool"], fold_padding)
    model = padded_pool("AveragePool", 0)
    check(model, ["AveragePool"], fold_padding)
    assert node(model, "AveragePool").attributes["count_include_pad"].as_int() == 1


def test_zeros_before_a_maximum_of_anything_become_minus_zeros():
    model = padded_pool("MaxPool", 0)
    check(model, ["Pad", "MaxPool"], fold_padding)
    value = array(model, "Pad", 2)
    assert value == 0 and np.signbit(value)


@pytest.mark.parametrize(
    "model",
    [
        padded_pool("MaxPool", 0.5),
        padded_pool("MaxPool", -np.inf, sides=(0, 1, 1, 1) * 2),
        padded_pool("MaxPool", -np.inf, ceil_mode=1),
        padded_pool("AveragePool", -1.0),
    ],
)
def test_other_padding_stays(model):
    check(model, operators(model), fold_padding)


def reversed_channels(axis=1, use="conv", **attributes):
    graph = Graph().constant("start", np.array([2**31 - 1]))
    graph.constant("end", np.array([-(2**31)])).constant("axis", np.array([axis]))
    graph.constant("step", np.array([-1])).constant("scale", per_channel(2, 4))
    graph.node("reversed", "Slice", "x", "start", "end", "axis", "step")
    graph.node("scaled", "Mul", "reversed", "scale")
    convolution(graph, source="scaled", **attributes)
    return graph.model(use)


def test_reversed_channels_go_into_the_kernel():
    model = reversed_channels()
    check(model, ["Mul", "Conv"], fold_channel_reversal)
    np.testing.assert_array_equal(
        array(model, "Conv", 1), kernel().astype(np.float32)[:, ::-1]
    )
    np.testing.assert_array_equal(
        array(model, "Mul", 1), per_channel(2, 4).astype(np.float32)[:, ::-1]
    )


@pytest.mark.parametrize("model", [reversed_channels(2), reversed_channels(group=2)])
def test_other_reversals_stay(model):
    check(model, ["Slice", "Mul", "Conv"], fold_channel_reversal)


def group_normalization(shape=(0, 2, 2, 6, 6)):
    graph = (
        Graph().constant("grouped", np.array(shape)).constant("eps", np.float32(0.1))
    )
    graph.constant("back", np.array([0, 4, 6, 6]))
    graph.constant("gamma", np.random.default_rng(2).normal(size=(1, 2, 2, 1, 1)))
    graph.constant("beta", np.random.default_rng(3).normal(size=(1, 2, 2, 1, 1)))
    axes = {"axes": [2, 3, 4], "keepdims": 1}
    graph.node("groups", "Reshape", "x", "grouped")
    graph.node("mean", "ReduceMean", "groups", **axes)
    graph.node("distance", "Sub", "groups", "mean")
    graph.node("square", "Mul", "distance", "distance")
    graph.node("variance", "ReduceMean", "square", **axes)
    graph.node("shifted", "Add", "variance", "eps").node("root", "Sqrt", "shifted")
    graph.node("inverse", "Reciprocal", "root")
    graph.node("scale", "Mul", "inverse", "gamma").node("minus", "Neg", "mean")
    graph.node("moved", "Mul", "minus", "scale").node("offset", "Add", "moved", "beta")
    graph.node("scaled", "Mul", "groups", "scale")
    graph.node("sum", "Add", "scaled", "offset")
    return graph.node("y", "Reshape", "sum", "back")


NORMALIZED = ["Reshape", "InstanceNormalization", "Reshape", "BatchNormalization"]


def test_group_normalization_is_an_instance_normalization():
    model = group_normalization().model("y")
    passes = (replace_group_normalization, remove_unused)
    check(model, NORMALIZED, *passes)
    norm = node(model, "InstanceNormalization")
    assert norm.attributes["epsilon"].as_float() == pytest.approx(0.1)
    assert norm.inputs[1].const_value.shape == (2,)
    shape = node(model, "BatchNormalization").inputs[1].const_value.shape
    assert shape == (4,)
    assert model.graph.outputs[0].name == "y"


def test_a_group_normalization_whose_mean_is_used_stays():
    graph = group_normalization()
    model = graph.model("y", "mean")
    check(model, operators(model), replace_group_normalization, remove_unused)


def test_scales_that_stay_are_a_batch_normalization():
    graph = (
        Graph().constant("gamma", per_channel(2, 4)).constant("beta", per_channel(3, 4))
    )
    graph.node("relu", "Relu", "x").node("a", "Mul", "gamma", "relu")
    model = graph.node("y", "Add", "a", "beta").model("y")
    check(model, ["Relu", "BatchNormalization"], replace_scales, remove_unused)
    norm = node(model, "BatchNormalization")
    assert norm.attributes["epsilon"].as_float() == 0
    gamma, beta, mean, variance = (v.const_value.numpy() for v in norm.inputs[1:])
    np.testing.assert_array_equal(gamma, per_channel(2, 4).reshape(4).astype("f4"))
    np.testing.assert_array_equal(beta, per_channel(3, 4).reshape(4).astype("f4"))
    assert (mean == 0).all() and (variance == 1).all()


def test_single_scales_stay():
    graph = Graph().constant("gamma", per_channel(2, 4))
    model = graph.node("y", "Mul", "x", "gamma").model("y")
    check(model, ["Mul"], replace_scales)
    graph = Graph().constant("gamma", per_channel(2, 4)).constant("one", np.float32(1))
    model = graph.node("a", "Mul", "x", "gamma").node("y", "Add", "a", "one").model("y")
    check(model, ["Mul", "Add"], replace_scales)
