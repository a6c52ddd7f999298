"""The structs of the wrapper hold exactly what modules, gate and backups write."""

import json

import msgspec
import pytest
from ansible.module_utils.mendbook import manifest, plan
from ansible.module_utils.mendbook.journal import Journal

from mendbook.records import BackupManifest, JournalLine, Plan

CHANGE = {"op": "~", "object": "orders", "before": 1, "after": 2, "count": 3, "bytes": 4, "group": "g"}


def make_plan(**changed):
    facts = {
        "module": "mend_x",
        "target": {"kind": "mongo", "id": "rs0@h:1/d", "address": "h:1", "facts": {"version": "6.0.5"}},
        "risk": "destroys",
        "changes": [CHANGE],
        "totals": {"share": 0.5, "collections": 1},
        "caps": [plan.cap("objects", 10, 1, "-e x=1")],
        "identity": ["u"],
        "tolerance": {"count": 0.1},
        "expected_seconds": 1.5,
        "undo": {"procedure": "undo_x", "variables": {"token": "t"}, "until": "2026-03-02T00:00:00Z"},
        "source": {"key": "k"},
        "notes": ["n"],
        "refusals": [plan.refusal("age", "too old", 2, 1, "-e y=1")],
    }
    return plan.make_plan(**(facts | changed))


def fields(struct):
    return {field.name for field in msgspec.structs.fields(struct)}


def test_a_plan_of_a_module_is_read_whole():
    made = make_plan()
    read = msgspec.convert(made, Plan)
    assert fields(Plan) == set(made)
    assert msgspec.to_builtins(read) == made


def test_a_trimmed_plan_is_read():
    long = make_plan(changes=[dict(CHANGE, object=f"o{i}", op="+~-"[i % 3], group=f"g{i}") for i in range(5000)])
    read = msgspec.convert(long | {"changes": plan.trim(long["changes"])}, Plan)
    assert len(read.changes) == plan.MAX_ENTRIES and read.changes[-1].objects > 1


def test_a_plan_without_a_way_back_says_why():
    assert msgspec.convert(make_plan(undo={"none": "gone"}), Plan).undo.none == "gone"


@pytest.mark.parametrize(
    "broken",
    [
        {"schema": 2},
        {"risk": "harmless"},
        {"target": {"kind": "x"}},
        {"changes": [{"op": "!", "object": "x"}]},
        {"changes": 1},
    ],
)
def test_what_is_not_a_plan_of_schema_1_is_not_read(broken):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(make_plan() | broken, Plan)


def test_what_a_newer_mendbook_adds_is_ignored():
    assert msgspec.convert(make_plan() | {"weather": "fine"}, Plan).module == "mend_x"


def test_journal_lines_are_read(tmp_path):
    journal = Journal("20261121T093000Z-5f3a9c", str(tmp_path), procedure="restore_mongo", who={"user": "u", "pid": 1})
    begun = journal.begin(plan=make_plan(), host="h", target={"id": "x"}, plan_sha256="0" * 64)
    begun.end(done=[CHANGE], state="done")
    lines = [json.loads(line) for line in open(journal.path)]
    read = [msgspec.convert(line, JournalLine) for line in lines]
    assert [line.event for line in read] == ["begin", "end"]
    assert read[1].prev is not None and read[1].done == [CHANGE]


def test_the_shortest_manifest_that_the_modules_accept_is_read():
    text = {"schema": 1, "object": {"key": "k", "size": 1, "sha256": "0" * 64}, "finished": "2026-03-01T00:00:00Z"}
    assert msgspec.convert(manifest.parse(json.dumps(text).encode(), "m"), BackupManifest).object.size == 1
