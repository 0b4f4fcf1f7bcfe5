"""The rules of the house, read from the source: imports, lengths, pickles."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for room in ("keras_resnet", "export", "benchmarks")
    for path in (ROOT / room).rglob("*.py")
)
COMMON = {"common"}  # open to all; it needs tyro, tqdm or psutil at most
MAY_IMPORT = {  # module of keras_resnet -> modules of keras_resnet
    "architectures": set(),
    "complexity": {"architectures"},
    "layers": set(),
    "style": {"architectures", "layers"},
    "blocks": {"architectures", "layers", "style"},
    "stages": {"architectures", "blocks", "layers", "style"},
    "images": {"weights"},
    "saving": {"architectures", "images", "layers", "weights"},
    "weights": {"architectures", "images", "saving"},
    "model": {"architectures", "layers", "saving", "stages", "style", "weights"},
    "applications": {"architectures", "model"},
    "predict": {
        "architectures",
        "model",
        "images",
        "saving",
        "weights",
    },
}
ROOMS_OF_EXPORT = {  # what other rooms of export they may import
    "graph": {"config", "model", "runtime"},
    "model": {"config"},
    "quantization": {"config", "graph", "model", "parity", "runtime"},
    "parity": {"model"},
    "runtime": set(),
    "benchmark": {"parity", "runtime"},
}
# What serves and measures a file; two modules of keras_resnet load no Keras either.
WITHOUT_KERAS = ("runtime", "benchmark", "parity/compare", "loadgen", "page", "tune")
FREE_OF_KERAS = COMMON | {"images"}
WITHOUT_TENSORFLOW = (
    "inspect",
    "triton",
    "graph/counts",
    "graph/files",
)


def imports(path: Path) -> set[str]:
    """Dotted names of everything a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def top(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("module", MAY_IMPORT)
def test_rooms_import_only_what_lies_below(module):
    folder = ROOT / "keras_resnet" / module
    files = folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]
    for file in files:
        inside = {
            name.split(".")[1]
            for name in imports(file)
            if name.startswith("keras_resnet.")
        }
        assert inside <= MAY_IMPORT[module] | COMMON | {module}, file


def test_keras_resnet_never_imports_export():
    for file in (ROOT / "keras_resnet").rglob("*.py"):
        assert not top(imports(file)) & {"export", "benchmarks", "tests"}, file


def test_builders_never_import_tensorflow():
    for file in (ROOT / "keras_resnet").rglob("*.py"):
        if "training" not in file.parts:
            assert not top(imports(file)) & {"tensorflow", "tensorflow_datasets"}, file


def test_the_table_needs_the_standard_library_alone():
    for name in ("architectures", "complexity"):
        folder = ROOT / "keras_resnet" / name
        for file in [*folder.rglob("*.py"), *folder.parent.glob(f"{name}.py")]:
            assert top(imports(file)) <= sys.stdlib_module_names | {"keras_resnet"}
    for name in ("__init__", "applications", "common/errors"):
        for line in (ROOT / "keras_resnet" / f"{name}.py").read_text().splitlines():
            assert not line.startswith(("import keras", "import numpy")), name


@pytest.mark.parametrize("room", ROOMS_OF_EXPORT)
def test_rooms_of_export_import_only_what_lies_below(room):
    for file in (ROOT / "export" / room).glob("*.py"):
        inside = {n.split(".")[1] for n in imports(file) if n.startswith("export.")}
        assert inside <= ROOMS_OF_EXPORT[room] | {room}, file


@pytest.mark.parametrize("name", WITHOUT_KERAS)
def test_the_runtime_side_needs_neither_tensorflow_nor_keras(name):
    folder = ROOT / "export" / name
    files = folder.glob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]
    for file in files:
        names = imports(file)
        assert not top(names) & {"tensorflow", "keras", "tf2onnx", "onnx"}, file
        ours = {n.split(".")[1] for n in names if n.startswith("keras_resnet.")}
        assert ours <= FREE_OF_KERAS, file
        parity = {n for n in names if n.startswith("export.parity.")}
        assert all(n.startswith("export.parity.compare.") for n in parity), file


@pytest.mark.parametrize("name", WITHOUT_TENSORFLOW)
def test_what_reads_files_needs_no_tensorflow(name):
    names = imports(ROOT / "export" / f"{name}.py")
    assert not top(names) & {"tensorflow", "keras", "tf2onnx"}


def test_nothing_is_unpickled():
    for file in SOURCES:
        assert not top(imports(file)) & {"pickle", "joblib", "dill"}, file
        assert "allow_pickle=True" not in file.read_text(), file
        assert "safe_mode=False" not in file.read_text(), file
