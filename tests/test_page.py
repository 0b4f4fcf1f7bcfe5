"""The page and the Markdown of measured rows: what they say, and what they let in."""

import csv
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from export.benchmark.charts import draw_png
from export.benchmark.measure import statistics
from export.benchmark.results import html_page, markdown, read_rows, write_results
from export.benchmark.tables import table
from export.page import main
from keras_resnet.common.errors import InputError

MACHINE = {"time": "2026-01-01", "cpu": "A & B", "cores": 2, "gpus": [], "driver": None}
HOSTILE = "</svg><script>alert('$x_1$ $\\frac{$')</script>|`*\x00\u2028"


def row(model="a", batch=1, ms=1.0, contended=False, **more):
    times = [ms / 1e3 * (1 + i / 100) for i in range(12)]
    blocks = [(times[:6], False), (times[6:], contended)]
    return {
        "model": model,
        "provider": "cpu",
        "batch": batch,
        **statistics(blocks, batch),
        **more,
        "machine": MACHINE,
    }


class Page(HTMLParser):
    """The tags, their attributes and the texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


def test_every_number_and_condition_is_on_the_page():
    rows = [row("a"), row("b", ms=7.5, load_ms=12.5, top1=0.9125, accuracy_data="d")]
    rows[1]["cold_load_ms"] = [12.5]
    text = html_page(rows)
    page = Page(text)
    said = " ".join(page.texts)
    for one in ("7.912", "12.5", "91.25", "A & B", "2026-01-01", "top-1 %, d"):
        assert one in said
    assert "p99 wants 662" in said
    assert "driver" not in page.texts  # nothing is known of it


def test_the_charts_that_the_rows_have_something_for():
    rows = [row("a"), row("a", batch=4, ms=3)]
    for one in rows:
        del one["samples_ms"]
    headings = re.findall("<h2>(.*?)</h2>", html_page(rows))
    assert headings[:2] == ["Latency", "Throughput by batch"]
    full = [row(name, snr_db=s) for name, s in (("a", 120.0), ("b", 27.0))]
    headings = re.findall("<h2>(.*?)</h2>", html_page(full))
    expected = ["Accuracy against latency", "Latency", "Distribution of latencies"]
    assert headings[:3] == expected


def test_the_page_fetches_nothing_and_follows_light_and_dark():
    text = html_page([row("a", snr_db=1.0), row("b", contended=True)])
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "image"} & set(page.tags)
    for name, value in page.attributes:
        assert name not in ("src", "srcset")
        if "href" in name:
            assert value.startswith("#")
    assert "url(http" not in text and "@import" not in text
    assert "currentColor" in text and "#010203" not in text


def test_no_two_charts_share_a_name_inside():
    text = html_page([row("a", snr_db=1.0), row("b", snr_db=2.0)])
    names = [value for name, value in Page(text).attributes if name == "id"]
    assert len(names) == len(set(names)) > 0
    for svg in re.findall("<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)


def test_hostile_names_stay_text():
    more = {"snr_db": 1.0, "architecture": HOSTILE, "accuracy_data": HOSTILE}
    one = row(HOSTILE, top1=0.5, **more)
    one["machine"] = {**MACHINE, HOSTILE: HOSTILE, "list": [HOSTILE]}
    text = html_page([one, row("b", batch=2)])
    page = Page(text)
    assert "script" not in page.tags
    for svg in re.findall("<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)  # what XML cannot hold is not there
    assert any("alert('$x_1$ $" in one for one in page.texts)


def test_hostile_names_in_an_image():
    assert len(draw_png([row(HOSTILE), row("b", batch=2)], HOSTILE)) > 1000


def test_hostile_names_break_no_table_of_markdown():
    rows = [{**row(name), "machine": {"cpu": HOSTILE}} for name in (HOSTILE, "b")]
    lines = markdown(rows).splitlines()
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines[:4]}
    assert len(widths) == 1
    assert not any("<script" in line.replace("\\<", "") for line in lines)
    assert any(line.startswith("- cpu: ") for line in lines)


def test_contended_calls_are_marked():
    quiet = html_page([row("a")])
    some = html_page([row("a", contended=True)])
    assert "6 of 12 calls ran while other processes" in some
    assert "calls ran while" not in quiet
    assert some.count("stroke-dasharray") > quiet.count("stroke-dasharray")


def test_several_files_make_one_page(tmp_path, capsys):
    machine = {**MACHINE, "usable_cores": 2, "logical_cores": 2}
    write_results([row("a")], tmp_path / "before", machine)
    write_results([row("a", ms=0.5, more="x")], tmp_path / "after", machine)
    wrote = capsys.readouterr().out.splitlines()
    assert len(wrote) == 6 and wrote[0] == f"wrote {tmp_path / 'before.jsonl'}"
    out = tmp_path / "both.html"
    words = [str(tmp_path / f"{name}.jsonl") for name in ("before", "after")]
    main([*words, "--out", str(out)])
    texts = Page(out.read_text()).texts
    assert {"before", "after", "1.055", "0.527"} <= set(texts)
    assert capsys.readouterr().out == f"wrote {out}\n"
    with pytest.raises(InputError, match="--force"):
        main([*words, "--out", str(out)])


def test_other_forms_are_converted_from_the_json_lines(tmp_path):
    results = tmp_path / "r.jsonl"
    rows = [row("a", load_ms=12.5), row("a", batch=4)]
    results.write_text("".join(json.dumps(one) + "\n" for one in rows))
    for suffix in (".md", ".png", ".csv", ".jsonl"):
        main([str(results), "--out", str(tmp_path / f"other{suffix}")])
    text = (tmp_path / "other.md").read_text()
    assert "| 1.055 |" in text and "| 12.5 |" in text and "- cpu: A & B" in text
    assert (tmp_path / "other.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (tmp_path / "other.csv").read_text().startswith("model,provider,batch,n,")
    assert (tmp_path / "other.jsonl").read_text() == results.read_text()
    with pytest.raises(InputError, match=r"other\.gif: the suffixes .*\.png are"):
        main([str(results), "--out", str(tmp_path / "other.gif")])


def test_rows_with_other_columns_go_into_one_table(tmp_path):
    machine = {**MACHINE, "usable_cores": 2, "logical_cores": 2}
    rows = [row("a", load_ms=3), {"variant": "x", **row("b", ms=2, torch="2")}]
    write_results(rows, tmp_path / "r", machine)
    with (tmp_path / "r.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [one["load_ms"] for one in found] == ["3", ""]
    assert [one["torch"] for one in found] == ["", "2"]
    assert [one["variant"] for one in found] == ["", "x"]
    said = table(rows).splitlines()
    assert said[0].split()[:4] == ["model", "provider", "variant", "batch"]
    assert said[2].split()[:4] == ["b", "cpu", "x", "1"]


def test_rows_of_earlier_versions_can_be_drawn(tmp_path):
    old = row("a")
    for name in ("samples_ms", "contended_rounds", "p95_ms"):
        del old[name]
    path = tmp_path / "old.jsonl"
    path.write_text(json.dumps(old) + "\n\n")
    assert "1.055" in html_page(read_rows([path]))


def _changed(**changes):
    return json.dumps({**row(), **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"images_per_second": None, "top1": "high", "load_ms": [1]},
        {"model": None, "provider": None, "snr_db": 3},
        {"model": {"a": [1]}, "batch": None, "top1": True},
        {"model": "_hidden", "machine": {}},
        {"images_per_second": 10**400, "top1": 10**400, "quiet_p50_ms": 10**400},
        {"snr_db": 1e300, "load_ms": float("inf"), "uncertain": ["p", ["x"], 3]},
        {"machine": {"gpus": 5, "cpu": ["a"], "time": None, "cores": {}}},
    ],
)
def test_odd_rows_are_drawn_as_far_as_they_go(tmp_path, changes):
    path = tmp_path / "r.jsonl"
    path.write_text(_changed(**changes) + "\n" + _changed(batch=2) + "\n")
    main([str(path), "--out", str(tmp_path / "page.html")])
    assert (tmp_path / "page.html").read_text().count("<svg") >= 2
    for suffix in (".png", ".md", ".csv"):
        main([str(path), "--out", str(tmp_path / f"page{suffix}")])


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[1]",
        "{}",
        "[" * 100_000,
        _changed(p50_ms="fast"),
        _changed(p50_ms=float("nan")),
        _changed(p50_ms=10**400),
        _changed(contended=10**400),
        _changed(contended=-1),
        '{"n": ' + "1" * 5000 + "}",
        _changed(batch=[1]),
        _changed(machine="mine"),
        _changed(uncertain=None),
        _changed(contended_rounds=[True]),
        _changed(samples_ms=[[], []]),
        _changed(samples_ms=[["<b>"], [1]]),
        json.dumps({"n": 1, **row()}),
    ],
)
def test_a_line_that_is_no_row_is_refused(tmp_path, line):
    path = tmp_path / "r.jsonl"
    path.write_text(_changed() + "\n" + line + "\n")
    with pytest.raises(InputError, match=r"r\.jsonl line 2"):
        main([str(path), "--out", str(tmp_path / "page.html")])
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_cannot_be_read_are_refused(tmp_path):
    binary, empty = tmp_path / "binary.jsonl", tmp_path / "empty.jsonl"
    binary.write_bytes(b"\xff\xfe\x00")
    empty.write_text("\n")
    for path in (binary, tmp_path / "absent.jsonl", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_rows([path])
    with pytest.raises(InputError, match="not one row"):
        read_rows([empty])


def test_a_page_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    results, out = tmp_path / "r.jsonl", tmp_path / "page.html"
    results.write_text(_changed())
    out.write_text("old")
    monkeypatch.setattr("export.benchmark.charts.charts", lambda rows: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main([str(results), "--out", str(out), "--force"])
    assert out.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == [out, results]
