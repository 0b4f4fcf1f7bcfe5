"""What each pass of a lower precision makes of a small graph."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from export.quantization.float16 import to_float16
from export.quantization.int8 import (
    CPU,
    TENSORRT,
    insert_qdq,
    rounded_tensors,
    weights_to_int8,
)
from export.quantization.passes import (
    PRECISIONS,
    batch_norm_to_convolution,
    matmul_to_gemm,
    name_nodes,
)
from export.runtime import Session

BLOCK = """
<ir_version: 8, opset_import: ["": 17]>
net (float[N, 4, 6, 6] images) => (float[N, 4, 6, 6] features) {
    [first] a = Conv <kernel_shape = [1, 1]> (images, first_kernel, first_bias)
    [relu] b = Relu (a)
    [second] c = Conv <kernel_shape = [1, 1]> (b, second_kernel, second_bias)
    [add] features = Add (c, b)
}
"""
DENSE = """
<ir_version: 8, opset_import: ["": 17]>
net (float[N, 4] images) => (float[N, 3] logits) {
    product = MatMul (images, kernel)
    logits = Add (bias, product)
}
"""
NORM = """
<ir_version: 8, opset_import: ["": 17]>
net (float[N, 4, 6, 6] images) => (float[N, 4, 6, 6] features) {
    [entry] a = BatchNormalization (images, gamma, beta, mean, variance)
    [conv] b = Conv <kernel_shape = [1, 1]> (a, kernel, bias)
    [norm] features =
        BatchNormalization <epsilon = 0.1> (b, gamma, beta, mean, variance)
}
"""
HEAD = """
<ir_version: 8, opset_import: ["": 17]>
net (float[N, 4] images) => (float[N, 3] probabilities) {
    [scale] scaled = Mul (images, factor)
    [dense] product = Gemm (scaled, kernel, bias)
    [shift] logits = Add (product, bias)
    [softmax] probabilities = Softmax (logits)
}
"""


def model_of(text, **shapes):
    """The model that the text describes, with random constants of these shapes."""
    model = ir.from_onnx_text(text)
    graph, generator = model.graph, np.random.default_rng(0)
    for node in graph:
        for place, value in enumerate(node.inputs):
            if value.name in shapes:
                array = generator.uniform(0.5, 1.5, shapes[value.name])
                if value.name not in graph.initializers:
                    tensor = ir.tensor(array.astype("float32"), name=value.name)
                    constant = ir.Value(name=value.name, const_value=tensor)
                    graph.register_initializer(constant)
                node.replace_input_with(place, graph.initializers[value.name])
    return model


def block():
    kernels = {"first_kernel": (4, 4, 1, 1), "second_kernel": (4, 4, 1, 1)}
    return model_of(BLOCK, first_bias=4, second_bias=4, **kernels)


def norm():
    names = ("gamma", "beta", "mean", "variance", "bias")
    return model_of(NORM, kernel=(4, 4, 1, 1), **dict.fromkeys(names, 4))


def lines(model):
    """The nodes in order: "output = Operator(inputs)"; onnx accepts the model."""
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return [
        f"{node.outputs[0].name} = {node.op_type}"
        f"({', '.join(value.name for value in node.inputs)})"
        for node in model.graph
    ]


def outputs(model, shape):
    """Pairs are computed in float32: kernels for integers saturate without VNNI."""
    images = np.random.default_rng(1).normal(size=(3, *shape)).astype("float32")
    content = ir.to_proto(model).SerializeToString()
    session = Session(content, "cpu", options={"session.disable_quant_qdq": "1"})
    (values,) = session.outputs(images).values()
    return values


def pair(name, source, entering, result):
    """The lines of a pair, with the scale of `source`."""
    scale = f"{source}.scale, {source}.zero_point"
    return [
        f"{name}.quantized = QuantizeLinear({entering}, {scale})",
        f"{result} = DequantizeLinear({name}.quantized, {scale})",
    ]


def rounded(name):
    parts = ", ".join(f"{name}.{part}" for part in ("quantized", "scale", "zero_point"))
    return f"{name} = DequantizeLinear({parts})"


def test_nodes_without_a_name_get_that_of_their_output():
    model = model_of(DENSE, kernel=(4, 3), bias=3)
    for node in model.graph:
        node.name = ""
    name_nodes(model)
    assert [node.name for node in model.graph] == ["product", "logits"]


def test_a_product_and_its_bias_become_a_gemm():
    model = model_of(DENSE, kernel=(4, 3), bias=3)
    expected = outputs(model, (4,))
    matmul_to_gemm(model)
    assert lines(model) == ["logits = Gemm(images, kernel, bias)"]
    np.testing.assert_allclose(outputs(model, (4,)), expected, rtol=1e-6)


def test_a_product_that_others_read_becomes_a_gemm_without_bias():
    text = DENSE.replace("logits) {", "logits, float[N, 3] product) {")
    model = model_of(text, kernel=(4, 3), bias=3)
    matmul_to_gemm(model)
    expected = ["product = Gemm(images, kernel)", "logits = Add(bias, product)"]
    assert lines(model) == expected


def test_a_product_of_three_axes_stays():
    text = DENSE.replace("[N, 4]", "[N, 5, 4]").replace("[N, 3]", "[N, 5, 3]")
    model = model_of(text, kernel=(4, 3), bias=3)
    before = lines(model)
    matmul_to_gemm(model)
    assert lines(model) == before


def test_a_normalization_after_integers_becomes_a_convolution():
    model = norm()
    expected = outputs(model, (4, 6, 6))
    name_nodes(model)
    batch_norm_to_convolution(model)
    assert lines(model) == [
        "a = BatchNormalization(images, gamma, beta, mean, variance)",
        "b = Conv(a, kernel, bias)",
        "features = Conv(b, norm.kernel, norm.bias)",
    ]
    *_, convolution = model.graph
    assert convolution.name == "norm"
    assert convolution.attributes.get_int("group") == 4
    np.testing.assert_allclose(outputs(model, (4, 6, 6)), expected, rtol=1e-5)


def test_pairs_for_cpus_stand_on_all_that_enters_and_leaves():
    model, layers = block(), ["first", "second", "add"]
    sources = {value.name for value in rounded_tensors(model, layers, CPU).values()}
    assert sources == {"images", "b", "c", "features"}
    expected = outputs(model, (4, 6, 6))
    insert_qdq(model, layers, dict.fromkeys(sources, (-80, 80)), CPU)
    assert lines(model) == [
        *pair("images", "images", "images", "images.rounded"),
        rounded("first.kernel.rounded"),
        rounded("first.bias.rounded"),
        "a = Conv(images.rounded, first.kernel.rounded, first.bias.rounded)",
        "b.exact = Relu(a)",
        *pair("b", "b", "b.exact", "b"),
        rounded("second.kernel.rounded"),
        rounded("second.bias.rounded"),
        "c.exact = Conv(b, second.kernel.rounded, second.bias.rounded)",
        *pair("c", "c", "c.exact", "c"),
        "features.exact = Add(c, b)",
        *pair("features", "features", "features.exact", "features"),
    ]
    kinds = {
        name: value.const_value.dtype
        for name, value in model.graph.initializers.items()
    }
    assert kinds["first.kernel.rounded.quantized"] == ir.DataType.INT8
    assert kinds["first.bias.rounded.quantized"] == ir.DataType.INT32
    assert kinds["b.zero_point"] == ir.DataType.UINT8
    assert "first_kernel" not in kinds
    difference = np.abs(outputs(model, (4, 6, 6)) - expected).max()
    assert difference < 0.1 * np.ptp(expected)


def test_pairs_for_tensorrt_leave_the_fused_branch_and_the_biases_alone():
    model, layers = block(), ["first", "second", "add"]
    insert_qdq(model, layers, dict.fromkeys(("images", "b"), (-80, 80)), TENSORRT)
    assert lines(model) == [
        *pair("images", "images", "images", "images.rounded"),
        rounded("first.kernel.rounded"),
        "a = Conv(images.rounded, first.kernel.rounded, first_bias)",
        "b.exact = Relu(a)",
        *pair("b", "b", "b.exact", "b"),
        rounded("second.kernel.rounded"),
        "c = Conv(b, second.kernel.rounded, second_bias)",
        "features = Add(c, b)",
    ]


def test_an_excluded_layer_keeps_its_kernel_and_its_output():
    model = block()
    insert_qdq(model, ["first"], dict.fromkeys(("images", "b"), (-80, 80)), CPU)
    assert lines(model)[-2:] == [
        "c = Conv(b, second_kernel, second_bias)",
        "features = Add(c, b)",
    ]


def test_a_kernel_of_two_layers_is_widened_once():
    model = model_of(
        BLOCK.replace("second_kernel", "first_kernel"),
        first_kernel=(4, 4, 1, 1),
        first_bias=4,
        second_bias=4,
    )
    weights_to_int8(model, ["first", "second"])
    assert lines(model) == [
        "first_kernel.cast = Cast(first_kernel.quantized)",
        "first_kernel.float = Mul(first_kernel.cast, first_kernel.scale)",
        "a = Conv(images, first_kernel.float, first_bias)",
        "b = Relu(a)",
        "c = Conv(b, first_kernel.float, second_bias)",
        "features = Add(c, b)",
    ]


def test_float16_begins_with_the_first_product_and_ends_before_a_softmax():
    """What is computed element by element for a statistic or a softmax is exact too."""
    model = model_of(HEAD, factor=4, kernel=(4, 3), bias=3)
    expected = outputs(model, (4,))
    to_float16(model, ["dense"])
    assert lines(model) == [
        "scaled = Mul(images, factor)",
        "scaled.half = Cast(scaled)",
        "product.half = Gemm(scaled.half, kernel.half, bias.half)",
        "product = Cast(product.half)",
        "logits = Add(product, bias)",
        "probabilities = Softmax(logits)",
    ]
    np.testing.assert_allclose(outputs(model, (4,)), expected, rtol=0.01)


def test_an_excluded_product_reads_and_gives_float32():
    model = block()
    to_float16(model, ["first"])
    assert lines(model) == [
        "images.half = Cast(images)",
        "a.half = Conv(images.half, first_kernel.half, first_bias.half)",
        "b.half = Relu(a.half)",
        "b = Cast(b.half)",
        "c = Conv(b, second_kernel, second_bias)",
        "c.half = Cast(c)",
        "features.half = Add(c.half, b.half)",
        "features = Cast(features.half)",
    ]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_lowers_every_layer_of_a_small_net(precision):
    model, passes = block(), PRECISIONS[precision]
    for rewrite in passes.prepare:
        rewrite(model)
    layers = passes.layers(model)
    assert {"first", "second"} <= set(layers)
    tensors = passes.calibrated(model, layers) if passes.calibrated else []
    passes.lower(model, layers, dict.fromkeys(tensors, (-80.0, 80.0)))
    assert not {"first_kernel", "second_kernel"} & set(model.graph.initializers)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
