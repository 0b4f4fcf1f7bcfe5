"""How much code a checkout has: lines, files, private functions, repeated lines.

    python benchmarks/code_size.py before after --pyright .tools/bin/pyright
    python benchmarks/code_size.py before after --warnings 8151 0

Each argument is a git checkout of this project and becomes one column. Counted are the
Python files that git tracks below `keras_resnet` and `export`, as they are in the
working tree; blank lines, comments and docstrings count as lines, and tables such as
`imagenet1k.csv` do not. What a tool outside this script counts is given by hand, one
number for each checkout. Uses the standard library alone.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from statistics import median

PACKAGES = ("keras_resnet", "export")
RUN = 6  # equal lines in a row that make two files a pair
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BY_HAND = {
    "duplicated_pairs": "pairs of places with repeated code, by another tool",
    "warnings": "warnings that pytest printed",
}


def main() -> None:
    """Prints the figures of the checkouts as a Markdown table or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", nargs="+", type=Path, metavar="CHECKOUT")
    parser.add_argument("--pyright", help="the pyright command; omitted: no type check")
    parser.add_argument(
        "--python",
        default=sys.executable,
        help="the Python that has the project's dependencies, for pyright",
    )
    for name, text in BY_HAND.items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, nargs="+", type=int, metavar="N", help=text)
    parser.add_argument("--json", action="store_true", help="print JSON instead")
    flags = parser.parse_args()
    columns = [measure(checkout) for checkout in flags.checkouts]
    for position, checkout in enumerate(flags.checkouts):
        column = columns[position]
        if flags.pyright:
            column |= type_errors(checkout, flags.pyright, flags.python)
        for name in BY_HAND:
            numbers = getattr(flags, name)
            if numbers is None:
                continue
            if len(numbers) != len(columns):
                parser.error(f"{name}: {len(columns)} numbers are needed.")
            column[name] = numbers[position]
    names = [checkout.resolve().name for checkout in flags.checkouts]
    if flags.json:
        print(json.dumps(dict(zip(names, columns, strict=True)), indent=2))
    else:
        print("\n".join(markdown(names, columns)))


def measure(checkout: Path) -> dict[str, float]:
    """The figures that need nothing but the text of the files."""
    figures: dict[str, float] = {}
    texts: dict[str, str] = {}
    for package in PACKAGES:
        texts_of_package = tracked_files(checkout, package)
        lengths = [text.count("\n") for text in texts_of_package.values()]
        figures[f"{package}_lines"] = sum(lengths)
        figures[f"{package}_files"] = len(lengths)
        texts |= texts_of_package
    figures["files"] = len(texts)
    figures["median_lines_of_a_file"] = median(t.count("\n") for t in texts.values())
    uses = [use for text in texts.values() for use in private_functions(text)]
    figures["private_functions"] = len(uses)
    figures["private_functions_used_once"] = uses.count(1)
    figures["file_pairs_sharing_six_lines"] = len(repeating_pairs(texts))
    return figures


def tracked_files(checkout: Path, package: str) -> dict[str, str]:
    """The text of every Python file of a package that git tracks, by its path."""
    command = ["git", "-C", str(checkout), "ls-files", f"{package}/*.py"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    paths = {name: checkout / name for name in listed.stdout.splitlines()}
    # A file that was moved without `git add` is listed still.
    return {name: path.read_text() for name, path in paths.items() if path.exists()}


def private_functions(text: str) -> list[int]:
    """How often each private function of a module is used in that module.

    Counted are functions at the module's top level whose name begins with an
    underscore, `__getattr__` and `__dir__` included; methods and functions inside
    functions are not. A use is any mention of the name or of an attribute of that
    name, so that a function passed as an argument counts as used.
    """
    module = ast.parse(text)
    mentions = Counter()
    for node in ast.walk(module):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            mentions[node.id] += 1
        elif isinstance(node, ast.Attribute):
            mentions[node.attr] += 1
    functions = [node for node in toplevel(module) if isinstance(node, FUNCTIONS)]
    return [mentions[f.name] for f in functions if f.name.startswith("_")]


def toplevel(node: ast.AST):
    """The statements of a module, those under `if`, `try` and `with` included."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            yield from toplevel(child)


def repeating_pairs(texts: dict[str, str]) -> set[tuple[str, str]]:
    """Pairs of files that share six lines in a row, letter for letter.

    Indentation, blank lines and lines that are a comment are passed over, and so are
    import statements, which have to be repeated.
    """
    places = defaultdict(set)
    for name, text in texts.items():
        imports = import_lines(text)
        lines = [
            line.strip()
            for number, line in enumerate(text.splitlines(), 1)
            if number not in imports and line.strip() and line.strip()[0] != "#"
        ]
        for start in range(len(lines) - RUN + 1):
            places[tuple(lines[start : start + RUN])].add(name)
    return {
        pair for names in places.values() for pair in combinations(sorted(names), 2)
    }


def import_lines(text: str) -> set[int]:
    """The numbers of the lines that import statements stand on."""
    return {
        number
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for number in range(node.lineno, node.end_lineno + 1)
    }


def type_errors(checkout: Path, pyright: str, python: str) -> dict[str, int]:
    """Errors of pyright at its level `basic`, whatever the checkout configures."""
    checkout = checkout.resolve()
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.relpath(checkout, Path(folder).resolve())
        settings = {
            "include": [f"{root}/{package}" for package in PACKAGES],
            "extraPaths": [root],  # rather than an installed copy
            "typeCheckingMode": "basic",
        }
        Path(folder, "pyrightconfig.json").write_text(json.dumps(settings))
        command = [pyright, "--outputjson", "--pythonpath", python, "-p", folder]
        answer = subprocess.run(command, capture_output=True, text=True)
    summary = json.loads(answer.stdout)["summary"]
    if not summary["filesAnalyzed"]:
        sys.exit(f"pyright analysed no file of {checkout}: {answer.stdout}")
    return {"type_errors": summary["errorCount"]}


def markdown(names: list[str], columns: list[dict[str, float]]) -> list[str]:
    """The figures as a table, a row for each figure."""
    lines = [f"| Figure | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for figure in dict.fromkeys(key for column in columns for key in column):
        values = [column.get(figure) for column in columns]
        cells = ["-" if value is None else f"{value:,}" for value in values]
        lines.append(f"| {figure.replace('_', ' ')} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
