"""Writing files so that nobody ever sees half of one. Standard library only."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from keras_resnet.common.errors import InputError


def refuse_existing(path: str | os.PathLike, force: bool = False) -> Path:
    """`path` as a Path; an InputError where it exists and `force` is off.

    Commands call this before their long work, so that a refusal costs nothing.
    """
    path = Path(path)
    if not force and (path.exists() or path.is_symlink()):
        raise InputError(f"{path} exists already: choose another path or add --force.")
    return path


def refuse_foreign(folder: Path, names: Collection[str], fault: str) -> None:
    """An InputError where `folder` is one that holds anything but files of these names.

    A command calls this before it replaces the folder, with --force as well. `fault`
    says what is wrong with another file, such as "no export wrote".
    """
    inside = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    if foreign := inside - set(names):
        raise InputError(
            f"{folder} holds {min(foreign)}, which {fault}: choose another path."
        )


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


@contextlib.contextmanager
def write_beside(path: str | os.PathLike, force: bool = False) -> Iterator[Path]:
    """Yields a path to write to; renames it to `path` when the block succeeds.

    The block may make a file or a folder there. Where it fails, whatever it
    wrote is removed and `path` is as it was before.

    Args:
        path: where the result shall stand. Missing parent folders are made.
        force: replace what stands at `path`.

    Raises:
        InputError: `path` exists and `force` is off; or it cannot be written
            (no permission, disk full, a file where a folder should be).
    """
    path = refuse_existing(path, force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        # The file keeps its own suffix, by which libraries choose the format.
        part = scratch / path.name
        yield part
        _sync(part)
        _put(part, path, scratch / "replaced")
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _put(part: Path, path: Path, aside: Path) -> None:
    """Renames `part` to `path`; a folder there goes first, or comes back."""
    if not path.is_dir() or path.is_symlink():
        part.replace(path)
        return
    path.rename(aside)
    try:
        part.replace(path)
    except OSError:
        aside.rename(path)
        raise


def _sync(path: Path) -> None:
    """Forces a file to the disk, so that a power cut cannot empty a renamed file."""
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _cannot_write(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot write {path}: {error.strerror or error}.")
