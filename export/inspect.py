"""What an ONNX file says of itself, and what its graph says.

    python -m export.inspect exported/resnet20.onnx
    python -m export.inspect other.onnx --input-size 224 224 --json

The first part is the metadata that the exporter wrote; files of other tools have none.
The second is counted from the graph (`export.graph.counts` says how). Of a SavedModel's
folder, and of a file with its metadata in `<name>.json` beside it, there is the first.
Runs without TensorFlow and Keras.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from export.graph.files import (
    beside,
    inputs,
    read,
    read_metadata,
    recorded_size,
    tensor,
)
from export.runtime import METADATA_KEY, parse_metadata
from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError, printable
from keras_resnet.common.files import size_of

MAX_ITEMS = 6  # shown of a list
MAX_CHARACTERS = 120  # shown of a text
MAX_DEPTH = 2  # of lists and objects inside each other


def inspect(
    path: str | os.PathLike, input_size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Reads a file; runs nothing of it.

    Args:
        path: an .onnx file; or another artifact with its metadata.
        input_size: height and width to count at, for a file that leaves them open;
            None takes what its metadata says of preprocessing, if it does.

    Returns:
        `bytes`, of data beside the file too, and `metadata` ({} where there is none);
        of ONNX also `graph`: producer, opsets and ir_version, inputs and outputs,
        the size that was counted at, and what `export.graph.counts.count` gives.

    Raises:
        InputError: no such file; it is damaged, or its metadata or its data beside
            it; `input_size` does not fit.
    """
    path = Path(path)
    for record in (path / f"{METADATA_KEY}.json", path.with_name(f"{path.name}.json")):
        if record.is_file() and path.suffix != ".onnx":
            if input_size:
                raise InputError(f"input_size is for ONNX files; {path} is none.")
            return {"bytes": size_of(path), "metadata": _read_json(record)}
    from export.graph.counts import count

    proto = read(path)
    metadata = read_metadata(proto, path)
    entries = inputs(proto)
    is_open = any(tensor(entry)["shape"][1:].count(None) == 2 for entry in entries)
    if input_size and not is_open:
        raise InputError(f"input_size: the size of {path}'s images is not open.")
    if input_size and min(input_size) < 1:
        raise InputError(f"input_size={input_size}: numbers from 1 are accepted.")
    size = input_size or (recorded_size(metadata) if is_open else None)
    return {
        "bytes": sum(map(size_of, (path, *map(path.parent.joinpath, beside(proto))))),
        "metadata": metadata,
        "graph": {
            "producer": f"{proto.producer_name} {proto.producer_version}".strip(),
            "opsets": {opset.domain: opset.version for opset in proto.opset_import},
            "ir_version": proto.ir_version,
            "inputs": [tensor(entry) for entry in entries],
            "outputs": [tensor(output) for output in proto.graph.output],
            "counted_at": size,
            **count(proto, size),
        },
    }


def report(path: str | os.PathLike, content: dict[str, Any]) -> str:
    """What `inspect` returned, as lines for people."""
    metadata = content["metadata"] or {"metadata": "none"}
    parts = {"what it says of itself": {k: _words(v) for k, v in metadata.items()}}
    if graph := content.get("graph"):
        parts["what its graph says"] = _graph_rows(graph)
    lines = [f"{path}: {content['bytes'] / 1e6:,.2f} MB"]
    for title, rows in parts.items():
        lines.append(f"{title}:")
        lines += [f"  {_short(str(key)):<18} {text}" for key, text in rows.items()]
    return "\n".join(lines)


def _graph_rows(graph: dict[str, Any]) -> dict[str, str]:
    opsets, nodes = graph["opsets"].items(), graph["nodes"]
    counted = ", ".join(f"{name} {number}" for name, number in nodes.items())
    batch_norm = "folded"
    if graph["batch_norm"] or graph["foldable"]:
        batch_norm = (
            f"{graph['batch_norm']} left, {graph['foldable']} right after a "
            "convolution that could take it in"
        )
    size, total = graph["counted_at"], graph["multiply_adds"]
    at = f" of {size[0]}x{size[1]}" if size else ""
    unknown = "unknown: shapes inside are open; --input-size may settle them"
    shares = [
        f"{graph[f'{key}_in_8_bits'] / graph[key]:.1%} of the {key.replace('_', '-')}"
        for key in ("parameters", "multiply_adds")
        if graph[key]
    ]
    return {
        "producer": _words(graph["producer"]),
        "opset": ", ".join(f"{_short(k)} {v}".strip() for k, v in opsets),
        "inputs": "; ".join(map(_tensor_words, graph["inputs"])),
        "outputs": "; ".join(map(_tensor_words, graph["outputs"])),
        "nodes": f"{sum(nodes.values())}: {_short(counted, 2000)}",
        "foreign operators": _words(graph["foreign"]) or "none",
        "transposes": str(nodes.get("Transpose", 0)),
        "batch norm": batch_norm,
        "parameters": f"{graph['parameters']:,}",
        "multiply-adds": unknown if total is None else f"{total:,} an image{at}",
        "in 8 bits": ", ".join(shares) or "nothing",
    }


def _tensor_words(tensor: dict[str, Any]) -> str:
    shape = ", ".join(str(side or "any") for side in tensor["shape"])
    return f"{_short(tensor['name'])}, {tensor['dtype']} ({shape})"


def _words(value: Any, depth: int = 0) -> str:
    """A value of any kind; lists, texts and what lies deep are cut short."""
    if isinstance(value, dict | list) and depth == MAX_DEPTH:
        return "..."
    if isinstance(value, dict):
        pairs = list(value.items())[: 2 * MAX_ITEMS]
        return ", ".join(f"{_short(str(k))}: {_words(v, depth + 1)}" for k, v in pairs)
    if isinstance(value, list):
        shown = value[:MAX_ITEMS]
        items = ["any" if i is None else _words(i, depth + 1) for i in shown]
        separator = "; " if any(isinstance(item, dict) for item in shown) else ", "
        text = separator.join(items)
        return text + f", ... ({len(value)})" * (len(value) > MAX_ITEMS)
    if isinstance(value, float):
        return f"{value:.4g}"
    return _short("none" if value is None else str(value))


def _short(text: str, longest: int = MAX_CHARACTERS) -> str:
    return printable(text[: longest + 1], longest)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    return parse_metadata(path, text)


@dataclass(frozen=True, kw_only=True)
class InspectFlags:
    """Prints what an ONNX file says of itself and what its graph says."""

    file: Positional[Path]
    """An .onnx file, a SavedModel's folder, or another artifact of ours."""
    input_size: tuple[int, int] | None = None
    """Height and width to count at, for a file that leaves them open."""
    json: bool = False
    """Print everything as JSON."""


def main(args: Sequence[str] | None = None) -> None:
    flags = parse(InspectFlags, args, prog="python -m export.inspect")
    content = inspect(flags.file, flags.input_size)
    print(json.dumps(content, indent=2) if flags.json else report(flags.file, content))


if __name__ == "__main__":
    run(main)
