"""README's figures and links hold."""

import re
from pathlib import Path

import pytest

from keras_resnet import get_architecture
from keras_resnet.arithmetic import count

README = (Path(__file__).parent.parent / "README.md").read_text()
ROWS = re.findall(r"^\| (resnet\w+) \|(.*)\|$", README, re.MULTILINE)


@pytest.mark.parametrize(("name", "columns"), ROWS)
def test_table_of_networks(name, columns):
    row = get_architecture(name)
    total = count(row)
    expected = [total.parameters, total.statistics, total.multiply_adds, row.input_size]
    assert [int(one.replace(",", "")) for one in columns.split("|")] == expected


def test_the_table_is_there():
    assert len(ROWS) > 10


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
