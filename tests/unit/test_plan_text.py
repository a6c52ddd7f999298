"""A plan on a terminal: complete for a person, and harmless whatever the names in it are."""

import unicodedata

import pytest
from ansible.module_utils.mendbook.plan import cap, make_plan, refusal
from ansible.module_utils.mendbook.plan_text import (
    bytes_text,
    change_line,
    clean,
    diff_of,
    plan_lines,
    result_lines,
    seconds_text,
)
from hypothesis import given
from hypothesis import strategies as st

NAMES = [
    "one",
    "two\x1b[2Jcleared",
    "line\nbreak",
    "back\rspace\b",
    "‮right to left",
    "\udcff",
    "nul\0",
    "{{ x }}",
    "é€漢",
]


def plan(names=("one",), **changed):
    facts = {
        "module": "mend_x",
        "target": {"kind": "folder", "id": "rs0@db:27017/estore", "address": "db:27017"},
        "risk": "destroys",
        "changes": [{"op": "~", "object": name, "before": 1200, "after": 3, "bytes": 2048} for name in names],
        "caps": [cap("share", 0.5, 0.2)],
        "identity": None,
        "expected_seconds": 12.3,
        "undo": {"procedure": "undo_x", "variables": {"x_token": "t1"}, "until": "2026-12-01T00:00:00Z"},
        "source": {"key": "daily/b.gz", "size": None, "age_seconds": 60},
        "notes": ["the swap is not atomic"],
        "refusals": [refusal("age", "too old", 9, 5, "-e x_max_age=9")],
        "remains": {"collections": 4},
    }
    return make_plan(**{**facts, **changed})


def test_says_all_that_a_person_needs_to_decide():
    assert plan_lines(plan(), "app1") == [
        "PLAN mend_x on app1",
        "  target   rs0@db:27017/estore  at db:27017",
        "  source   key daily/b.gz, age_seconds 60",
        "  changes  1 object, 2.0 kB, destroys data",
        "           ~ one: 1,200 -> 3  (2.0 kB)",
        "  remains  collections 4",
        "  cap      share: 0.2 of 0.5",
        "  takes    about 12 s",
        "  undo     playbook undo_x -e x_token=t1, until 2026-12-01T00:00:00Z",
        "  note     the swap is not atomic",
        "  refused  too old (-e x_max_age=9)",
    ]


def test_a_plan_without_changes_says_so_and_why_and_nothing_else():
    assert plan_lines(plan([], notes=["all is as it should be"]), "app1") == [
        "PLAN mend_x on app1",
        "  target   rs0@db:27017/estore  at db:27017",
        "  source   key daily/b.gz, age_seconds 60",
        "  changes  nothing to do",
        "  note     all is as it should be",
    ]


def test_says_how_it_ended():
    result = {
        "state": "partial",
        "plan": plan(["a", "b", "c"]),
        "done": [{"op": "~", "object": "a"}],
        "skipped_objects": [{"object": "b", "reason": "in use"}],
        "read_back": {"there": 1},
        "figures": {"load_seconds": 2},
        "msg": "stopped\nhere",
    }
    assert result_lines(result, "app1") == [
        "PARTIAL mend_x on app1",
        "  done     1 of 3",
        "           b: in use",
        "  read     there 1",
        "  figures  load_seconds 2",
        "  because  stopped\\nhere",
    ]


def test_a_long_list_is_cut_and_says_by_how_much():
    lines = plan_lines(plan([f"o{number}" for number in range(25)]), "app1")
    assert "           and 15 more (--diff shows them)" in lines
    assert not any("o10" in line for line in lines)


def test_the_changes_are_left_to_diff_when_ansible_prints_it():
    assert not any("~ one" in line for line in plan_lines(plan(), "app1", with_changes=False))


def test_the_diff_has_every_change_up_to_a_screenful_of_pages():
    text = diff_of(plan([f"o{number}" for number in range(250)]))["prepared"]
    assert text.count("\n~ o") == 200
    assert text.endswith("and 50 more lines in the result's plan\n")


@pytest.mark.parametrize(
    "undo, words", [({"none": "gone is gone"}, "none: gone is gone"), ({"procedure": "p"}, "playbook p")]
)
def test_the_way_back_is_said_or_why_there_is_none(undo, words):
    assert f"  undo     {words}" in plan_lines(plan(undo=undo), "app1")


@pytest.mark.parametrize("name", NAMES)
def test_no_name_reaches_the_terminal_as_more_than_text(name):
    shown = plan([name], source={"key": name}, notes=[name], undo={"none": name}, target={"kind": "x", "id": name})
    lines = [*plan_lines(shown, name), *diff_of(shown)["prepared"].splitlines()]
    lines += result_lines({"state": "done", "plan": shown, "done": [], "read_back": {name: name}, "msg": name}, name)
    assert all(is_printable(line) for line in lines)


@given(st.text(st.characters(), max_size=400))
def test_clean_gives_one_printable_line_for_any_text(text):
    shown = clean(text)
    assert is_printable(shown)
    assert len(shown) <= 200


def is_printable(line):
    return not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in line)


def test_clean_leaves_letters_of_every_script_alone():
    assert clean("Überträge 漢字 {{ not a template }}") == "Überträge 漢字 {{ not a template }}"


def test_a_huge_name_is_cut():
    assert len(change_line({"op": "+", "object": "x" * 1_000_000})) < 220


@pytest.mark.parametrize(
    "size, text", [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (5 * 10**12, "5.0 TB"), (-2048, "-2.0 kB")]
)
def test_sizes_have_the_unit_that_a_person_would_choose(size, text):
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0"),
        (2.174, "2.174"),
        (119, "119"),
        (120, "2 min"),
        (7300, "2 h 2 min"),
        (86400, "24 h 0 min"),
        (4e5, "4 d 15 h"),
    ],
)
def test_times_are_said_as_people_say_them_when_they_are_long(seconds, text):
    assert seconds_text(seconds) == text


def test_sizes_and_ages_have_units_and_what_is_long_is_left_to_the_plan():
    source = {
        "age_seconds": 7300,
        "size_bytes": 7_614_386,
        "documents": 64210,
        "items": [["estore", "orders"]],
        "backup": {"name": "s3://b/k", "sums": {"orders": [1, "x"]}, "identity": ["b", "k"]},
    }
    assert "  source   age_seconds 2 h 2 min, size_bytes 7.6 MB, documents 64,210, backup name s3://b/k" in plan_lines(
        plan(source=source), "app1"
    )


def test_what_is_new_is_not_said_to_be_empty():
    change = {"op": "+", "object": "orders", "before": None, "after": {"type": "collection"}, "count": 0, "bytes": 0}
    assert change_line(change) == "+ orders: nothing -> type collection"
    assert change_line(dict(change, op="~", before="x")).endswith("(0 items, 0 B)")
