"""Damage to files, each drawn from one seed: as disks, networks and enemies do it."""

import copy
import io
import json
import random
import re
import struct
import zipfile

import numpy as np
from safetensors.numpy import load, save

HOSTILE = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**60,
    2**63,
    2**64,
    -(2**63),
    0.5,
    1e308,
    "",
    "../../etc/passwd",
    "/etc/passwd",
    "a\nb",
    "\0",
    "\x1b[2J",
    "x" * 10_000,
    [],
    {},
    [0],
    [2**60],
    [2**32, 2**32],
    [-1, 4],
    [0, 2**60],
    [[]],
    {"a": [{}]},
    "F16",
    "BF16",
    "F64",
    "I8",
    "U8",
    "BOOL",
    "F8_E4M3",
    "C64",
    "I64",
    "F4",
)
_NUMBERS = (0, 1, 0x7F, 0xFF, 2**15, 2**31, 2**32 - 1, 2**40, 2**60, 2**63, 2**64 - 1)
_TYPES = ("float16", "float64", "int8", "int64", "uint8", "bool", "uint32")
_NOT_NUMBERS = struct.pack("<f", float("nan")), struct.pack("<f", float("inf"))
# where HDF5 and zip archives begin a structure
_SIGNATURE = re.compile(rb"\x89HDF|TREE|HEAP|SNOD|PK\x01\x02|PK\x03\x04|PK\x05\x06")
_STRUCTURE = re.compile(
    _SIGNATURE.pattern + rb"|[\x01-\x18]\0[\x08-\x40]\0[\0\x01]\0\0\0"
)


def damage(content: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut off, moved, repeated or overwritten."""
    data = bytearray(content)
    kind = rng.choice(_KINDS)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        if data:
            kind(data, _place(data, rng), rng)
    return bytes(data)


def _place(data: bytearray, rng: random.Random) -> int:
    """Anywhere, but more often near the description of something."""
    if rng.random() < 0.3:
        return rng.randrange(len(data))
    start = rng.randrange(len(data))
    found = _STRUCTURE.search(data, start) or _STRUCTURE.search(data)
    near = found.start() if found else 0
    return min(near + rng.randrange(64), len(data) - 1)


def _flip(data, at, rng):
    data[at] ^= 1 << rng.randrange(8)


def _random(data, at, rng):
    length = rng.choice((1, 2, 8, 64))
    data[at : at + length] = rng.randbytes(len(data[at : at + length]))


def _number(data, at, rng):
    """A number of 1 to 8 bytes, such as a length or a place in the file."""
    size = rng.choice((1, 2, 4, 8))
    at -= at % size
    number = rng.choice((*_NUMBERS, len(data), rng.randrange(len(data))))
    field = (number % 2 ** (8 * size)).to_bytes(size, "little")
    data[at : at + size] = field[: len(data) - at]


def _address(data, at, rng):
    """A structure's reference to another, or to itself."""
    if found := [match.start() for match in _SIGNATURE.finditer(data)]:
        own = rng.choice(found)
        target = rng.choice((own, rng.choice(found))).to_bytes(8, "little")
        at = own + 8 * rng.randrange(1, 5)
        data[at : at + 8] = target[: max(0, len(data) - at)]


def _not_a_number(data, at, rng):
    data[at - at % 4 : at - at % 4 + 4] = rng.choice(_NOT_NUMBERS)


def _cut(data, at, rng):
    del data[at:]


def _remove(data, at, rng):
    del data[at : at + rng.choice((1, 8, 100, 1000))]


def _insert(data, at, rng):
    data[at:at] = rng.randbytes(rng.choice((1, 8, 100)))


def _repeat(data, at, rng):
    data[at:at] = data[at : at + rng.choice((1, 8, 100, 1000))]


def _splice(data, at, rng):
    """Bytes of one place over those of another."""
    length, other = rng.choice((8, 64, 512)), _place(data, rng)
    part = data[other : other + length]
    data[at : at + len(part)] = part


def _empty_page(data, at, rng):
    size = rng.choice((16, 512, 4096))
    at -= at % size
    data[at : at + size] = bytes(len(data[at : at + size]))


_KINDS = (
    _flip,
    _flip,
    _flip,
    _random,
    _number,
    _number,
    _number,
    _not_a_number,
    _address,
    _address,
    _cut,
    _remove,
    _insert,
    _repeat,
    _splice,
    _splice,
    _empty_page,
)


def damage_json(text: bytes, rng: random.Random) -> bytes:
    """JSON with a value replaced, moved, renamed, repeated or taken away."""
    root = [json.loads(text)]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        holders = list(_holders(root))
        holder = rng.choice(holders)
        key = rng.choice(
            list(holder) if isinstance(holder, dict) else range(len(holder))
        )
        action = rng.random()
        if action < 0.6:
            holder[key] = _value(holder[key], rng)
        elif action < 0.7:
            other = rng.choice(holders)
            holder[key] = copy.deepcopy(other)
        elif isinstance(holder, dict):
            value = holder.pop(key)
            if action < 0.9:
                holder[str(rng.choice((*HOSTILE, key.upper(), key + "x")))] = value
        elif holder is not root:
            del holder[key]
    text = json.dumps(root[0] if root else {})
    if rng.random() < 0.1:  # a name twice
        names = re.findall(r'"[^"]{1,60}":', text)
        if names:
            text = text.replace(rng.choice(names), rng.choice(names), 1)
    return text.encode()


def _holders(value):
    """Every list and dictionary that holds something."""
    if isinstance(value, list | dict) and value:
        yield value
        for one in value.values() if isinstance(value, dict) else value:
            yield from _holders(one)


def _value(value, rng: random.Random):
    """Another value; of a number often one that is near."""
    if isinstance(value, int) and rng.random() < 0.5:
        return value + rng.choice((-8, -4, -1, 1, 4, 8)) * rng.choice((1, 1, 100))
    return copy.deepcopy(rng.choice(HOSTILE))


def damage_safetensors(content: bytes, rng: random.Random) -> bytes:
    """Its header as JSON, or anything as bytes."""
    if rng.random() < 0.25:
        return _other_tensors(content, rng)
    length = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + length], content[8 + length :]
    action = rng.random()
    if action < 0.3:
        return damage(content, rng)
    if action < 0.5:
        return content[: 8 + length] + damage(data, rng)
    if action < 0.6:  # the header's bytes, with its right length
        header = damage(header, rng)
    else:
        header = damage_json(header, rng)
        data = data[: rng.choice((len(data), len(data), len(data) // 2))]
    return len(header).to_bytes(8, "little") + header + data


def _other_tensors(content: bytes, rng: random.Random) -> bytes:
    """A whole file, in which some tensors are others."""
    tensors = load(content)
    for name in rng.sample(list(tensors), rng.choice((1, 1, 1, 2, 5))):
        array = tensors.pop(name)
        action = rng.randrange(7)
        if action == 0:
            name = rng.choice((f"../{name}", f"{name}2", f"x.{name}", name.upper()))
        elif action == 1:
            array = array.reshape(rng.choice((array.size, (1, *array.shape), (-1, 1))))
        elif action == 2:
            array = np.ascontiguousarray(array.T)
        elif action == 3:
            array = array.astype(rng.choice(_TYPES))
        elif action == 4:
            array = array.reshape(-1)[: rng.choice((0, 1))]
        elif action == 5:
            array = np.repeat(array, 2)
        tensors[name] = array
        if action == 6:
            del tensors[name]
    return save(tensors)


def damage_zip(content: bytes, rng: random.Random, members: dict) -> bytes:
    """Its bytes; or a member, so that all checksums are right.

    Args:
        content: of the archive.
        rng: that draws the damage.
        members: how each of some members is damaged, by its name.
    """
    if rng.random() < 0.4:
        return damage(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = [(name, archive.read(name)) for name in archive.namelist()]
    chosen, action = rng.choice(list(members)), rng.random()
    written = io.BytesIO()
    packed = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(written, "w", packed) as archive:
        for name, part in parts:
            if name == chosen and action < 0.8:
                part = members[name](part, rng)
            elif name == chosen and action < 0.9:
                name = rng.choice(("../" + name, "/" + name, name.upper(), "a\n"))
            elif name == chosen:
                continue
            archive.writestr(name, part)
    return written.getvalue()
