"""Checks of arguments: whole numbers, numbers in an interval, one of several choices.

    >>> check_whole("top", 5)
    >>> check_number("momentum", 1.5, minimum=0, below=1)
    Traceback (most recent call last):
        ...
    keras_resnet.common.errors.InputError: momentum=1.5: a number in [0, 1) is needed.

Each takes the argument's name, for the message, and what was passed for it. Standard
library only; NumPy's numbers are accepted as well. A bool is no number.
"""

from collections.abc import Collection
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any

from keras_resnet.common.errors import InputError, closest


def is_whole(value: Any, minimum: int = 1, maximum: int | None = None) -> bool:
    """Whether `value` is a whole number of at least `minimum` and at most `maximum`."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        return False
    return minimum <= int(value) and (maximum is None or int(value) <= maximum)


def is_number(value: Any) -> bool:
    """Whether `value` is a finite real number, and not too large for a float."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return isfinite(value)
    except OverflowError:
        return False


def check_whole(
    name: str, value: Any, minimum: int = 1, maximum: int | None = None
) -> None:
    """Raises an InputError unless `value` is a whole number within the bounds."""
    if not is_whole(value, minimum, maximum):
        bounds = f"from {minimum}" if maximum is None else f"in [{minimum}, {maximum}]"
        raise InputError(f"{name}={value!r}: a whole number {bounds} is needed.")


def check_number(
    name: str,
    value: Any,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
) -> None:
    """Raises an InputError unless `value` is a finite number within the bounds.

    `minimum` and `maximum` are accepted themselves; `above` and `below` are not.
    """
    accepted = (
        is_number(value)
        and (minimum is None or value >= minimum)
        and (maximum is None or value <= maximum)
        and (above is None or value > above)
        and (below is None or value < below)
    )
    if not accepted:
        left = f"({-inf if above is None else above}"
        right = f"{inf if below is None else below})"
        if minimum is not None:
            left = f"[{minimum}"
        if maximum is not None:
            right = f"{maximum}]"
        raise InputError(f"{name}={value!r}: a number in {left}, {right} is needed.")


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Raises an InputError unless `value` is one of `choices`, which may hold None."""
    if value not in choices:
        accepted = ", ".join(map(repr, choices))
        texts = [choice for choice in choices if isinstance(choice, str)]
        near = closest(value, texts) if isinstance(value, str) else ""
        raise InputError(f"{name}={value!r}: accepted are {accepted}.{near}")
