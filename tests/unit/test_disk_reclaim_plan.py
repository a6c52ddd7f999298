"""What the plan of a clean-up says: totals, caps, risk, groups, notes, and when it is another plan."""

from __future__ import annotations

import json
import os

import pytest
from ansible.module_utils.mendbook.disk_reclaim_choice import Choice, choose
from ansible.module_utils.mendbook.disk_reclaim_plan import Observed, reclaim_plan, shown
from ansible.module_utils.mendbook.plan import MAX_ENTRIES, drift, refusals_in, trimmed
from disk_batches import NOTHING_ASKED, a_batch, a_root, a_rule, a_space, inode_of, with_files

PARAMS = {
    **NOTHING_ASKED,
    "rules": [{"root": "/var/log"}],
    "backups": [],
    "allowed_roots": ["/var/log"],
    "max_files": 100,
    "max_bytes": 10**9,
    "max_share": 0.9,
}
TARGET = {"kind": "host", "id": "host:web1", "address": None, "facts": {}}


def seen_of(*batches, opened=(), roots=None, space=None, machine="m1", holder=None, unseen=0, **params):
    roots = roots or list({id(batch.root): batch.root for batch in batches}.values())
    spaces = {root.device: space or a_space() for root in roots}
    held = {(batch.root.device, inode_of(batch, name)): 8 for batch in batches[:1] for name in opened}
    choice = choose(list(batches), held, spaces, {**PARAMS, **params}) if batches else Choice()
    return Observed(
        TARGET, machine, roots, choice, spaces, lambda device, inode: "java (pid 8)", unseen=unseen, holder=holder
    )


def plan_of(*batches, **facts):
    params = {**PARAMS, **{name: value for name, value in facts.items() if name in PARAMS}}
    return reclaim_plan(seen_of(*batches, **facts), params)[0]


def files(count, blocks=2):
    return [(f"f{number}.log", blocks) for number in range(count)]


@pytest.mark.parametrize(
    ("rule", "opened", "risk"),
    [
        (a_rule(), [], "changes"),
        (a_rule("cache"), [], "changes"),
        (a_rule("backups", keep_newest=1), [], "destroys"),
        (a_rule(), ["open.log"], "destroys"),
    ],
)
def test_backups_and_emptied_logs_destroy(rule, opened, risk):
    batch = with_files(a_batch(rule=rule), ("open.log", 40, 4096), ("older.log", 50, 4096))
    assert plan_of(batch, opened=opened, truncate_bytes=1)["risk"] == risk


def test_backups_of_which_all_stay_need_no_confirmation():
    batch = with_files(a_batch(rule=a_rule("backups", keep_newest=3)), ("a.gz", 90, 9))
    plan = plan_of(batch, a_batch(("b.log", 1)))
    assert plan["risk"] == "changes" and plan["totals"]["objects"] == 1
    assert "kept: 1 of /var/log backups, old as they are, because they are the newest of their row" in plan["notes"]


def test_a_long_plan_lists_the_largest_and_one_sum_for_each_rule():
    big = a_batch(*[(f"big{number}", 9) for number in range(600)], root=a_root("/tmp", device=2))
    small = a_batch(*files(3000), root=a_root(device=1))
    plan, objects = reclaim_plan(seen_of(small, big), PARAMS)
    assert len(plan["changes"]) <= MAX_ENTRIES and trimmed(plan)["changes"] == plan["changes"]
    assert sum(change.get("objects", 1) for change in plan["changes"]) == plan["totals"]["objects"] == 3600
    assert sum(change["bytes"] for change in plan["changes"]) == plan["totals"]["bytes"] == (600 * 9 + 3000 * 2) * 512
    assert [change["object"] for change in plan["changes"][:600]] == [f"/tmp/big{number}" for number in range(600)]
    rest = plan["changes"][-1]
    assert rest["object"] == f"{rest['objects']:,} more in /var/log logs" == objects["-", "/var/log logs"]
    # every file has a name in the plan, by itself or by its rule
    assert set(objects.values()) == {change["object"] for change in plan["changes"]}


@pytest.mark.parametrize(
    ("count", "all_files", "changed", "exceeded"),
    [
        (10, 1000, {"max_files": 9}, ["cap files"]),
        (10, 1000, {"max_files": 10}, []),
        (10, 1000, {"max_bytes": 10 * 1024 - 1}, ["cap bytes"]),
        (10, 10, {}, []),
        (11, 11, {}, ["cap share of the files in /var/log"]),
        (11, 11, {"max_share": 1.0}, []),
        (11, 13, {}, []),
    ],
)
def test_caps(count, all_files, changed, exceeded):
    batch = a_batch(*files(count), root=a_root(files=all_files))
    assert [entry["rule"] for entry in refusals_in(plan_of(batch, **changed))] == exceeded


def test_of_a_cache_all_may_go():
    batch = a_batch(*files(50), root=a_root(files=50), rule=a_rule("cache"))
    assert refusals_in(plan_of(batch)) == []


def test_the_share_is_that_of_the_root_where_it_is_largest():
    batches = [
        a_batch(*files(20), root=a_root(files=1000)),
        a_batch(*files(20), root=a_root("/var/log/shop", files=21)),
    ]
    (refused,) = refusals_in(plan_of(*batches))
    assert refused["rule"] == "cap share of the files in /var/log/shop" and "clock" in refused["override"]
    # of all that is there it is another one
    assert "share" not in plan_of(*batches)["totals"]


@pytest.mark.parametrize(
    ("before", "after", "differs"), [(1, 11, False), (1, 12, True), (40, 60, False), (40, 61, True), (40, 0, False)]
)
def test_logs_move_within_reason(before, after, differs):
    approved, fresh = (plan_of(a_batch(*files(count))) for count in (before, after))
    assert bool(drift(approved, fresh)) is differs


def test_files_that_have_grown_are_another_plan():
    assert drift(plan_of(a_batch(*files(40))), plan_of(a_batch(*files(40, blocks=4))))


@pytest.mark.parametrize(
    "changed", [{"rules": []}, {"max_files": 99}, {"target_free_bytes": 5}, {"machine": "m2"}, {"truncate_bytes": 5}]
)
def test_other_rules_and_another_machine_are_another_plan(changed):
    assert drift(plan_of(a_batch(*files(3))), plan_of(a_batch(*files(3)), **changed))


@pytest.mark.parametrize("changed", [{"device": 9}, {"inode": 9}])
def test_a_root_that_was_replaced_is_another_plan(changed):
    other = a_root()
    vars(other).update(changed)
    assert drift(plan_of(a_batch(*files(3))), plan_of(a_batch(*files(3), root=other)))


def test_a_read_only_file_system_is_refused_when_something_is_to_go():
    root = a_root()
    root.is_read_only = True
    (refused,) = refusals_in(plan_of(a_batch(("a", 1), root=root)))
    assert refused["rule"] == "read_only" and "dmesg" in refused["override"]
    assert refusals_in(plan_of(a_batch(root=root))) == []


def test_what_stays_is_told_with_its_reason():
    root = a_root(linked=3, future=2, elsewhere=["data"], missed={"Permission denied": 4}, is_complete=False)
    holder = {"run": "r1", "holder": "anna", "host": "ops1", "since": "now"}
    notes = "\n".join(
        plan_of(a_batch(("a.log", 9), ("b", 1), root=root), opened=["a.log"], holder=holder, unseen=7)["notes"]
    )
    for words in (
        "1 old files (4.6 kB) are open, and removing them would free nothing: /var/log/a.log by java (pid 8)",
        "disk_clean_truncate_bytes empties open logs",
        "3 old files in /var/log have several names",
        "2 files in /var/log are from the future",
        "1 folders in /var/log are other file systems or mounts: data",
        "4 folders in /var/log: Permission denied",
        "not all of /var/log was looked at",
        "7 processes of other users",
        "locked now by run r1 of anna on ops1",
    ):
        assert words in notes


@pytest.mark.parametrize(
    ("space", "wanted", "words"),
    [
        (a_space(free_bytes=5000), 1000, "5.0 kB are free on the disk of /var/log, which is the target"),
        (a_space(), 10**6, "even then only 1.0 kB of the 1.0 MB that are the target will be free"),
        (a_space(), 1000, "the largest go first, and no more than the target needs"),
    ],
)
def test_the_target_is_compared_with_what_will_be_free(space, wanted, words):
    assert words in "\n".join(plan_of(a_batch(("a", 2)), space=space, target_free_bytes=wanted)["notes"])


def test_old_files_that_the_target_does_not_need_are_not_said_to_be_young():
    plan = plan_of(a_batch(("a", 2)), space=a_space(free_bytes=5000), target_free_bytes=1000)
    assert plan["notes"] == ["5.0 kB are free on the disk of /var/log, which is the target"]


def test_inodes_that_will_not_be_enough_are_told():
    plan = plan_of(a_batch(("a", 2)), space=a_space(free_bytes=900_000, free_inodes=5), target_free_share=0.5)
    assert "even then only 6 of 500 inodes will be free on the disk of /var/log" in plan["notes"]


def test_nothing_to_remove_is_a_plan_without_changes():
    plan = plan_of(a_batch())
    assert (plan["changes"], plan["risk"], plan["refusals"]) == ([], "changes", [])
    assert plan["notes"][0].startswith("nothing to remove")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/var/log/a b", "/var/log/a b"),
        ("/var/log/a\nb", r"/var/log/a\nb"),
        ("/var/log/\x1b[31m", r"/var/log/\x1b[31m"),
        (os.fsdecode(b"/var/log/\xff"), r"/var/log/\xff"),
        ("/var/log/\u202e", r"/var/log/\u202e"),
    ],
)
def test_a_name_is_shown_as_text_that_any_reader_takes(path, text):
    assert shown(path) == text and json.loads(json.dumps(shown(path)).encode("utf-8")) == text
