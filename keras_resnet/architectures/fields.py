"""Checks and JSON of the table's records, from their fields' annotations.

A record is a frozen dataclass whose annotations say all that a field accepts: an `int`
is a whole number from 1, a `float` a number from 0, a `Literal` one of its values.
Standard library only.
"""

from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import is_number, is_whole

MAX_JSON_DEPTH = 6  # records and lists within each other; an architecture has 5


def check_fields(record: Any) -> None:
    """Raises an InputError that names the first field that cannot be used."""
    for field in fields(record):
        value = getattr(record, field.name)
        # a default is accepted as it is: most fields of most rows have it
        if value is not field.default and not _accepts(field.type, value):
            raise refusal(record, field.name, f"{_wanted(field.type)} needed")


def refusal(record: Any, field: str, reason: str) -> InputError:
    """The error that a field of a record cannot be used, with the reason."""
    name = getattr(record, "name", None)
    owner = type(record).__name__ if name is None else f"architecture {name!r}"
    return InputError(f"{field}={getattr(record, field)!r} of {owner}: {reason}.")


def _accepts(annotation: Any, value: Any) -> bool:
    choices = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return any(_accepts(choice, value) for choice in choices)
    if get_origin(annotation) is Literal:  # True is 1 to Python, and not here
        return any(value == item and type(value) is type(item) for item in choices)
    if get_origin(annotation) is tuple:
        if not isinstance(value, tuple):
            return False
        if choices[-1] is Ellipsis:
            return all(_accepts(choices[0], item) for item in value)
        return len(value) == len(choices) and all(map(_accepts, choices, value))
    if annotation is int:
        return isinstance(value, int) and is_whole(value)
    if annotation is float:
        return is_number(value) and value >= 0
    return isinstance(value, annotation)


_WORDS = {
    int: "a whole number from 1",
    float: "a number from 0",
    bool: "True or False",
    str: "a text",
    NoneType: "None",
    tuple[int, ...]: "a tuple of whole numbers from 1",
}


def _wanted(annotation: Any) -> str:
    """What a field accepts, as the start of a sentence that ends in "needed"."""
    kinds = [annotation]
    if get_origin(annotation) in (Union, UnionType):
        kinds = sorted(get_args(annotation), key=lambda kind: kind is not NoneType)
    words = []
    for kind in kinds:
        if get_origin(kind) is Literal:
            words.append(", ".join(map(repr, get_args(kind))))
        elif get_origin(kind) is tuple:
            words.append(_WORDS.get(kind, "a tuple of such"))
        else:
            words.append(_WORDS.get(kind) or f"{kind.__name__}()")
    return f"{', '.join(words)} is"


def changes(record: Any) -> str:
    """A record as it is written, without the fields that have their defaults."""
    written = (
        f"{field.name}={value!r}"
        for field in fields(record)
        if (value := getattr(record, field.name)) != field.default
    )
    return f"{type(record).__name__}({', '.join(written)})"


def to_json(record: Any) -> Any:
    """A record as nested dictionaries, each with its class's name as "type"."""
    if isinstance(record, tuple):
        return [to_json(item) for item in record]
    if not hasattr(record, "__dataclass_fields__"):
        return record
    return {"type": type(record).__name__} | {
        name: to_json(value) for name, value in vars(record).items()
    }


def from_json(value: Any, kinds: dict[str, type], depth: int = 0) -> Any:
    """The records that `to_json` wrote, from a value of JSON, which may be anything.

    `kinds` are the accepted classes by name; `depth` is how deep the value lies.

    Raises:
        InputError: the value is nested too deep, or a record has an unknown type, an
            unknown entry or an entry that its field does not accept.
        TypeError: a record lacks an entry.
    """
    if depth > MAX_JSON_DEPTH:
        raise InputError(f"records are nested deeper than {MAX_JSON_DEPTH}")
    if isinstance(value, list):
        return tuple(from_json(item, kinds, depth + 1) for item in value)
    if not isinstance(value, dict):
        return value
    kind = kinds.get(str(value.get("type")))
    if kind is None:
        raise InputError(f"there is no record of type {value.get('type')!r}")
    entries = {key: entry for key, entry in value.items() if key != "type"}
    refuse_unknown(kind, entries)
    return kind(**{key: from_json(v, kinds, depth + 1) for key, v in entries.items()})


def refuse_unknown(kind: type, entries: dict) -> None:
    """Raises an InputError if a dictionary has an entry that a record has no field for.

    It names the entry: a later version may have written it.
    """
    unknown = entries.keys() - {field.name for field in fields(kind)}
    if unknown:
        raise InputError(
            f"{kind.__name__.lower()} has an unknown entry {min(unknown)!r}: it may "
            "come from a later version."
        )
