"""The errors of this package, and words that help to mend what caused them.

Standard library only, so that every room may use it.
"""

import difflib
from collections.abc import Iterable

_LONGEST = 2000  # characters; the line that converts a pickle has some hundreds


class KerasResNetError(Exception):
    """The parent of the errors that this package raises for a reason of its own.

    At the command line the message is printed as one line and the exit status is 2.

    Args:
        message: may quote what a file holds or what a library says of it: lines are
            joined, characters that cannot be printed are escaped, and a long tail is
            left out.
    """

    def __init__(self, message: str):
        line = " ".join(part.strip() for part in message.splitlines() if part.strip())
        super().__init__(printable(line, _LONGEST))


class InputError(KerasResNetError, ValueError):
    """An argument, a file or a model cannot be used.

    The message names the argument, what was received and what would be accepted.
    """


class ParityError(KerasResNetError):
    """An artifact differs from its model by more than its precision explains."""


class AccuracyError(KerasResNetError):
    """A lower precision loses more accuracy than is allowed."""


class DownloadError(KerasResNetError):
    """Published weights could not be downloaded, or were not what was published."""


class ClassifierWarning(UserWarning):
    """A file's classifier does not fit the model, whose own is re-initialised."""


class MissingPackageError(KerasResNetError, ImportError):
    """An optional package is needed and not installed; the message installs it."""


def printable(
    text: str, longest: int | None = None, replacement: str | None = None
) -> str:
    """The text without characters that cannot be printed.

    Args:
        text: any.
        longest: number of characters after which it is cut off.
        replacement: of each such character; by default it is escaped.
    """
    text = "".join(c if c.isprintable() else replacement or repr(c)[1:-1] for c in text)
    return text if longest is None or len(text) <= longest else f"{text[:longest]}..."


def closest(name: str, choices: Iterable[str], most: int = 3) -> str:
    """`" Did you mean 'a' or 'b'?"`, or `""` where nothing comes near `name`."""
    near = difflib.get_close_matches(str(name).lower(), list(choices), n=most)
    if not near:
        return ""
    return f" Did you mean {' or '.join(map(repr, near))}?"
