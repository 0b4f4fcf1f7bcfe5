"""Results of measurements, one file or several, as one HTML page, Markdown or PNG.

python -m export.page results.jsonl --out page.html
python -m export.page before.jsonl after.jsonl --out both.html
python -m export.page results.jsonl --out table.md
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from export.benchmark.results import read_rows, write_rows
from keras_resnet.common.command import parse, run
from keras_resnet.common.files import refuse_existing


@dataclass(frozen=True)
class Flags:
    """Converts the JSON lines of one or several measurements."""

    results: Positional[tuple[Path, ...]]
    """The .jsonl files; where there are several, each row is named after its file."""
    out: Path
    """What to write: .html, a page of charts and tables; .md, a table; .png; .csv."""
    force: bool = False
    """Replace what is there."""


def main(args: Sequence[str] | None = None) -> None:
    flags = parse(Flags, args, prog="python -m export.page")
    refuse_existing(flags.out, flags.force)
    write_rows(read_rows(flags.results), flags.out, flags.force)


if __name__ == "__main__":
    run(main)
