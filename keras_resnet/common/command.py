"""What every command line of the project shares: flags, errors, exit status, progress,
and which lines of the libraries below reach standard error."""

import contextlib
import functools
import importlib.abc
import importlib.util
import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from keras_resnet.common.errors import InputError, KerasResNetError


def parse(described: Callable, args: Sequence[str] | None = None, **options: Any):
    """Fills a dataclass, or a function's arguments, from the command line with tyro.

    Flags, types, help and close-match errors come from the annotations and
    docstrings. A wrong flag raises an InputError of one line, in place of tyro's
    box of many.

    Args:
        described: the dataclass or function.
        args: the words of the command line; None takes sys.argv.
        **options: passed on to `tyro.cli`.

    Returns:
        The dataclass; or the function with its arguments bound (functools.partial),
        still to be called, so that its output does not count as tyro's.
    """
    import tyro

    if not isinstance(described, type):
        described = _bound(described)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(described, args=args, **options)
    except SystemExit as stop:
        if stop.code:
            raise InputError(_one_line(complaint.getvalue())) from None
        raise


def _bound(function: Callable) -> Callable[..., functools.partial]:
    """A function of the same signature that binds its arguments and does no more."""

    @functools.wraps(function)
    def bind(*args, **kwargs) -> functools.partial:
        return functools.partial(function, *args, **kwargs)

    return bind


def _one_line(box: str) -> str:
    """The message inside tyro's box, without its frame, hints and line ends."""
    lines = [re.sub("[\u2500-\u257f]", "", line).strip() for line in box.splitlines()]
    text = " ".join(line for line in lines[1:] if line)
    text = re.sub(r"^Error parsing \w+: ", "", text)  # before a dataclass's own error
    return re.split(r"For full helptext|Argument helptext", text)[0].strip()


@contextlib.contextmanager
def step(name: str, verbose: bool = True) -> Iterator[None]:
    """Prints the step's name when it begins and its seconds when it succeeds."""
    if not verbose:
        yield
        return
    print(f"{name:<14}", end="", flush=True)
    start = time.perf_counter()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.perf_counter() - start:6.1f} s", flush=True)


def run(main: Callable[[], None]) -> None:
    """Runs a command's main function and ends the process.

    A KerasResNetError becomes one line on standard error and exit status 2; Ctrl-C
    ends with 130, and a reader that has gone (`| head`) quietly with 141, as shells
    have it. Any other exception is a fault of ours and keeps its traceback.

    TensorFlow starts without its start-up lines, unless the environment variable
    TF_CPP_MIN_LOG_LEVEL is set: then it writes what that asks for.
    """
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
        sys.meta_path.insert(0, _QuietTensorFlow())
    try:
        main()
        sys.stdout.flush()
    except KerasResNetError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


@contextlib.contextmanager
def stderr_into(file: BinaryIO) -> Iterator[None]:
    """What Python and C++ libraries write on standard error goes into the file."""
    if sys.stderr is None:  # closed by the shell
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


class _QuietTensorFlow(importlib.abc.MetaPathFinder):
    """Imports TensorFlow, when something does, without its start-up lines.

    TensorFlow 2.21 writes them in C++ before it reads TF_CPP_MIN_LOG_LEVEL, and one
    at level E where a machine has no GPU. Every other line appears after the import.
    """

    LINES = re.compile(
        rb"WARNING: All log messages before absl::InitializeLog\(\) is called"
        rb"|.*\] Could not find cuda drivers on your machine"
        rb"|.*\] failed call to cuInit"
    )

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec and spec.loader:
            spec.loader.exec_module = functools.partial(
                self._exec_module, spec.loader.exec_module
            )
        return spec

    def _exec_module(self, exec_module, module):
        with tempfile.TemporaryFile() as output:
            try:
                with stderr_into(output):
                    exec_module(module)
                    module.config.list_physical_devices()  # looks for GPUs
            finally:
                output.seek(0)
                for line in output:
                    if not self.LINES.match(line):
                        os.write(2, line)
