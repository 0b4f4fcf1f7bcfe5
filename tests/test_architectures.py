"""The table: names, errors, and that it costs nothing to read."""

import subprocess
import sys
from dataclasses import replace

import pytest

import keras_resnet
from keras_resnet.architectures import cifar, get_architecture, list_models
from keras_resnet.errors import InputError


def test_every_depth_and_version_is_listed():
    names = set(list_models())
    for depth in (18, 34, 50, 101, 152, 200):
        assert {f"resnet{depth}{version}" for version in ("", "_v1", "_v2")} <= names
    for depth in (20, 32, 44, 56, 110, 1202):
        assert {f"resnet{depth}", f"resnet{depth}_b", f"plain{depth}"} <= names
    assert {"resnet164_v2", "resnet1001_v2", "plain18", "plain34"} <= names


def test_list_models_filters_and_sorts_by_depth():
    assert list_models("resnet5*") == [
        *("resnet50", "resnet50_v1", "resnet50_v2"),
        *("resnet56", "resnet56_b", "resnet56_v2"),
    ]
    assert list_models("nothing*") == []


def test_rows_know_their_name_and_their_source():
    for name in list_models():
        row = get_architecture(name)
        assert row.name == name
        assert "He201" in row.source


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
        ("resnet26", "'resnet26_cifar'"),
        ("resnet21_cifar", "nearest are 20 and 26"),
        ("resnet2_cifar", "nearest are 8 and 14"),
        ("resne50", "Did you mean 'resnet50'"),
        ("resnet50_v3", "'resnet50_v2'"),
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
        {"classes": 0},
    ],
)
def test_impossible_architectures_are_refused(change):
    row = get_architecture("resnet50")
    with pytest.raises(InputError, match=next(iter(change))):
        replace(row, **change)


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
    for name in list_models("resnet*"):
        if not name.endswith("_b"):
            public = name.replace("resnet", "ResNet").replace("_v", "V")
            function = getattr(keras_resnet, public)
            assert function.__name__ == public
            assert f"keras_resnet.build('{name}'" in function.__doc__
