"""The chart of the history: whole XML that a reader and a screen reader understand, whatever is in the records."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from drill_records import record
from mendbook.drills.chart import chart
from mendbook.drills.record import Objectives

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*records):
    return ElementTree.fromstring(chart(records))  # noqa: S314 - our own


def texts(root):
    return [element.text for element in root.iter(f"{SVG}text")]


def test_each_drill_is_a_point_in_every_panel_and_its_result_a_shape():
    root = drawn(record(1), record(2, result="missed", rpo_seconds=90_000.0), record(3, result="failed"))
    assert len(root.findall(f"{SVG}polyline")) == 3
    assert len(root.findall(f"{SVG}circle")) == 3
    shapes = [path.get("class") for path in root.findall(f"{SVG}path")]
    assert sorted(shapes) == ["failed"] * 3 + ["missed"] * 3
    titles = [title.text for title in root.iter(f"{SVG}title")][1:]
    assert "2026-11-02T03:00:00.000Z: missed, RPO 1 d 1 h" in titles


def test_drills_of_different_things_are_not_joined_by_one_line():
    made, own = {"subject": "the sandbox's shop, seed 1, scale 1"}, {"subject": "s3://backups/daily/, estore"}
    root = drawn(record(1, **own), record(2, **made), record(3, **own), record(4, **made), record(5, subject="s3://x"))
    lines = [line.get("points").split() for line in root.findall(f"{SVG}polyline")]
    # two of each, in three panels; what was drilled once has its point, and no line
    assert [len(line) for line in lines] == [2] * 6
    across = [[float(point.partition(",")[0]) for point in line] for line in lines[:2]]
    assert across[0][0] < across[1][0] < across[0][1] < across[1][1]
    assert len(root.findall(f"{SVG}circle")) == 15
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert any(title.endswith("RTO 11 min 40 s, the sandbox's shop, seed 1, scale 1") for title in titles)


def test_it_says_in_words_what_it_shows():
    root = drawn(record(1), record(2, result="failed", rto_seconds=None, rpo_seconds=None))
    assert root.get("role") == "img" and root.get("aria-labelledby") == "title description"
    assert root.find(f"{SVG}title").text == "Restore drills: RTO, RPO and size of 2"
    said = root.find(f"{SVG}desc").text
    assert said.startswith("1 passed, 0 missed, 1 failed. The last one, of 2026-11-02") and "RTO unknown" in said
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text


@pytest.mark.parametrize(
    ("objective", "words", "inside"),
    [(1400.0, "RTO: the objective (dashed) is 23 min 20 s", True), (14400.0, "is 4 h, far above", False)],
)
def test_an_objective_is_a_line_at_its_height_or_named_where_it_would_press_the_data_flat(objective, words, inside):
    root = drawn(record(1, objectives=Objectives(rto_seconds=objective)))
    assert any(words in text for text in texts(root))
    line, point = root.find(f"{SVG}line[@class='objective']"), root.find(f"{SVG}circle")
    assert float(line.get("y1")) < float(point.get("cy"))
    # 700 seconds are half of 1400, and near the top when 4 hours are far away
    assert (float(point.get("cy")) > 130) == inside


@pytest.mark.parametrize(
    "records",
    [
        [],
        [record()],
        [record(rto_seconds=None, rpo_seconds=None, bytes=None)],
        [record(rto_seconds=0.0, rpo_seconds=0.0, bytes=0)],
        [record(day % 28 + 1, rto_seconds=1e9, rpo_seconds=1e-9, bytes=10**15) for day in range(200)],
    ],
)
def test_every_number_of_drills_and_every_value_stays_on_the_page(records):
    root = drawn(*records)
    _, _, width, height = map(float, root.get("viewBox").split())
    for circle in root.findall(f"{SVG}circle"):
        assert 0 <= float(circle.get("cx")) <= width == 600
        assert 0 <= float(circle.get("cy")) <= height


def test_what_a_bucket_holds_cannot_break_out_of_the_text():
    hostile = "</desc><script>alert(1)</script>\x00\x1b[31m"
    root = drawn(record(1, drill=hostile, started=hostile))
    assert root.findall(f".//{SVG}script") == [] and "script" not in [element.tag for element in root.iter()]
