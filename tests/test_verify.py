"""Verification: its images, what it finds, and what no tolerance allows."""

import functools
import json
from dataclasses import replace

import keras
import numpy as np
import onnx
import pytest
from conftest import randomize, tiny
from keras import layers

import keras_resnet
from export.model.signature import OPEN_SIZE, make_signature
from export.onnx import export_onnx
from export.parity.images import OTHER_SIZE, as_input, verification_images
from export.parity.verify import TOLERANCES, compare_on, verify
from export.runtime import Session
from keras_resnet.common.errors import InputError, ParityError
from keras_resnet.images.preprocessing import Preprocessing
from keras_resnet.saving import attach

SIZE = (33, 35)
RECORD = Preprocessing(SIZE, 0.9, "bilinear", (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
OUTPUTS = ("probabilities", "logits", "top_k", "features", "embedding")


def build(name="resnet8", **options):
    architecture = name if name == "resnet8" else tiny(name)
    defaults = {"classes": 7, "input_shape": (*SIZE, 3)}
    model = keras_resnet.build(architecture, **defaults | options)
    randomize(model)
    attach(model, replace(model.card, preprocessing=RECORD))
    return model


@functools.cache
def network():
    """A classifier that no test changes."""
    return build(classifier_activation=None)


def served(signature):
    """The serving function as if it were an artifact."""

    def run(images):
        return {name: np.asarray(values) for name, values in signature(images).items()}

    return run


def noisy(run, scale, seed=0):
    """The artifact with noise on its outputs, as low precision has it."""
    generator = np.random.default_rng(seed)

    def run_noisily(images):
        return {
            name: values
            + (scale * generator.normal(size=values.shape)).astype(values.dtype)
            for name, values in run(images).items()
        }

    return run_noisily


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("preprocess", ["none", "normalize", "full"])
def test_every_output_is_verified(output, preprocess):
    signature = make_signature(network(), output=output, preprocess=preprocess)
    parity = verify(signature, served(signature))
    for figures in parity.sets.values():
        assert figures.max_rel < 1e-6
        classes = output not in ("features", "embedding")
        assert figures.top1_agreement == (1 if classes else None)
    assert parity.checked == tuple(parity.sets)
    written = json.loads(json.dumps(parity.to_json(), allow_nan=False))
    assert written["sets"]["noise"]["batches"] == [1, 4]
    assert written["tolerance"]["max_rel"] == 1e-4


def test_the_sets():
    real = np.random.default_rng(0).integers(0, 256, (70, *SIZE, 3), dtype=np.uint8)
    floats = verification_images(make_signature(network()), real)
    assert list(floats) == ["real", "noise", "zeros", "largest", "large", "negative"]
    assert [len(batch) for batch in floats["real"]] == [64, 6]
    entered = RECORD.normalize(real[64:])
    np.testing.assert_allclose(floats["real"][1], entered, atol=1e-6)
    assert floats["negative"][0].max() <= 0
    white = RECORD.normalize(np.full((1, 1, 1, 3), 255))
    np.testing.assert_allclose(floats["largest"][0][0, :1, :1], white[0])

    levels = verification_images(
        make_signature(network(), preprocess="normalize", batch=3), real[:2]
    )
    assert list(levels) == ["real", "noise", "zeros", "largest", "dark", "bright"]
    for name, batches in levels.items():
        assert {len(batch) for batch in batches} == {3}, name
    assert {batch.dtype for batch, *_ in levels.values()} == {np.dtype("uint8")}
    assert levels["largest"][0].min() == 255

    open_model = build(input_shape=(None, None, 3))
    attach(open_model, replace(open_model.card, preprocessing=None))
    anywhere = verification_images(make_signature(open_model))
    assert anywhere["noise"][0].shape[1:3] == OPEN_SIZE
    assert anywhere["noise {}x{}".format(*OTHER_SIZE)][0].shape[1:3] == OTHER_SIZE

    random_images = [real[0], real[1, :20, :30]]
    full = verification_images(
        make_signature(network(), preprocess="full"), random_images
    )
    assert [batch.shape for batch in full["real"]] == [(1, *SIZE, 3), (1, 20, 30, 3)]
    shapes = [
        batches[0].shape[1:3] for name, batches in full.items() if "noise" in name
    ]
    assert shapes == [(67, 54), (17, 35)]


def swap_statistics(model):
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([beta, gamma, mean, variance])
            return


def flip_kernel(model):
    for layer in model.layers[2:]:
        if isinstance(layer, layers.Conv2D):
            kernel, *others = layer.get_weights()
            layer.set_weights([kernel[::-1, ::-1], *others])
            return


def exchange_filters(model):
    """As a wrong order of the axes would, where both numbers are the same."""
    for layer in model.layers[2:]:
        if isinstance(layer, layers.Conv2D):
            kernel, *others = layer.get_weights()
            if kernel.shape[2] == kernel.shape[3]:
                layer.set_weights([kernel.swapaxes(2, 3), *others])
                return


DAMAGE = {
    "gamma and beta swapped": swap_statistics,
    "kernel flipped": flip_kernel,
    "channels of a kernel swapped": exchange_filters,
}


def assert_refused(signature, run, precisions=("float32", "float16")):
    """Lower precisions are made of a float32 form that has kept to its tolerance."""
    with pytest.raises(ParityError, match="differs from the model"):
        verify(signature, run)
    figures = compare_on(signature, run, verification_images(signature)["noise"])
    assert not [name for name in precisions if TOLERANCES[name].allows(figures)]


@pytest.mark.parametrize("output", ["probabilities", "top_k", "embedding"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights_are_refused(damage, output):
    broken = build(classifier_activation=None)
    DAMAGE[damage](broken)
    run = served(make_signature(broken, output=output))
    assert_refused(make_signature(network(), output=output), run)


def test_channels_in_another_order_are_refused():
    signature = make_signature(network(), preprocess="normalize")
    right = served(signature)
    assert_refused(signature, lambda images: right(images[..., ::-1]))


def test_padding_on_the_wrong_side_is_refused(tmp_path):
    """In a real file: every 3x3 convolution pads its other sides."""
    path, signature = tmp_path / "model.onnx", make_signature(network())
    export_onnx(network(), path, verbose=False)
    proto = onnx.load(path)
    for node in proto.graph.node:
        for attribute in node.attribute if node.op_type == "Conv" else ():
            if attribute.name == "pads" and list(attribute.ints) == [1, 1, 1, 1]:
                attribute.ints[:] = [0, 0, 2, 2]
    onnx.save(proto, path)
    assert_refused(signature, Session(path, "cpu").outputs)


def test_a_pool_padded_with_zeros_is_noticed():
    """The hazard of onnxruntime#24737, where values before the pool are negative."""

    def net(padding):
        images = keras.Input((*SIZE, 3))
        x = layers.Conv2D(8, 3, padding="same")(images)
        x = layers.ZeroPadding2D(1)(x) if padding == "zeros" else x
        edge = "valid" if padding == "zeros" else "same"
        x = layers.MaxPooling2D(3, 2, padding=edge)(x)
        model = keras.Model(images, layers.Dense(7)(layers.Flatten()(x)))
        randomize(model)
        return make_signature(model, output="logits")

    verify(net("zeros"), served(net("zeros")))
    with pytest.raises(ParityError, match="differs from the model"):
        verify(net("zeros"), served(net("lowest")))


@pytest.mark.parametrize("wrong", [1, 4])
def test_a_fault_of_one_batch_size_is_noticed(wrong):
    signature = make_signature(network(), output="logits")

    def run(images):
        outputs = served(signature)(images)
        return {"logits": outputs["logits"] * (1.1 if len(images) == wrong else 1)}

    with pytest.raises(ParityError, match="'noise'"):
        verify(signature, run)


def test_a_fault_of_one_size_is_noticed():
    model = build(input_shape=(None, None, 3))
    attach(model, replace(model.card, preprocessing=None))
    signature = make_signature(model)

    def run(images):
        if images.shape[2] % 2:
            images = np.concatenate([images, images[:, :, -1:]], axis=2)
        return served(signature)(images)

    with pytest.raises(ParityError, match="noise {}x{}".format(*OTHER_SIZE)):
        verify(signature, run)


def test_top_k_may_exchange_ties_and_nothing_else():
    model = build(classifier_activation=None)
    kernel, bias = model.layers[-1].get_weights()
    bias[:] = [9, 9, 0, 0, 0, 0, 0]
    model.layers[-1].set_weights([0 * kernel, bias])
    signature = make_signature(model, output="top_k", top=2)

    def other_places(images):
        outputs = served(signature)(images)
        return outputs | {"classes": outputs["classes"][:, ::-1]}

    def other_classes(images):
        outputs = served(signature)(images)
        return outputs | {"classes": outputs["classes"] + 1}

    def no_class(images):
        outputs = served(signature)(images)
        return outputs | {"classes": outputs["classes"] + 7}

    parity = verify(signature, other_places)
    assert parity.worst.top1_agreement == 1
    with pytest.raises(ParityError, match="differs from the model"):
        verify(signature, other_classes)
    with pytest.raises(ParityError, match=r"classes .* there are 7"):
        verify(signature, no_class)


def test_noise_in_decibels_and_flips_that_it_explains():
    signature = make_signature(network(), output="logits")
    real = np.random.default_rng(1).integers(0, 256, (32, *SIZE, 3), dtype=np.uint8)
    exact = served(signature)(as_input(signature, real))["logits"]
    spread = np.std(exact - exact.mean(-1, keepdims=True))
    run = noisy(served(signature), spread / 10)
    parity = verify(signature, run, real, precision="int8")
    figures = parity.sets["real"]
    assert figures.snr_db == pytest.approx(20, abs=1.5)
    assert figures.clear_agreement == 1
    assert parity.checked == ("real",)
    for precision in ("float16", "float32"):
        with pytest.raises(ParityError, match="'real' images"):
            verify(signature, run, real, precision=precision)


def test_flips_that_noise_does_not_explain():
    """One image in eight comes out as another class, the others exact."""
    signature = make_signature(network(), output="logits")
    real = np.random.default_rng(1).integers(0, 256, (64, *SIZE, 3), dtype=np.uint8)

    def run(images):
        logits = served(signature)(images)["logits"].copy()
        if len(logits) == 64:
            best = logits[::8].argmax(-1)
            logits[range(0, 64, 8), (best + 1) % 7] = logits[::8].max(-1) + 1e-3
        return {"logits": logits}

    figures = compare_on(signature, run, verification_images(signature, real)["real"])
    assert figures.top1_agreement < 0.9
    assert not replace(TOLERANCES["int8"], snr_db=None).allows(figures)


def test_probabilities_and_logits_give_the_same_decibels():
    model = build(classifier_activation=None)
    decibels = []
    for output in ("logits", "probabilities"):
        signature = make_signature(model, output=output)
        broken = build(classifier_activation=None)
        broken.set_weights([array * 1.01 for array in model.get_weights()])
        run = served(make_signature(broken, output=output))
        parity = verify(signature, run, precision="int8")
        decibels.append(parity.sets["noise"].snr_db)
    assert decibels[0] == pytest.approx(decibels[1], abs=0.01)


@pytest.mark.parametrize("output", ["logits", "top_k", "features"])
def test_no_tolerance_allows_nan(output):
    signature = make_signature(network(), output=output)

    def run(images):
        outputs = served(signature)(images)
        name = next(iter(outputs))
        return outputs | {name: outputs[name] * np.float32(np.nan)}

    assert_refused(signature, run, TOLERANCES)


def test_other_outputs_than_the_models():
    signature = make_signature(network())
    for run in (
        lambda images: {"logits": served(signature)(images)["probabilities"]},
        lambda images: {"probabilities": served(signature)(images)["probabilities"].T},
    ):
        with pytest.raises(ParityError, match=r"the artifact gives.*the model gives"):
            verify(signature, run)


def test_what_is_refused():
    signature = make_signature(network())
    with pytest.raises(InputError, match=r"precision='int4'.*float32"):
        verify(signature, served(signature), precision="int4")
    for tolerance in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="tolerance"):
            verify(signature, served(signature), tolerance=tolerance)
    with pytest.raises(ParityError, match="1e-12"):
        verify(signature, noisy(served(signature), 1e-9), tolerance=1e-12)
