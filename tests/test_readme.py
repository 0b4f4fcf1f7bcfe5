"""The figures and links of README and of the pages hold."""

import re
import runpy
from pathlib import Path

import pytest

from keras_resnet import get_architecture
from keras_resnet.complexity import count

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
BUILD = (ROOT / "docs" / "build.md").read_text()
ROWS = re.findall(r"^\| (resnet\w+) \|(.*)\|$", BUILD, re.MULTILINE)


@pytest.mark.parametrize(("name", "columns"), ROWS)
def test_table_of_networks(name, columns):
    row = get_architecture(name)
    total = count(row)
    expected = [total.parameters, total.statistics, total.multiply_adds, row.input_size]
    assert [int(one.replace(",", "")) for one in columns.split("|")] == expected


def test_the_table_is_there():
    assert len(ROWS) > 10


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_page_of_architectures_is_what_its_command_writes():
    script = runpy.run_path(str(ROOT / "benchmarks" / "architectures.py"))
    assert (ROOT / "docs" / "architectures.md").read_text() == script["page"]()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        if "://" in target:
            continue
        assert ((ROOT / page).parent / target).exists(), target
