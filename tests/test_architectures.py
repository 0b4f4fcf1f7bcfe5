"""The table: names, errors, and that it costs nothing to read."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_resnet
from keras_resnet import applications
from keras_resnet.architectures import (
    PAPERS,
    Architecture,
    cifar,
    get_architecture,
    list_models,
)
from keras_resnet.architectures.records import (
    Basic,
    Bottleneck,
    CifarStem,
    DeepStem,
    EfficientAttention,
    ImageNetStem,
    PreactivationBasic,
    PreactivationBottleneck,
    Res2Net,
    SqueezeExcitation,
)
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
    ("name", "block"),
    [
        ("resnet50_v1", Bottleneck(stride_conv=1)),
        ("resnet50", Bottleneck(stride_conv=2)),
        ("resnet50_v2", PreactivationBottleneck(stride_conv=2)),
        ("resnet164_v2", PreactivationBottleneck(stride_conv=1)),
    ],
)
def test_versions(name, block):
    assert get_architecture(name).block == block


def test_any_cifar_depth():
    assert get_architecture("resnet26_cifar").depths == (4, 4, 4)
    assert get_architecture("plain1202_cifar").plain
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
        {"block": (Basic(), PreactivationBasic(), Basic(), Basic())},
        {"stem": "none"},
        {"shortcut": "C"},
        {"stride_conv": 3},
        {"stride_conv": 2, "block": Basic()},
        {"depths": (1, 2)},
        {"depths": (1, 0, 1)},
        {"depths": [3, 4, 6, 3]},
        {"depths": 4},
        {"widths": (64, 128, 256, 512.0)},
        {"block": None},
        {"name": "a/b"},
        {"classes": 0},
        {"input_size": None},
        {"groups": 0},
        {"groups": True},
        {"reduce_first": 0},
        {"shortcut_kernel": 2},
        {"epsilon": "small"},
        {"momentum": 2},
        {"attention": "se"},
        {"outputs": 256},
    ],
)
def test_impossible_architectures_are_refused(change):
    row = get_architecture("resnet50")
    with pytest.raises(InputError, match=next(iter(change))) as error:
        row.derive(**change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "arguments", "reason"),
    [
        (SqueezeExcitation, {"ratio": -1}, "ratio=-1 of SqueezeExcitation"),
        (DeepStem, {"widths": (32, 64)}, "widths="),
        (ImageNetStem, {"pool": "average"}, "'max', 'zero_max', 'convolution'"),
        (Res2Net, {"scale": 1}, "scale=1 of Res2Net: 2 or more"),
        (Bottleneck, {"branch_widths": ((3, 5),)}, "goes together"),
    ],
)
def test_impossible_records_are_refused(kind, arguments, reason):
    with pytest.raises(InputError, match=reason):
        kind(**arguments)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("resnet18", {"groups": 32}),
        ("resnet18", {"branch_widths": ((8, 8),) * 2, "outputs": 8}),
        ("resnetv2_50", {"attention": SqueezeExcitation()}),
        ("resnetv2_50", {"project_first": True}),
        ("resnest50d", {"attention": EfficientAttention()}),
        ("res2net50_26w_4s", {"radix": 2}),
        ("resnet50", {"growth": 32}),
        ("densenet121", {"shortcut": "B"}),
        ("densenet121", {"stem": CifarStem()}),
        ("ecaresnet50d_pruned", {"branch_widths": ((3, 5),)}),
    ],
)
def test_what_the_blocks_would_pass_over_is_refused(name, change):
    with pytest.raises(InputError, match=f"architecture '{name}'"):
        get_architecture(name).derive(**change)


@pytest.mark.parametrize("name", ["resnet18", "ecaresnet50d_pruned", "test_resnet"])
def test_json_gives_the_architecture_back(name):
    row = get_architecture(name)
    record = json.loads(json.dumps(row.to_json()))
    assert Architecture.from_json(record) == row


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"block": {"type": "Path"}}, "no record of type 'Path'"),
        ({"block": {"type": "Basic", "radix": 2}}, "unknown entry 'radix'"),
        ({"stem": {"type": "Basic"}}, "stem="),
        ({"depths": [[[[[[[[1]]]]]]]]}, "nested deeper"),
        ({"later": 1}, "unknown entry 'later'"),
    ],
)
def test_a_foreign_json_record_is_refused(change, reason):
    record = get_architecture("resnet18").to_json() | change
    with pytest.raises(InputError, match=reason):
        Architecture.from_json(record)


def test_type_checkers_see_the_public_functions(tmp_path):
    (tmp_path / "right.py").write_text(
        "import keras_resnet\n"
        "keras_resnet.ResNet50(classes=3, output_stride=8, norm='group').summary()\n"
        "keras_resnet.build('resnet18', antialias='blur').summary()\n"
        "keras_resnet.load_weights(keras_resnet.ResNet18V2(), 'a.safetensors')\n"
    )
    (tmp_path / "wrong.py").write_text(
        "import keras_resnet\n"
        "keras_resnet.ResNet999()\n"
        "keras_resnet.ResNet50(output_strides=8)\n"
        "keras_resnet.ResNet50(include_top='yes')\n"
    )
    command = [sys.executable, "-m", "pyright", "--outputjson"]
    command += ["--pythonpath", sys.executable, "right.py", "wrong.py"]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(keras_resnet.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = {
        (Path(error["file"]).name, error["range"]["start"]["line"])
        for error in json.loads(result.stdout)["generalDiagnostics"]
        if error["severity"] == "error"
    }
    assert errors == {("wrong.py", line) for line in (1, 2, 3)}


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
