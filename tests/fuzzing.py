"""`load_weights` on damaged files, thousands in one process; `test_fuzz.py` runs it.

    python tests/fuzzing.py FOLDER KIND:SEED KIND:FIRST:END:STEP ...

damages a file with one seed, or with every STEPth from FIRST to before END, loads it,
and prints a line for each: kind, seed and what came of it. It ends with the first
fault, and FOLDER then holds the file that is at fault.
"""

import contextlib
import json
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired
from types import SimpleNamespace

from mutation import damage, damage_json, damage_safetensors, damage_zip

KINDS = ("safetensors", "h5", "weights.h5", "keras", "preset")
SECONDS = 20  # of a trial, which takes thousandths
EXPLORING = 0.25  # seconds of processor time; `read_hdf5` itself waits longer
MEMORY = 2**28  # bytes that a trial may take beside what the process has
PRESET = {
    "block_type": "basic_block",
    "use_pre_activation": False,
    "input_conv_filters": [2],
    "stackwise_num_blocks": [1],
}
# the network's layers by keras-hub's names, and by those of Keras's groups
LAYERS = {
    "conv1": ("conv1_conv", "conv2d"),
    "bn1": ("conv1_bn", "batch_normalization"),
    "layer1.0.conv1": ("stack0_block0_1_conv", "conv2d_1"),
    "layer1.0.bn1": ("stack0_block0_1_bn", "batch_normalization_1"),
    "layer1.0.conv2": ("stack0_block0_2_conv", "conv2d_2"),
    "layer1.0.bn2": ("stack0_block0_2_bn", "batch_normalization_2"),
    "fc": ("predictions", "dense"),
}


class Explorer:
    """A process that explores one HDF5 file after another, and a new one when it dies.

    Its `run` stands in for `subprocess.run`, since a new interpreter for each file
    would take most of the time. What it runs, and what becomes of that, is the same.
    """

    def __init__(self):
        self.socket, served = socket.socketpair()
        if os.fork() == 0:
            self.socket.close()
            _keep_exploring(served)
        served.close()

    def run(self, command, **_) -> CompletedProcess:
        self.socket.sendall(command[-1].encode())
        size = int.from_bytes(self.socket.recv(8, socket.MSG_WAITALL), "little")
        code, text = json.loads(self.socket.recv(size, socket.MSG_WAITALL))
        if code == -signal.SIGPROF:
            raise TimeoutExpired(command, EXPLORING)
        return CompletedProcess(command, code, stdout=text, stderr=text)


def _keep_exploring(asked: socket.socket) -> None:
    import h5py  # noqa: F401  for all forks

    from keras_resnet.weights.formats import hdf5  # noqa: F401

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    code = None
    while code != 0:
        if (child := os.fork()) == 0:
            _explore(asked)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        _answer(asked, code, "")
    os._exit(0)


def _explore(asked: socket.socket) -> None:
    from keras_resnet.weights.formats.hdf5 import explore

    while path := asked.recv(4096).decode():
        signal.setitimer(signal.ITIMER_PROF, EXPLORING)  # kills, whatever runs
        try:
            code, text = 0, explore(path)
        except Exception as error:
            code, text = 1, " ".join(str(error).split()) or repr(error)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _answer(asked, code, text)
    os._exit(0)


def _answer(asked: socket.socket, code: int, text: str) -> None:
    answer = json.dumps([code, text]).encode()
    with contextlib.suppress(BrokenPipeError):  # at the end nobody listens
        asked.sendall(len(answer).to_bytes(8, "little") + answer)


def speck():
    """A network of 7 layers with 17 weights."""
    from conftest import randomize

    from keras_resnet import build, get_architecture

    changes = {"name": "speck", "depths": (1,), "widths": (2,), "input_size": 8}
    model = build(replace(get_architecture("resnet18"), **changes), classes=3)
    randomize(model)
    return model


def values(model) -> dict:
    """Copies of a model's weights by their names."""
    import numpy as np

    from keras_resnet.weights.assign import named_variables

    variables = named_variables(model)
    return {name: np.array(variables[name].numpy()) for name in variables}


def write_whole(model, kind: str, path: Path) -> None:
    """A file of a kind, or a folder, as its library writes it."""
    from keras_resnet import export_weights
    from keras_resnet.saving import save_model

    if kind == "safetensors":
        export_weights(model, path)
    elif kind == "h5":
        _write_h5(model, path)
    elif kind == "weights.h5":
        model.save_weights(path)
    elif kind == "keras":
        save_model(model, path)
    else:
        _write_preset(model, path)


def _write_h5(model, path: Path) -> None:
    """The layout of the files that keras.applications downloads."""
    import h5py
    import numpy as np

    with h5py.File(path, "w") as file:
        for name, value in values(model).items():
            layer, kind = name.split("/")
            layer = LAYERS[layer][0]
            file[f"{layer}/{layer}/{kind}:0"] = value
            if layer.endswith("_conv"):  # a bias, which folds into the mean behind it
                file[f"{layer}/{layer}/bias:0"] = np.zeros(value.shape[-1], "f4")


def _write_preset(model, folder: Path) -> None:
    """The folder that keras-hub makes."""
    import h5py

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"config": PRESET}))
    with h5py.File(folder / "task.weights.h5", "w") as file:
        for name, value in values(model).items():
            layer, group = LAYERS[name.split("/")[0]]
            variables = file.require_group(f"layers/{group}/vars")
            variables.attrs["name"] = layer
            variables[str(len(variables))] = value


def damage_file(whole: Path, path: Path, rng: random.Random) -> None:
    """Writes a damaged copy of a file; of a folder, one with one damaged file."""
    if whole.is_file():
        path.write_bytes(_damaged(whole, rng))
        return
    path.mkdir(exist_ok=True)
    files = sorted(whole.iterdir())
    chosen = rng.choice(files)
    for one in files:
        content = _damaged(one, rng) if one == chosen else one.read_bytes()
        (path / one.name).write_bytes(content)


def _damaged(whole: Path, rng: random.Random) -> bytes:
    """Damaged as files of its kind can be."""
    content = whole.read_bytes()
    if whole.suffix == ".safetensors":
        return damage_safetensors(content, rng)
    if whole.suffix == ".keras":
        text = ("config.json", "assets/card.json")
        members = {"model.weights.h5": damage} | dict.fromkeys(text, damage_json)
        return damage_zip(content, rng, members)
    if whole.suffix == ".json":
        return damage_json(content, rng)
    return damage(content, rng)


def trial(model, path: Path, before: dict) -> str:
    """Loads a file, and says what came of it.

    Raises:
        AssertionError: the model is neither as it was nor loaded whole, or the message
            is not a line.
        Exception: anything but an InputError that `load_weights` raised.
    """
    import numpy as np

    from keras_resnet import InputError, load_weights

    card = model.card
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            load_weights(model, path)
    except InputError as error:
        message = str(error)
        assert message.isprintable() and len(message) < 2100, repr(message)
        assert model.card == card, f"refused, and yet the card changed: {message}"
        after = values(model)
        changed = [one for one in before if not np.array_equal(before[one], after[one])]
        assert not changed, f"refused, and yet {changed} changed: {message}"
        dangers = ("no end is found", "the HDF5 library crashes")
        return next((one for one in dangers if one in message), type(error).__name__)
    after = values(model)
    assert all(np.isfinite(value).all() for value in after.values()), "not finite"
    if path.suffix == ".safetensors":
        _compare(after, path, passed_over="fc/" if told else "-")
    model.set_weights(list(before.values()))
    model.card = card
    return "loaded, but for the head" if told else "loaded"


def _compare(after: dict, path: Path, passed_over: str) -> None:
    """Asserts that weights are what safetensors itself reads."""
    import numpy as np
    from safetensors.numpy import load_file

    from keras_resnet.weights.formats.safetensors_files import torch_name

    tensors = load_file(path)
    for name, value in after.items():
        if not name.startswith(passed_over):
            axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim]
            stored = tensors[torch_name(name)].astype("float32").transpose(axes)
            assert np.array_equal(value, stored), f"{name} is not as the file says"


def peak() -> int:
    """The most memory that the process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit_memory() -> None:
    """Lets the process map a GiB more than it has; asking for more is a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 2**30
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(folder: Path, *parts: str) -> None:
    explorer = Explorer()  # forked while this process is small
    model = speck()
    before = values(model)
    for kind in KINDS:
        write_whole(model, kind, folder / f"whole.{kind}")
        assert trial(model, folder / f"whole.{kind}", before) == "loaded"

    from keras_resnet.weights.formats import hdf5

    hdf5.subprocess = SimpleNamespace(run=explorer.run, TimeoutExpired=TimeoutExpired)
    tempfile.tempdir = str(folder)
    there = {one.name for one in folder.iterdir()}
    start = peak()
    limit_memory()
    for part in parts:
        kind, first, *rest = part.split(":")
        end, step = rest or (int(first) + 1, 1)
        whole, path = folder / f"whole.{kind}", folder / f"damaged.{kind}"
        there.add(path.name)
        for seed in range(int(first), int(end), int(step)):
            print(kind, seed, end=" ", flush=True)
            signal.alarm(SECONDS)  # kills
            damage_file(whole, path, random.Random(f"{kind} {seed}"))
            outcome = trial(model, path, before)
            assert peak() < start + MEMORY, f"{(peak() - start) >> 20} MiB were taken"
            print(outcome)
    signal.alarm(0)
    written = {one.name for one in folder.iterdir()} - there
    assert not written, f"{written} were written"


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
