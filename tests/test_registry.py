"""The registry of published weights: records, tags, defaults, listing."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import keras_resnet
from keras_resnet.common.errors import InputError
from keras_resnet.weights.registry import FREE_LICENSES, find, list_weights

ALL = list_weights()
RECORDS = [find(*name.split(".", 1)) for name in ALL]
BY_NAME = {record.name: record for record in RECORDS}
RELATIVES = ("densenet", "resnest", "skresn", "res2ne")


def test_every_publisher_is_there():
    names = {}
    for record in RECORDS:
        family = "relatives" if record.architecture.startswith(RELATIVES) else "resnets"
        names.setdefault((record.publisher, family), []).append(record.name)
    assert {key: len(found) for key, found in names.items()} == {
        ("timm", "resnets"): 174,
        ("timm", "relatives"): 25,
        ("torchvision", "resnets"): 17,
        ("torchvision", "relatives"): 4,
        ("keras", "resnets"): 18,  # six, and v1 without biases; each with no top too
        ("keras_hub", "resnets"): 16,
    }


def test_names_are_unique_and_lead_to_their_record():
    assert len(set(ALL)) == len(ALL) == len(BY_NAME)
    for record in RECORDS:
        assert f"{record.architecture}.{record.tag}" == record.name in ALL
        for form in (record.tag, record.name):
            assert find(record.architecture, form) is record
            assert find(record.architecture, f"{record.publisher}/{form}") is record


def test_every_architecture_can_be_built():
    known = keras_resnet.list_models()
    assert {record.architecture for record in RECORDS} <= set(known)


def test_a_record_holds_what_its_publisher_states():
    record = find("resnet50", "a1_in1k")
    assert record.source == "timm/resnet50.a1_in1k"
    assert (record.license, record.classes) == ("apache-2.0", 1000)
    assert (record.classifier, record.first_conv) == ("fc", "conv1")
    assert (record.top1, record.top1_size, record.test_top1) == (80.382, 224, 81.24)
    training, test = record.preprocessing, record.test_preprocessing
    assert (training.size, training.crop) == ((224, 224), 0.95)
    assert (test.size, test.crop) == ((288, 288), 1.0)
    assert replace(test, size=training.size, crop=training.crop) == training
    assert training.interpolation == "bicubic"
    assert training.mean == (0.485, 0.456, 0.406)
    assert training.std == (0.229, 0.224, 0.225)
    bit = find("resnetv2_152x4_bit", "goog_in21k_ft_in1k")
    assert bit.preprocessing.mean == bit.preprocessing.std == (0.5,) * 3
    assert bit.preprocessing.size == (480, 480)
    assert find("resnetv2_152x4_bit", "goog_in21k").classes == 21843
    assert find("resnet50", "fb_swsl_ig1b_ft_in1k").license == "cc-by-nc-4.0"


def test_figures_are_of_the_recorded_size():
    for record in RECORDS:
        assert (record.top1 is None) == (record.top1_size is None)
        if record.top1:
            assert 40 < record.top1 < 90
            assert record.preprocessing.size == (record.top1_size,) * 2
        if record.test_top1:
            assert record.test_preprocessing is not None


@pytest.mark.parametrize(("tag", "resized"), [("V1", 256), ("V2", 232)])
def test_torchvision_resizes_to_its_own_size(tag, resized):
    for name in ("resnet50", "resnet152", "wide_resnet101_2"):
        preprocessing = find(name, f"torchvision/IMAGENET1K_{tag}").preprocessing
        assert math.floor(preprocessing.size[0] / preprocessing.crop) == resized
        assert preprocessing.interpolation == "bilinear"


def test_torchvision_weights_come_from_safe_copies():
    for record in RECORDS:
        if record.publisher == "torchvision":
            recipe = {"IMAGENET1K_V1": "tv_in1k", "IMAGENET1K_V2": "tv2_in1k"}
            assert record.source == f"timm/{record.architecture}.{recipe[record.tag]}"


def test_files_of_keras_are_those_that_keras_fetches():
    from keras.src.applications import resnet

    seen = set()
    for record in RECORDS:
        if record.publisher == "keras":
            name = record.source.rpartition("/")[2].partition("_")[0]
            without_top = record.classes == 0
            assert record.md5 == resnet.WEIGHTS_HASHES[name][without_top]
            assert record.source.startswith(resnet.BASE_WEIGHTS_PATH)
            assert record.source.endswith("_notop.h5") == without_top
            seen.add(name)
    assert len(seen) == 6


@pytest.mark.parametrize(
    "name", ["resnet50_keras", "resnet152_v1", "resnet101v2_keras"]
)
def test_images_are_prepared_as_keras_does(name):
    from keras import applications

    module = applications.resnet_v2 if "v2" in name else applications.resnet
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), "uint8")
    prepare = replace(find(name, "keras").preprocessing, crop=1.0)
    ours = np.asarray(prepare(image)).reshape(image.shape)
    theirs = module.preprocess_input(image.astype("float32"))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_default_is_the_best_free_one():
    free = {}
    for record in RECORDS:
        if record.classes == 1000 and record.license in FREE_LICENSES:
            free.setdefault(record.architecture, []).append(record)
    for architecture, records in free.items():
        default = find(architecture)
        assert default is find(architecture, "imagenet")
        assert default in records
        assert (default.top1 or 0) == max(record.top1 or 0 for record in records)
    assert find("resnet50").name == "resnet50.IMAGENET1K_V2"
    assert find("resnet18").name == "resnet18.a1_in1k"
    assert find("resnet50_v1").name == "resnet50_v1.keras"
    assert find("seresnextaa101d_32x8d").tag == "sw_in12k_ft_in1k_288"


@pytest.mark.parametrize("name", ["resnext101_32x16d", "res2net50_26w_4s"])
def test_no_default_where_no_license_is_free(name):
    with pytest.raises(InputError, match="commercial use") as caught:
        find(name)
    tags = [weight.split(".", 1)[1] for weight in list_weights(name)]
    assert tags and all(repr(tag) in str(caught.value) for tag in tags)


def test_tags_are_found_in_any_case_and_under_further_names():
    assert find("ResNet50", "imagenet1k_v2").tag == "IMAGENET1K_V2"
    assert find("resnet50_v2", "a1h_in1k").architecture == "resnetv2_50"
    assert find("resnet101_v1", "keras").source == find("resnet101_keras").source


def test_an_unknown_tag_names_the_closest_first():
    with pytest.raises(InputError) as caught:
        find("resnet50", "a1_in1")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("weights='a1_in1'")
    assert "'imagenet', 'a1_in1k', " in message
    for name in list_weights("resnet50"):
        assert repr(name.split(".", 1)[1]) in message


def test_the_tag_of_another_network_is_told():
    with pytest.raises(InputError, match=r"a tag of resnet101, not of resnet50;"):
        find("resnet50", "timm/resnet101.a1_in1k")
    with pytest.raises(InputError, match=r"a tag of resnet50_\w+, "):
        find("resnet50", "keras")


@pytest.mark.parametrize("name", ["resnet20", "resnet50t", "no such network"])
def test_a_network_without_weights_says_so(name):
    with pytest.raises(InputError, match="none are published"):
        find(name)
    assert list_weights(name) == []


def test_listing_is_best_first():
    for name in ("resnet50", "resnext101_32x8d", "densenet121"):
        figures = [BY_NAME[weights].top1 or 0 for weights in list_weights(name)]
        assert figures == sorted(figures, reverse=True)
    assert list_weights("resnet50_v2") == list_weights("resnetv2_50")
    assert {name.split(".")[0] for name in list_weights("resnet*_vd")} == {
        f"resnet{depth}_vd" for depth in (18, 34, 50, 101, 152, 200)
    }


def test_listing_needs_the_standard_library_alone():
    script = (
        "import sys\n"
        "from keras_resnet.weights.registry import list_weights\n"
        "assert 'resnet50.a1_in1k' in list_weights('resnet50')\n"
        "heavy = {'keras', 'numpy', 'huggingface_hub', 'h5py', 'safetensors'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
