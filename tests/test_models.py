"""What the builder's users rely on, over small versions of the whole table."""

import inspect
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import randomize, tiny

import keras_resnet
from keras_resnet import blocks, build, get_architecture, list_models
from keras_resnet.common.errors import InputError
from keras_resnet.style import Style

KINDS = (  # one of each kind of network that the table can express
    "resnet18",
    "resnet50",
    "resnet50_v1",
    "resnet50_v2",
    "resnet18_v2",
    "plain18",
    "resnet20",
    "resnet20_b",
    "resnet20_v2",
    "plain20",
    "resnet164",
    "resnet164_v2",
    "resnet50d",
    "ecaresnet26t",
    "senet154",
    "seresnext50_32x4d",
    "resnetrs50",
    "resnetaa50d",
    "resnetblur18",
    "resnet50_gn",
    "test_resnet",
    "ecaresnet50d_pruned",
    "resnet18_vd",
    "resnetv2_50d",
    "resnetv2_50d_evos",
    "resnetv2_50d_frn",
    "resnetv2_50x1_bit",
    "resnet50_keras",
    "resnet50v2_keras",
    "densenet121",
    "resnest50d",
    "resnest50d_4s2x40d",
    "resnest50d_1s4x24d",
    "skresnet18",
    "skresnet50",
    "skresnext50_32x4d",
    "res2net50_26w_4s",
    "res2next50",
)


def test_the_kinds_cover_the_table():
    """Each value of each field that chooses between mechanisms occurs in one."""

    def kinds(names):
        found = set()
        for row in map(get_architecture, names):
            for field in ("stride_block", "norm", "standardized", "biases"):
                found.add((field, getattr(row, field)))
            found.add((type(row.stem), getattr(row.stem, "pool", None)))
            for block in row.blocks:
                for field in ("stride_conv", "shortcut", "reduce_first", "antialias"):
                    found.add((field, getattr(block, field, None)))
                for field in ("shortcut_kernel", "project_first", "radix"):
                    found.add((field, getattr(block, field, None)))
                for field in ("split_input", "pool_first", "preactivate_first"):
                    found.add((field, getattr(block, field, None)))
                found.add(type(block))
                found.add(type(getattr(block, "attention", None)))
        return found

    assert kinds(list_models()) == kinds(KINDS)


def test_signature_is_that_of_keras_applications():
    theirs = inspect.signature(keras.applications.ResNet50).parameters
    ours = inspect.signature(keras_resnet.ResNet50).parameters
    assert list(ours)[: len(theirs)] == [*theirs]
    build_takes = inspect.signature(build).parameters
    assert [*ours] == [name for name in build_takes if name != "architecture"]
    for same in ("include_top", "input_tensor", "input_shape", "pooling"):
        assert ours[same].default == theirs[same].default


def test_drop_in_for_keras_applications():
    options = {"weights": None, "include_top": False, "input_shape": (64, 64, 3)}
    for pooling in (None, "avg", "max"):
        ours = keras_resnet.ResNet50(pooling=pooling, **options)
        theirs = keras.applications.ResNet50(pooling=pooling, **options)
        assert ours.output_shape == theirs.output_shape
    ours = keras_resnet.ResNet50(weights=None, classes=7)
    assert ours.input_shape == (None, 224, 224, 3)
    assert ours.output_shape == (None, 7)


def test_default_classes_and_names():
    assert keras_resnet.ResNet18().output_shape == (None, 1000)
    assert keras_resnet.ResNet20().output_shape == (None, 10)
    assert keras_resnet.ResNet18(name="encoder").name == "encoder"


@pytest.mark.parametrize(
    ("name", "channels"), [*((name, 13) for name in KINDS), ("resnet50", 1)]
)
def test_any_channels_and_odd_sizes(name, channels, random_images):
    net = tiny(name)
    size = net.total_stride
    model = build(net, input_shape=(None, None, channels), classes=5)
    for height, width in ((size, size), (2 * size + 1, 3 * size - 1)):
        output = model(random_images(height, width, channels))
        assert output.shape == (2, 5)
        np.testing.assert_allclose(np.sum(output, axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_features_have_the_total_stride(name):
    net = tiny(name)
    model = build(net, include_top=False, input_shape=(97, 65, 3))
    # in torch too, an average pool without padding leaves the last row out
    floors = net.antialias == "average" or net.dense
    up = 0 if floors else net.total_stride - 1
    expected = [(side + up) // net.total_stride for side in (97, 65)]
    assert list(model.output_shape[1:3]) == expected
    assert model.output_shape[-1] == net.stage_outputs(-1)


OWN_LAYERS = (  # those with layers that Keras does not have
    "resnet20",
    "resnet50_v2",
    "resnetblur18",
    "skresnet18",
    "resnetv2_50d_evos",
    "resnetv2_50d_frn",
    "resnetv2_50x1_bit",
)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in OWN_LAYERS else pytest.mark.slow)
        for name in KINDS
    ],
)
def test_saved_model_gives_the_same_answer(name, tmp_path, random_images):
    net = tiny(name)
    model = build(net, input_shape=(None, None, 3))
    randomize(model)
    images = random_images(2 * net.total_stride + 1, 2 * net.total_stride, 3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.parametrize(
    ("name", "imports"),
    [("resnet50", "keras"), ("resnet50_v2", "keras, keras_resnet.layers")],
)
def test_saved_model_loads_in_a_fresh_process(name, imports, tmp_path):
    """v1 is made of stock layers alone; v2 and shortcut A need ours registered."""
    build(tiny(name)).save(tmp_path / "model.keras")
    file = str(tmp_path / "model.keras")
    code = f"import {imports}; keras.models.load_model({file!r})"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", ["resnet50", "resnet20_v2"])
def test_mixed_precision_keeps_the_head_in_float32(policy, name, random_images):
    net = tiny(name)
    keras.config.set_dtype_policy(policy)
    try:
        model = build(net)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.output.dtype == "float32"
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert {x.compute_dtype for x in convolutions} == {policy.removeprefix("mixed_")}
    images = random_images(net.input_size, net.input_size, 3)
    assert np.isfinite(model(images)).all()


@pytest.mark.parametrize("name", ["resnet50", "resnet20", "resnetv2_50x1_bit"])
def test_two_models_in_one_graph(name, random_images):
    """Flat (joined over their inputs) and nested, with default names."""
    net = tiny(name)
    size = net.input_size
    first, second = build(net), build(net)
    merged = keras.layers.Concatenate()([first.output, second.output])
    flat = keras.Model([first.input, second.input], merged)
    images = random_images(size, size, 3)
    expected = np.concatenate([first(images), second(images)], -1)
    np.testing.assert_allclose(flat([images, images]), expected, atol=1e-6)

    shared = keras.Input((size, size, 3))
    nested = keras.Model(shared, [first(shared), second(shared)])
    assert len(nested(images)) == 2


def test_input_tensor_joins_an_existing_graph(random_images):
    net = tiny("resnet50")
    images = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(3, 1)(images)
    model = build(net, input_tensor=x)
    also = build(net, input_tensor=x)
    assert model.input is images
    both = keras.Model(images, [model.output, also.output])
    assert both(random_images(64, 64, 1))[0].shape == (2, 1000)


def test_channels_last_whatever_keras_is_set_to(random_images):
    keras.config.set_image_data_format("channels_first")
    try:
        model = build(tiny("resnet50"))
    finally:
        keras.config.set_image_data_format("channels_last")
    assert model(random_images(64, 64, 3)).shape == (2, 1000)


def test_blocks_serve_in_a_network_of_ones_own(random_images):
    x = images = keras.Input((None, None, 16))
    x = blocks.basic_block(x, 16, name="a")
    x = blocks.bottleneck_block(x, 8, stride=2, name="b")
    x = blocks.preactivation_basic_block(x, 48, stride=3, shortcut="A", name="c")
    x = blocks.preactivation_bottleneck_block(x, 12, name="d")
    model = keras.Model(images, x)
    assert model(random_images(31, 20, 16)).shape == (2, 6, 4, 48)


def test_shortcut_a_subsamples_and_pads_channels(random_images):
    from keras_resnet.layers import IdentityShortcut

    images = random_images(5, 4, 3)
    output = np.asarray(IdentityShortcut(5, stride=2)(images))
    np.testing.assert_array_equal(output[..., :3], images[:, ::2, ::2])
    assert not output[..., 3:].any()


def test_weights_from_a_saved_file(tmp_path, random_images):
    net = tiny("resnet50")
    model = build(net, classes=5)
    randomize(model)
    images = random_images(64, 64, 3)
    for file in (tmp_path / "a.keras", tmp_path / "a.weights.h5"):
        (model.save if file.suffix == ".keras" else model.save_weights)(file)
        again = build(net, classes=5, weights=file, name="another")
        np.testing.assert_array_equal(again(images), model(images))
    features = build(
        net, include_top=False, pooling="avg", weights=tmp_path / "a.keras"
    )
    expected = keras.Model(model.input, model.layers[-2].output)
    np.testing.assert_array_equal(features(images), expected(images))


def test_weights_behind_layers_of_ones_own(tmp_path, random_images):
    net = tiny("resnet50")
    model = build(net, classes=5)
    randomize(model)
    model.save(tmp_path / "a.keras")
    images = keras.Input((64, 64, 1))
    x = keras.layers.Conv2D(3, 1, name="colour")(images)
    joined = build(net, input_tensor=x, classes=5, weights=tmp_path / "a.keras")
    coloured = joined.get_layer("colour")(random_images(64, 64, 1))
    expected = model(coloured)
    np.testing.assert_allclose(joined(random_images(64, 64, 1)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": tiny("resnet50_v2")}, "is missing"),
        ({"architecture": replace(tiny("resnet50"), depths=(2, 1, 1, 1))}, "missing"),
        ({"architecture": tiny("resnet50").derive(shortcut="none")}, "no place"),
        # the same names and shapes of weights, another network
        ({"architecture": tiny("resnet50_v1")}, "layer2.0.conv1 has stride"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, message, tmp_path):
    net = tiny("resnet50")
    build(net, classes=5).save(tmp_path / "a.keras")
    arguments = {"architecture": net, "classes": 5} | change
    with pytest.raises(InputError, match=message):
        build(**arguments, weights=tmp_path / "a.keras")


def test_weights_of_a_plain_net_do_not_fit_one_with_shortcuts(tmp_path):
    build(tiny("plain20")).save(tmp_path / "a.keras")
    with pytest.raises(InputError, match=r"layer1\.0\.add is missing"):
        build(tiny("resnet20"), weights=tmp_path / "a.keras")


def test_weights_of_another_kind_or_damaged(tmp_path):
    net = tiny("resnet20")
    whole = tmp_path / "whole.keras"
    build(net).save(whole)
    (tmp_path / "cut.keras").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "text.keras").write_text("not a model")
    (tmp_path / "text.weights.h5").write_text("not weights")
    for name in ("missing", "cut", "text"):
        with pytest.raises(InputError, match=f"{name}.keras"):
            build(net, weights=tmp_path / f"{name}.keras")
    for name in ("missing", "text"):
        with pytest.raises(InputError, match=f"{name}.weights.h5"):
            build(net, weights=tmp_path / f"{name}.weights.h5")
    with pytest.raises(InputError, match=r"None and the path"):
        build(net, weights="imagenet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, "classes=0"),
        ({"classes": 2.5}, "classes=2.5"),
        ({"classes": True}, "classes=True"),
        ({"include_top": "no"}, "include_top='no'"),
        ({"name": "a/b"}, "name='a/b'"),
        ({"classifier_activation": "softmix"}, "classifier_activation='softmix'"),
        ({"pooling": "mean"}, "pooling='mean'"),
        ({"input_shape": (224, 224)}, "height, width, channels"),
        ({"input_shape": (224, 224, 0)}, "whole numbers from 1"),
        ({"input_shape": (224, 224, None)}, "number of channels"),
        ({"input_shape": (31, 224, 3)}, "at least 32 pixels"),
        ({"input_shape": (3, 224, 224)}, "channels-first"),
        ({"input_shape": "224"}, "height, width, channels"),
        ({"input_tensor": np.zeros((1, 64, 64, 3))}, "Keras tensor"),
        ({"input_tensor": keras.Input((64, 64, 3), dtype="uint8")}, "of uint8"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_resnet.ResNet18(**arguments)


@pytest.mark.parametrize("architecture", [5, None])
def test_what_is_no_architecture_is_refused(architecture):
    with pytest.raises(InputError, match="architecture="):
        build(architecture)


def test_input_tensor_and_input_shape_must_agree():
    with pytest.raises(ValueError, match="input_shape"):
        build("resnet20", input_tensor=keras.Input((8, 8, 3)), input_shape=(16, 16, 3))
    with pytest.raises(ValueError, match="input_shape=5"):
        build("resnet20", input_tensor=keras.Input((8, 8, 3)), input_shape=5)
    with pytest.raises(ValueError, match="number of channels"):
        build("resnet20", input_tensor=keras.Input((8, 8, None)))


def test_numpy_counts_as_well(random_images):
    shape = (np.int64(32), np.int64(32), 3)
    model = build(tiny("resnet20"), classes=np.int64(4), input_shape=shape)
    assert model(random_images(32, 32, 3)).shape == (2, 4)


def test_standardised_kernels_of_zeros_in_half_precision(random_images):
    """The epsilon under the root is smaller than float16's least number."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build(tiny("resnetv2_50x1_bit"), zero_init_residual=True)
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(model(random_images(64, 64, 3))).all()


def test_names_start_anew_with_keras():
    first = build(tiny("resnet20")).name
    assert build(tiny("resnet20")).name != first
    keras.utils.clear_session()
    assert build(tiny("resnet20")).name == "tiny_resnet20"


@pytest.mark.parametrize(
    "block", [blocks.bottleneck_block, blocks.preactivation_bottleneck_block]
)
def test_bad_block_arguments_are_named(block):
    x = keras.Input((8, 8, 64))
    with pytest.raises(ValueError, match="stride_conv=3"):
        block(x, 8, stride_conv=3, name="x")
    with pytest.raises(ValueError, match="shortcut='C'"):
        block(x, 8, shortcut="C", name="x")
    with pytest.raises(InputError, match="no channels would be left"):
        block(x, 8, base_width=1, name="x")
    with pytest.raises(InputError, match="norm='bach'"):
        block(x, 8, style=Style(norm="bach"), name="x")
    with pytest.raises(ValueError, match="cannot reduce 64 channels to 32"):
        block(x, 8, shortcut="A", name="x")


def test_model_trains(random_images):
    model = build(tiny("resnet20"), classes=3)
    model.compile("sgd", "sparse_categorical_crossentropy")
    images, labels = random_images(8, 8, 3, batch=6), np.arange(6) % 3
    losses = [model.train_on_batch(images, labels) for _ in range(20)]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_the_deepest_network_builds_saves_and_loads(tmp_path):
    """4,210 layers: deeper than Python's recursion limit."""
    code = (
        "import keras_resnet as k; m = k.ResNet1202(); assert len(m.layers) > 4000; "
        f"k.save_model(m, {str(tmp_path / 'deep.keras')!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    code = (
        "import keras_resnet as k; "
        f"assert len(k.load_model({str(tmp_path / 'deep.keras')!r}).layers) > 4000"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
