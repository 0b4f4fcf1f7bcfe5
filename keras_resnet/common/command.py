"""What every command line of the project shares: flags, errors, exit status."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from keras_resnet.common.errors import InputError, KerasResNetError


def parse(described: Callable, args: Sequence[str] | None = None, **options: Any):
    """Fills a dataclass (or calls a function) from the command line, through tyro.

    Flags, types, help and close-match errors come from the annotations and
    docstrings. A wrong flag raises an InputError of one line, in place of tyro's
    box of many.

    Args:
        described: the dataclass or function.
        args: the words of the command line; None takes sys.argv.
        **options: passed on to `tyro.cli`.
    """
    import tyro

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(described, args=args, **options)
    except SystemExit as stop:
        if stop.code:
            raise InputError(_one_line(complaint.getvalue())) from None
        raise


def _one_line(box: str) -> str:
    """The message inside tyro's box, without its frame, hints and line ends."""
    lines = [re.sub("[\u2500-\u257f]", "", line).strip() for line in box.splitlines()]
    text = " ".join(line for line in lines[1:] if line)
    text = re.sub(r"^Error parsing \w+: ", "", text)  # before a dataclass's own error
    return re.split(r"For full helptext|Argument helptext", text)[0].strip()


def run(main: Callable[[], None]) -> None:
    """Runs a command's main function and ends the process.

    A KerasResNetError becomes one line on standard error and exit status 2; Ctrl-C
    ends with 130, and a reader that has gone (`| head`) quietly with 141, as shells
    have it. Any other exception is a fault of ours and keeps its traceback.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
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
