"""What `build(..., **settings)` changes, and what it refuses with a reason."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import randomize, tiny

import keras_resnet
from keras_resnet import InputError, build, feature_maps, get_architecture
from keras_resnet.architectures.resnet import v2
from keras_resnet.stages import places
from keras_resnet.weights.assign import named_variables


@pytest.mark.parametrize(
    "name", ["resnet50", "resnet50d", "resnet18", "resnetv2_50d", "resnetrs50"]
)
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_output_stride_dilates_in_place_of_striding(name, stride, random_images):
    model = build(tiny(name), input_shape=(64, 96, 3), output_stride=stride)
    maps = feature_maps(model)
    assert maps["C5"].shape[1:3] == (64 // stride, 96 // stride)
    plain = build(tiny(name), input_shape=(64, 96, 3))
    for ours, theirs in zip(model.weights, plain.weights, strict=True):
        assert ours.shape == theirs.shape  # dilation needs no new weights
        ours.assign(theirs)
    images = random_images(64, 96, 3)
    same = np.allclose(model(images), plain(images), atol=1e-6)
    assert same == (stride == 32)


def test_dilation_of_every_block():
    net = replace(get_architecture("resnet50"), output_stride=8)
    rates = [(at.stage, at.first_dilation, at.dilation) for at in places(net)]
    assert rates[7:9] == [(2, 1, 2), (2, 2, 2)]
    assert rates[13:15] == [(3, 2, 4), (3, 4, 4)]


def test_drop_path_leaves_branches_out_in_training_alone(random_images):
    model = build(tiny("resnet50"), drop_path_rate=0.9, classifier_activation=None)
    randomize(model)
    images = random_images(64, 64, 3, batch=4)
    plain = build(tiny("resnet50"), classifier_activation=None)
    theirs = named_variables(model)
    for key, ours in named_variables(plain).items():
        ours.assign(theirs[key])
    np.testing.assert_allclose(model(images), plain(images), rtol=1e-5, atol=1e-5)
    rates = [
        layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)
    ]
    np.testing.assert_allclose(rates, [0.3, 0.6, 0.9])  # linear from 0 on
    last = model.get_layer(f"{model.name}-layer4-0-drop-path")
    ones = keras.ops.ones((1000, 2, 2, 8))
    dropped = keras.ops.convert_to_numpy(last(ones, training=True))
    whole = dropped.reshape(1000, -1)
    assert (whole == whole[:, :1]).all()  # an image's branch goes as a whole
    assert 0.85 < (whole[:, 0] == 0).mean() < 0.95
    assert 0.6 < dropped.mean() < 1.4  # what is kept is scaled up


@pytest.mark.parametrize("name", ["resnet50", "resnet18", "resnetv2_50", "resnest50d"])
def test_a_branch_can_start_at_zero(name, random_images):
    """The network then starts as its shortcuts alone."""
    net = tiny(name)
    model = build(net, zero_init_residual=True)
    before = build(net)
    for one, starts_at_zero in ((model, True), (before, False)):
        add = next(layer for layer in one.layers if layer.name.endswith("-add"))
        values = keras.Model(one.input, add.input)(random_images(64, 64, 3))
        zeros = [not np.any(value) for value in values]
        assert any(zeros) == starts_at_zero


def test_frozen_normalisation_never_trains(random_images):
    model = build(tiny("resnet50"), classes=3, norm="frozen")
    randomize(model)
    statistics = [w.numpy() for w in model.weights if "moving" in w.path]
    gammas = [w.numpy() for w in model.weights if w.path.endswith("gamma")]
    images = random_images(64, 64, 3, batch=4)
    inference = model(images)
    np.testing.assert_allclose(model(images, training=True), inference, atol=1e-6)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.train_on_batch(images, np.arange(4) % 3)
    for kind, before in (("moving", statistics), ("gamma", gammas)):
        after = [w.numpy() for w in model.weights if kind in w.path]
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(one, other)
    assert not any("gamma" in w.path for w in model.trainable_weights)


def test_group_normalisation_on_any_row():
    model = build("resnet18", norm="group", input_shape=(64, 64, 3))
    kinds = {type(layer) for layer in model.layers}
    assert keras.layers.GroupNormalization in kinds
    assert keras.layers.BatchNormalization not in kinds


@pytest.mark.parametrize("activation", ["silu", "gelu", "leaky_relu"])
def test_activation_by_name(activation, random_images, tmp_path):
    model = build(tiny("resnet50"), activation=activation)
    assert not any(isinstance(layer, keras.layers.ReLU) for layer in model.layers)
    images = random_images(64, 64, 3)
    keras_resnet.save_model(model, tmp_path / "model.keras")
    loaded = keras_resnet.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), model(images))
    assert loaded.card.architecture.activation == activation


def test_a_pool_behind_another_activation_than_relu_pads_with_the_lowest(random_images):
    """silu is negative: zeros would win at the border."""
    model = build(tiny("resnet18"), activation="silu", input_shape=(64, 64, 3))
    pool = model.get_layer(f"{model.name}-maxpool-padding")
    padded = pool(-keras.ops.ones((1, 4, 4, 1)))
    assert float(keras.ops.max(padded[:, 0])) == float("-inf")


def test_head_dropout():
    model = build(tiny("resnet50"), drop_rate=0.25)
    assert model.get_layer(f"{model.name}-dropout").rate == 0.25
    assert model.layers[-2].name.endswith("-dropout")


@pytest.mark.parametrize("kind", ["average", "blur"])
def test_antialiasing_on_other_rows(kind, random_images):
    model = build(tiny("resnet50_v1"), antialias=kind, input_shape=(None, None, 3))
    strided = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and "layer" in layer.name
        if layer.strides != (1, 1) and "downsample" not in layer.name
    ]
    assert strided == []
    assert model(random_images(96, 64, 3)).shape == (2, 1000)


def test_blurring_makes_a_shift_matter_less(random_images):
    """The point of it (Zhang 2019): a constant image stays constant, too."""
    from keras_resnet.layers import BlurPool2D

    blur = BlurPool2D(2)
    np.testing.assert_allclose(blur(np.ones((1, 7, 8, 3), "float32")), 1, atol=1e-6)
    checks = np.indices((8, 8)).sum(0)[None, :, :, None].astype("float32") % 2
    np.testing.assert_allclose(blur(checks), 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("resnet20", {"output_stride": 8}, "CIFAR"),
        ("densenet121", {"output_stride": 16}, "transitions"),
        ("resnet50v2_keras", {"output_stride": 16}, "last block"),
        ("resnet50", {"output_stride": 4}, "None, 8, 16, 32"),
        ("plain18", {"drop_path_rate": 0.1}, "no shortcut"),
        ("densenet121", {"drop_path_rate": 0.1}, "drop_path_rate=0.1"),
        ("resnet50", {"drop_path_rate": 1.0}, r"\[0, 1\)"),
        ("resnet50", {"drop_rate": "a lot"}, r"\[0, 1\)"),
        ("plain18", {"zero_init_residual": True}, "no shortcut"),
        ("resnetv2_50", {"antialias": "blur"}, "no place"),
        ("resnest50d", {"antialias": "blur"}, "no place"),
        ("resnet50", {"antialias": "sharp"}, "'average', 'blur'"),
        ("resnet50", {"norm": "evonorm"}, "pre-activation"),
        ("resnet50", {"norm": "layer"}, "'batch', 'frozen', 'group'"),
        ("resnet20", {"norm": "group"}, "16 channels"),
        ("resnet50", {"activation": "relux"}, "activation='relux'"),
        ("resnet50", {"zero_init_residual": 2}, "zero_init_residual=2"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_the_reason(
    name, settings, reason
):
    with pytest.raises(InputError, match=reason) as error:
        build(name, **settings)
    assert "\n" not in str(error.value)


def test_an_unknown_setting_is_an_unknown_argument():
    with pytest.raises(TypeError, match="'outputstride'"):
        build("resnet50", outputstride=8)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet50", (64, 256, 512, 1024, 2048)),
        ("resnetv2_50d_evos", (64, 256, 512, 1024, 2048)),
        ("resnet18_vd", (64, 64, 128, 256, 512)),
        ("densenet121", (64, 256, 512, 1024, 1024)),
        ("resnest14d", (64, 256, 512, 1024, 2048)),
    ],
)
def test_feature_maps_have_halving_sides(name, channels):
    model = build(name, include_top=False, input_shape=(128, 64, 3))
    maps = feature_maps(model)
    assert list(maps) == ["C1", "C2", "C3", "C4", "C5"]
    for feature, level, width in zip(maps.values(), range(1, 6), channels, strict=True):
        assert tuple(feature.shape[1:]) == (128 >> level, 64 >> level, width)
    pyramid = keras.Model(model.input, maps)
    assert set(pyramid(np.zeros((1, 128, 64, 3)))) == set(maps)


def test_feature_maps_behind_layers_of_ones_own_and_without_shortcuts():
    images = keras.Input((64, 64, 3))
    before = keras.layers.ReLU(name="before-relu")(images)
    model = build(tiny("resnet50"), include_top=False, input_tensor=before)
    assert feature_maps(model)["C5"].shape[1:3] == (2, 2)
    plain = build(v2(tiny("plain20")))
    assert [x.shape[1] for x in feature_maps(plain).values()] == [8, 8, 4, 2]


def test_feature_maps_of_a_loaded_model_and_of_another(tmp_path):
    keras_resnet.save_model(build(tiny("resnet50"), name="mine"), tmp_path / "m.keras")
    loaded = keras_resnet.load_model(tmp_path / "m.keras")
    assert feature_maps(loaded)["C5"].shape[1:3] == (2, 2)
    with pytest.raises(InputError, match="from keras_resnet"):
        feature_maps(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    with pytest.raises(InputError, match="model='int'"):
        feature_maps(5)
