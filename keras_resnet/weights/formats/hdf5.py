"""HDF5 files as arrays mapped into memory; a process of its own explores each.

    arrays, names = read_hdf5("model.weights.h5")

libhdf5 trusts what it reads. Of 12,000 small files damaged at random, one crashed
libhdf5 1.14.6, 43 kept it busy for ever and 11 made it take more than half a gigabyte.
So a process with limits of time and memory finds where the arrays are, and this one
maps them into memory.
"""

import io
import json
import math
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

from keras_resnet.common.errors import InputError

WEIGHTS = "model.weights.h5"  # the member of a `.keras` file
MAX_SECONDS = 30  # a network takes half a second
MAX_MEMORY = 2**30  # bytes, beside a `.keras` file; Python with h5py takes a quarter
MAX_TABLE_BYTES = 2**24  # bytes that HDF5 takes beside the arrays, at most
MAX_NAME_CHARS = 1000


def read_hdf5(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of floating-point numbers in an HDF5 file, mapped into memory.

    Links are not followed, and arrays in chunks or in other files are refused; Keras
    writes neither.

    Args:
        path: of an HDF5 file, or of a `.keras` file, for the one in it.

    Returns:
        The arrays by their paths in the file, in its precision; and the attribute
        `name` of each group that has one, by the group's path.

    Raises:
        InputError: it cannot be read or is damaged.
    """
    path = Path(path)
    try:
        archived = zipfile.is_zipfile(path)
        data = (
            np.frombuffer(_member(path), "uint8")
            if archived
            else np.memmap(path, mode="r")
        )
        places, names = json.loads(_explore_apart(path))
        arrays = {
            name: _view(data, start, np.dtype(dtype), shape)
            for name, (start, dtype, shape) in places.items()
        }
    except Exception as error:  # a file can be wrong in any way
        reason = str(error).strip(".") or repr(error)
        raise InputError(f"{path} is not a whole HDF5 file: {reason}.") from error
    return arrays, names


def _member(path: Path) -> bytes:
    """The bytes of the HDF5 file in a `.keras` file; reading them checks their CRC."""
    with zipfile.ZipFile(path) as archive:
        # Weights hardly shrink when they are packed, and the tables are small.
        most = 2 * path.stat().st_size + MAX_TABLE_BYTES
        if archive.getinfo(WEIGHTS).file_size > most:
            raise ValueError(f"{WEIGHTS} promises more than the file can hold")
        return archive.read(WEIGHTS)


def _view(data: np.ndarray, start: int, dtype: np.dtype, shape: list) -> np.ndarray:
    end = start + math.prod(shape) * dtype.itemsize
    if not 0 <= start <= end <= len(data):
        raise ValueError("an array lies outside of the file")
    return data[start:end].view(dtype).reshape(shape)


def _explore_apart(path: Path) -> str:
    """Runs `explore` in another process; returns what it prints."""
    # The process must find the same packages. Threads for algebra would reserve memory.
    packages = os.pathsep.join(sys.path)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "keras_resnet.weights.formats.hdf5", str(path)],
            env={**os.environ, "PYTHONPATH": packages, "OPENBLAS_NUM_THREADS": "1"},
            timeout=MAX_SECONDS,
            capture_output=True,
            text=True,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"no end is found in {MAX_SECONDS} seconds") from None
    if done.returncode < 0:
        raise ValueError(f"the HDF5 library crashes on it (signal {-done.returncode})")
    if done.returncode > 0:
        raise ValueError((done.stderr.splitlines() or ["no reason given"])[-1])
    return done.stdout


def explore(path: str) -> str:
    """Where the arrays lie, as JSON: [{path: [start, dtype, shape]}, {path: name}].

    Limits the memory of its process.

    Raises:
        Exception: of any type.
    """
    _limit_memory(MAX_MEMORY + 4 * Path(path).stat().st_size)
    import h5py

    places, names = {}, {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if not name.isprintable() or len(name) > MAX_NAME_CHARS:
            raise ValueError(f"{name[:60]!r} is no name of a network's array")
        if isinstance(item, h5py.Group):
            layer = item.attrs.get("name")
            if isinstance(layer, str) and layer.isprintable():
                names[name] = layer[:MAX_NAME_CHARS]
        elif isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            places[name] = _place(name, item)

    file = io.BytesIO(_member(Path(path))) if zipfile.is_zipfile(path) else path
    with h5py.File(file, "r") as tree:
        tree.visititems(visit)
    return json.dumps([places, names])


def _place(name: str, item) -> tuple[int, str, tuple[int, ...]]:
    """Where a data set starts in the file, its type and its shape."""
    from h5py import h5t

    start = item.id.get_offset()
    whole = item.id.get_storage_size() == item.nbytes and not item.external
    if start is None or not whole or item.is_virtual:
        raise ValueError(f"{name!r} is not stored whole and in one piece")
    if item.dtype.itemsize > 8 or item.id.get_type() != h5t.py_create(item.dtype):
        raise ValueError(f"{name!r} is of an unusual type")
    return start, item.dtype.str, item.shape


def _limit_memory(most: int) -> None:
    """Bounds this process's address space, where there is such a bound."""
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


if __name__ == "__main__":
    try:
        sys.stdout.write(explore(sys.argv[1]))
    except Exception as error:
        sys.exit(" ".join(str(error).split()) or repr(error))
