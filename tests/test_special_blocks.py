"""The blocks of ResNeSt, SKNet, Res2Net and DenseNet by themselves."""

from functools import partial

import keras
import numpy as np
import pytest
from conftest import randomize

from keras_resnet.blocks.dense import dense_block, dense_features, transition
from keras_resnet.blocks.res2net import res2net_block
from keras_resnet.blocks.selective_kernel import (
    selective_kernel_basic_block,
    selective_kernel_bottleneck_block,
)
from keras_resnet.blocks.split_attention import split_attention_block
from keras_resnet.common.errors import InputError
from keras_resnet.saving import load_model, save_model
from keras_resnet.style import Style

CHANNELS = 32
BLOCKS = {
    "radix 2": partial(split_attention_block, filters=8),
    "radix 4, 2 groups": partial(
        split_attention_block, filters=8, radix=4, groups=2, pool_first=True
    ),
    "radix 1, 4 groups": partial(
        split_attention_block, filters=16, radix=1, groups=4, base_width=24
    ),
    "selective basic": partial(selective_kernel_basic_block, filters=CHANNELS),
    "selective bottleneck": partial(selective_kernel_bottleneck_block, filters=8),
    "selective groups": partial(
        selective_kernel_bottleneck_block,
        filters=8,
        groups=4,
        base_width=16,
        divisor=32,
        split_input=False,
    ),
    "res2net": partial(res2net_block, filters=8, shortcut="D"),
    "res2next": partial(res2net_block, filters=16, groups=2, base_width=4),
}
each_block = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)


def model_of(block, channels: int = CHANNELS, **options) -> keras.Model:
    """A model of one block with random weights and statistics, for any size."""
    images = keras.Input((None, None, channels))
    model = keras.Model(images, block(images, name="block", **options))
    randomize(model)
    return model


def outputs_of(block) -> int:
    """Channels that leave a block."""
    expansion = 1 if "basic" in block.func.__name__ else 4
    return expansion * block.keywords["filters"]


@each_block
@pytest.mark.parametrize("stride", [1, 2])
def test_sides_are_rounded_up(block, stride, random_images):
    answer = model_of(block, stride=stride)(random_images(7, 10, CHANNELS))
    sides = -(-7 // stride), -(-10 // stride)
    assert answer.shape == (2, *sides, outputs_of(block))


@each_block
def test_an_unchanged_shape_is_not_projected(block):
    same = outputs_of(block)
    for stride, projects in ((1, False), (2, True)):
        names = [layer.name for layer in model_of(block, same, stride=stride).layers]
        assert any("downsample" in name for name in names) == projects


@each_block
def test_a_saved_block_loads_in_safe_mode_and_joins_a_new_one(
    block, random_images, tmp_path
):
    model = model_of(block, stride=2)
    save_model(model, tmp_path / "block.keras")
    loaded = load_model(tmp_path / "block.keras")
    images = random_images(9, 6, CHANNELS)
    np.testing.assert_array_equal(loaded(images), model(images))
    longer = block(loaded.output, name="next")
    assert keras.Model(loaded.input, longer)(images).shape[-1] == longer.shape[-1]


@each_block
def test_training_reaches_every_weight(block, random_images):
    model = model_of(block, stride=2)
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    images = random_images(8, 8, CHANNELS, batch=4)
    model.fit(images, model(images) + random_images(4, 4, 1, batch=4), verbose=0)
    for old, weight in zip(before, model.trainable_weights, strict=True):
        if weight.name != "bias":  # the normalisation behind it takes it away again
            assert (old != weight.numpy()).any(), weight.path


@each_block
def test_a_branch_can_start_at_zero(block, random_images):
    images = keras.Input((None, None, outputs_of(block)))
    model = keras.Model(images, block(images, zero_init=True, name="block"))
    pixels = random_images(6, 6, outputs_of(block))
    np.testing.assert_array_equal(model(pixels), np.maximum(pixels, 0))


@each_block
def test_half_precision(block, random_images):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        answer = model_of(block, stride=2)(random_images(8, 8, CHANNELS))
    finally:
        keras.config.set_dtype_policy("float32")
    assert answer.dtype == "float16"
    assert np.isfinite(answer).all()


def weights_of(model, name: str, images) -> np.ndarray:
    return keras.Model(model.input, model.get_layer(name).output)(images).numpy()


@pytest.mark.parametrize(("radix", "groups"), [(2, 1), (4, 2), (2, 4)])
def test_attention_shares_each_channel_among_the_splits(radix, groups, random_images):
    block = partial(split_attention_block, filters=16)
    model = model_of(block, radix=radix, groups=groups, base_width=16)
    weights = weights_of(model, "block-conv2-excite", random_images(5, 5, CHANNELS))
    splits = weights.reshape(2, radix, 4 * groups)
    np.testing.assert_allclose(splits.sum(axis=1), 1, rtol=1e-5)
    assert splits.std(axis=2).min() > 1e-3  # every channel has its own


def test_a_selective_kernel_shares_each_channel_among_its_paths(random_images):
    model = model_of(BLOCKS["selective basic"])
    weights = weights_of(
        model, "block-conv1-attn-excite", random_images(5, 5, CHANNELS)
    )
    paths = weights.reshape(2, 2, CHANNELS)
    np.testing.assert_allclose(paths.sum(axis=1), 1, rtol=1e-5)
    assert paths.std(axis=2).min() > 1e-3


@pytest.mark.parametrize("side", [8, 9])
def test_the_far_path_at_stride_2_is_a_subsampled_dilated_convolution(
    side, random_images
):
    images = random_images(side, side, CHANNELS)
    one, two = (model_of(BLOCKS["selective basic"], stride=s) for s in (1, 2))
    for variable in two.get_layer("block-conv1-paths-1-conv").weights:
        variable.assign(one.get_layer("block-conv1-paths-1-conv").get_weights()[0])
    at_1 = weights_of(one, "block-conv1-paths-1-conv", images)
    at_2 = weights_of(two, "block-conv1-paths-1-conv", images)
    np.testing.assert_allclose(at_2, at_1[:, ::2, ::2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("filters", "reach"), [(8, 3), (12, 1)])
def test_res2net_chains_its_groups_where_the_shape_stays(filters, reach, random_images):
    model = model_of(partial(res2net_block, filters=filters, scale=4))
    images = random_images(13, 13, CHANNELS, batch=1)
    touched = images.copy()
    touched[:, 6, 6] += 10
    changed = np.any(model(images) != model(touched), axis=(0, 1, 3))
    assert np.flatnonzero(changed).tolist() == list(range(6 - reach, 7 + reach))


def test_a_dense_block_keeps_what_it_is_given(random_images):
    model = model_of(partial(dense_block, depth=3, growth=5))
    images = random_images(5, 6, CHANNELS)
    answer = model(images).numpy()
    assert answer.shape == (2, 5, 6, CHANNELS + 15)
    np.testing.assert_array_equal(answer[..., :CHANNELS], images)
    widths = [
        layer.kernel.shape[-2] for layer in model.layers if hasattr(layer, "kernel")
    ]
    assert widths == [32, 20, 37, 20, 42, 20]


def test_a_transition_rounds_down(random_images):
    model = model_of(partial(transition, filters=6))
    assert model(random_images(7, 4, CHANNELS)).shape == (2, 3, 2, 6)


def test_dense_features_load_in_safe_mode(random_images, tmp_path):
    depths, widths = (1, 2, 1, 1), (8, 6, 10, 4)
    features = partial(dense_features, depths=depths, widths=widths, growth=3)
    model = model_of(features, 3, style=Style(activation="elu"))
    images = random_images(75, 64, 3)
    assert model(images).shape == (2, 2, 2, 7)
    save_model(model, tmp_path / "dense.keras")
    loaded = load_model(tmp_path / "dense.keras")
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.parametrize(
    ("block", "options", "message"),
    [
        (split_attention_block, {"filters": 16, "groups": 3}, "groups=3"),
        (split_attention_block, {"filters": 16, "radix": 3}, "radix=3"),
        (split_attention_block, {"filters": 1, "base_width": 24}, "filters=1"),
        (selective_kernel_basic_block, {"filters": 8, "stride": 3}, "stride=3"),
        (
            selective_kernel_basic_block,
            {"filters": 8, "stride": 2, "dilation": 2},
            "dilation=2",
        ),
        (
            selective_kernel_bottleneck_block,
            {"filters": 16, "groups": 3, "base_width": 20},
            "equal parts",
        ),
        (res2net_block, {"filters": 2}, "filters from 3"),
        (res2net_block, {"filters": 8, "scale": 1}, "scale=1"),
        (res2net_block, {"filters": 8, "stride": 2, "dilation": 2}, "stride=2"),
        (res2net_block, {"filters": 8, "shortcut": "C"}, "shortcut='C'"),
        (dense_block, {"depth": 0, "growth": 4}, "depth=0"),
    ],
)
def test_what_does_not_fit_is_refused(block, options, message):
    with pytest.raises(InputError, match=message):
        block(keras.Input((None, None, CHANNELS)), name="block", **options)
