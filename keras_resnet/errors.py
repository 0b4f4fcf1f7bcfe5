"""The one exception for bad input, and words that help to mend it.

Standard library only, so that every room may use it.
"""

import difflib
from collections.abc import Iterable

_LONGEST = 2000  # characters; the line that converts a pickle has some hundreds


class InputError(ValueError):
    """Something a user handed in cannot be used.

    The message is one line that names the argument, what was received and what
    would be accepted. At the command line it is printed as it is, and the exit
    status is 2.

    Args:
        message: may quote what a file holds or what a library says of it: lines are
            joined, characters that cannot be printed are escaped, and a long tail is
            left out.
    """

    def __init__(self, message: str):
        line = " ".join(part.strip() for part in message.splitlines() if part.strip())
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
        super().__init__(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}...")


def closest(name: str, choices: Iterable[str], most: int = 3) -> str:
    """`" Did you mean 'a' or 'b'?"`, or `""` where nothing comes near `name`."""
    near = difflib.get_close_matches(str(name).lower(), list(choices), n=most)
    if not near:
        return ""
    return f" Did you mean {' or '.join(repr(one) for one in near)}?"
