"""README's figures and links hold."""

import re
import runpy
from pathlib import Path

import pytest

from keras_resnet import get_architecture
from keras_resnet.complexity import count

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ROWS = re.findall(r"^\| (resnet\w+) \|(.*)\|$", README, re.MULTILINE)


@pytest.mark.parametrize(("name", "columns"), ROWS)
def test_table_of_networks(name, columns):
    row = get_architecture(name)
    total = count(row)
    expected = [total.parameters, total.statistics, total.multiply_adds, row.input_size]
    assert [int(one.replace(",", "")) for one in columns.split("|")] == expected


def test_the_table_is_there():
    assert len(ROWS) > 10


def test_the_page_of_architectures_is_what_its_command_writes():
    script = runpy.run_path(str(ROOT / "benchmarks" / "architectures.py"))
    assert (ROOT / "docs" / "architectures.md").read_text() == script["page"]()


@pytest.mark.parametrize("page", ["README.md", "docs/export.md", "docs/measuring.md"])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target
