"""The table: names, errors, and that it costs nothing to read."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest

import keras_resnet
from keras_resnet import applications
from keras_resnet.architectures import PAPERS, cifar, get_architecture, list_models
from keras_resnet.common.errors import InputError


def test_every_depth_and_version_is_listed():
    names = set(list_models())
    for depth in (18, 34, 50, 101, 152, 200):
        assert {f"resnet{depth}", f"resnet{depth}_v1"} <= names
        assert get_architecture(f"resnet{depth}_v2").name in names
    for depth in (20, 32, 44, 56, 110, 1202):
        assert {f"resnet{depth}", f"resnet{depth}_b", f"plain{depth}"} <= names
    assert {"resnet164_v2", "resnet1001_v2", "plain18", "plain34"} <= names


def test_list_models_filters_and_sorts_by_depth():
    assert list_models("resnet5?") == ["resnet50", "resnet56"]
    assert list_models("resnet56*") == ["resnet56", "resnet56_b", "resnet56_v2"]
    assert list_models("resnetv2_*d")[0] == "resnetv2_18d"
    assert list_models("nothing*") == []


def test_rows_know_their_name_and_their_source():
    for name in list_models():
        row = get_architecture(name)
        assert row.name == name
        cited = [paper for paper in PAPERS if paper in row.source]
        assert cited or name == "test_resnet", row.source


@pytest.mark.parametrize(
    ("name", "stride_conv", "preactivation"),
    [
        ("resnet50_v1", 1, False),
        ("resnet50", 2, False),
        ("resnet50_v2", 2, True),
        ("resnet164_v2", 1, True),
    ],
)
def test_versions(name, stride_conv, preactivation):
    row = get_architecture(name)
    assert (row.stride_conv, row.preactivation) == (stride_conv, preactivation)


def test_any_cifar_depth():
    assert get_architecture("resnet26_cifar").depths == (4, 4, 4)
    assert get_architecture("plain1202_cifar").shortcut == "none"
    assert get_architecture("RESNET50_cifar").depths == (8, 8, 8)
    assert cifar(29, "bottleneck", "B").depths == (3, 3, 3)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("resnet21", "6n+2"),
        ("resnet21", "20"),
        ("resnet38", "'resnet38_cifar'"),
        ("resnet21_cifar", "nearest are 20 and 26"),
        ("resnet2_cifar", "nearest are 8 and 14"),
        ("resne50", "Did you mean 'resnet50'"),
        ("resnet50_v3", "'resnet50_v1'"),
        ("vgg16", "list_models()"),
        ("", "list_models()"),
        (None, "list_models()"),
    ],
)
def test_unknown_names_are_answered_with_what_would_do(name, advice):
    with pytest.raises(InputError) as error:
        get_architecture(name)
    assert advice in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"block": "wide"},
        {"stem": "none"},
        {"shortcut": "C"},
        {"stride_conv": 3},
        {"stride_conv": 2, "block": "basic"},
        {"depths": (1, 2)},
        {"depths": (1, 0, 1)},
        {"depths": [3, 4, 6, 3]},
        {"depths": 4},
        {"widths": (64, 128, 256, 512.0)},
        {"block": None},
        {"name": "a/b"},
        {"classes": 0},
        {"input_size": None},
        {"preactivation": None},
        {"cardinality": 0},
        {"reduce_first": 0},
        {"shortcut_kernel": 2},
        {"epsilon": "small"},
        {"momentum": 2},
        {"attention_ratio": -1},
        {"stem_widths": (32, 32, 64)},
        {"outputs": (256, 512, 1024, 2048)},
    ],
)
def test_impossible_architectures_are_refused(change):
    row = get_architecture("resnet50")
    with pytest.raises(InputError, match=next(iter(change))) as error:
        replace(row, **change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("resnet18", {"cardinality": 32}),
        ("resnet18", {"branch_widths": (((8, 8),) * 2,) * 4, "outputs": (8,) * 4}),
        ("resnetv2_50", {"attention": "se"}),
        ("resnetv2_50", {"project_first": True}),
        ("resnest50d", {"attention": "eca"}),
        ("resnest50d", {"preactivation": True}),
        ("res2net50_26w_4s", {"radix": 2}),
        ("resnet50", {"growth": 32}),
        ("densenet121", {"shortcut": "B"}),
        ("resnet20", {"stem_pool": "convolution"}),
        ("ecaresnet50d_pruned", {"branch_widths": (((3, 5),),)}),
    ],
)
def test_what_the_blocks_would_pass_over_is_refused(name, change):
    with pytest.raises(InputError, match=f"architecture '{name}'"):
        replace(get_architecture(name), **change)


def test_importing_and_reading_the_table_is_cheap():
    """Nothing heavy is imported, so that it takes milliseconds."""
    code = (
        "import sys, keras_resnet as k; k.list_models('resnet*'); "
        "k.get_architecture('resnet50'); k.ResNet50.__doc__; dir(k); "
        "heavy = {'keras', 'tensorflow', 'numpy', 'tyro', 'tqdm', 'psutil'}; "
        "assert not heavy & sys.modules.keys(); assert len(sys.modules) < 200"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_functions_cover_the_table():
    public = {name.lower(): name for name in applications.__all__}
    for name in list_models():
        if name.endswith("_b") or name.startswith("plain") or name == "test_resnet":
            continue
        written = re.sub(r"_(v\d)$", r"\1", name)  # ResNet50V1
        plain = written.replace("_", "", 1) if "wide" in name else written
        function = getattr(keras_resnet, public[plain])
        assert f"keras_resnet.build('{name}'" in function.__doc__
    assert "build('resnet50_v2'" in keras_resnet.ResNet50V2.__doc__
