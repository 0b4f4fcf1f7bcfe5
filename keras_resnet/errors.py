"""The one exception for bad input, and words that help to mend it.

Standard library only, so that every room may use it.
"""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something a user handed in cannot be used.

    The message is one line that names the argument, what was received and what
    would be accepted. At the command line it is printed as it is, and the exit
    status is 2.
    """


def closest(name: str, choices: Iterable[str], most: int = 3) -> str:
    """`" Did you mean 'a' or 'b'?"`, or `""` where nothing comes near `name`."""
    near = difflib.get_close_matches(str(name).lower(), list(choices), n=most)
    if not near:
        return ""
    return f" Did you mean {' or '.join(repr(one) for one in near)}?"
