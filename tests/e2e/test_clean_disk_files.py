"""mend_disk_reclaim on real folders: what goes, what stays, and what the result says."""

from __future__ import annotations

import os
import time

import pytest
from ansible.module_utils.mendbook import disk_reclaim
from ansible.module_utils.mendbook.disk_reclaim_walk import MAX_DEPTH

from disk_places import held_open, mounted, mounted_file

pytestmark = pytest.mark.e2e
pytest_plugins = ["disk_lab"]
DAY = 86400


def test_check_mode_predicts_what_a_run_does_and_changes_nothing(disk):
    for number in range(5):
        disk.file(f"a{number}.log", size=number * 10_000)
        disk.file(f"deep/er/b.log.{number}.gz")
        disk.file(f"young{number}.log", days=29)
    before = disk.names()
    planned = disk.plan()
    assert planned["changed"] and disk.names() == before
    result = disk.act(planned)
    assert result["plan"]["changes"] == planned["plan"]["changes"]
    assert {one["object"] for one in result["done"]} == {one["object"] for one in planned["plan"]["changes"]}
    assert disk.names() == [f"young{number}.log" for number in range(5)]
    assert (result["state"], result["read_back"]["gone"]) == ("done", 10)
    again = disk.reclaim()
    assert (again["state"], again["changed"], again["rc"]) == ("nothing to do", False, 0)


def test_without_a_receipt_nothing_is_removed(disk):
    disk.file("a.log")
    result = disk.plan(check=False)
    assert (result["rc"], result["mend"]["rule"], disk.names()) == (1, "receipt", ["a.log"])


def test_hostile_names_are_files_like_any_other(disk):
    names = [
        b"-rf.log", b"--help.log", b"a b.log", b"a\nb.log", b"$(touch x).log", b"{{ 7*7 }}.log", b"\xff\xfe.log",
        b"*.log", b"'\".log", "\u202egol.log".encode(), b"..log", b"x" * 251 + b".log", b"\x1b[2J.log", b" .log",
    ]  # fmt: skip
    for name in names:
        disk.file(name)
    disk.file(b"-rf")
    result = disk.reclaim()
    assert (result["state"], disk.gone(result), disk.names()) == ("done", len(names), ["-rf"])
    assert all(one["object"].isprintable() for one in result["done"])


@pytest.mark.parametrize(("days", "stays"), [(-1, True), (-4000, True), (0, True), (29.9, True), (30.1, False)])
def test_the_age_counts_from_the_last_writing_and_the_future_is_young(disk, days, stays):
    disk.file("a.log", days=days)
    planned = disk.plan()
    assert (planned["plan"]["changes"] == []) is stays
    assert any("from the future" in note for note in planned["plan"]["notes"]) is (days < 0)


@pytest.mark.parametrize("kind", ["cache", "temporary"])
def test_what_has_just_come_into_a_cache_is_young_whatever_its_date(disk, kind, monkeypatch):
    disk.file("unpacked", days=400)
    rules = [disk.rule("*", kind=kind, min_age_seconds=DAY)]
    assert disk.plan(rules=rules)["plan"]["changes"] == []
    real = time.time
    monkeypatch.setattr(disk_reclaim.time, "time", lambda: real() + 2 * DAY)
    assert disk.gone(disk.reclaim(rules=rules)) == 1


def test_no_link_no_pipe_and_no_file_with_two_names_goes(disk):
    outside = disk.file("outside.log", folder=disk.victims)
    (disk.root / "link.log").symlink_to(outside)
    (disk.root / "nowhere.log").symlink_to("/nowhere")
    (disk.root / "folder.log").mkdir()
    (disk.root / "way").symlink_to(disk.victims)
    os.mkfifo(disk.root / "pipe.log")
    os.link(disk.file("twice.log"), disk.victims / "other-name")
    disk.file("a.log")
    result = disk.reclaim()
    assert disk.gone(result) == 1
    assert disk.names() == ["link.log", "nowhere.log", "pipe.log", "twice.log", "way"] and outside.exists()
    assert any("have several names" in note for note in result["plan"]["notes"])


def test_a_folder_with_a_rule_of_its_own_is_left_to_that_rule(disk):
    disk.file("a.log")
    disk.file("shop/b.log")
    disk.file("shop/deep/c.log", days=100)
    rules = [disk.rule(), disk.rule(root=f"{disk.root}/shop", min_age_seconds=90 * DAY)]
    assert disk.gone(disk.reclaim(rules=rules)) == 2 and disk.names() == ["shop/b.log"]


def test_of_two_rules_for_a_folder_the_first_that_knows_a_name_has_it(disk):
    disk.file("a.log")
    disk.file("a.gz")
    rules = [disk.rule("a.*", min_age_seconds=90 * DAY), disk.rule("*.gz", "*.log")]
    assert disk.plan(rules=rules)["plan"]["changes"] == []


def test_a_rule_that_does_not_recurse_stays_in_its_folder(disk):
    disk.file("a.log")
    disk.file("below/b.log")
    assert disk.gone(disk.reclaim(rules=[disk.rule(recurse=False)])) == 1 and disk.names() == ["below/b.log"]


def test_folders_stay_unless_they_become_empty_and_that_is_asked_for(disk):
    for folder in ("one", "two", "three/below"):
        disk.file(f"{folder}/a.log")
    disk.file("two/young.log", days=1)
    disk.reclaim()
    assert sorted(path.name for path in disk.root.iterdir()) == ["one", "three", "two"]
    for folder in ("one", "two"):
        disk.file(f"{folder}/a.log")
    result = disk.reclaim(remove_empty_folders=True)
    assert sorted(path.name for path in disk.root.iterdir()) == ["three", "two"]
    assert (result["state"], disk.gone(result)) == ("done", 3)


def test_backups_keep_their_newest_and_ask_for_a_confirmation(disk):
    for day in range(1, 11):
        disk.file(f"shop-2026-01-{day:02}.sql.gz", days=100 - day)
    disk.file("shop-2026-01-11.sql.gz", days=89, size=0)
    planned = disk.plan(backups=[disk.rule("*.sql.gz", keep_newest=3)])
    assert planned["plan"]["risk"] == "destroys" and planned["plan"]["totals"]["objects"] == 7
    disk.act(planned, backups=[disk.rule("*.sql.gz", keep_newest=3)])
    assert disk.names() == [f"shop-2026-01-{day:02}.sql.gz" for day in (8, 9, 10, 11)]


def test_an_open_file_stays_and_who_has_it_is_named(disk):
    opened = disk.file("open.log", size=100_000)
    disk.file("a.log")
    with held_open(opened) as pid:
        result = disk.reclaim()
    assert disk.names() == ["open.log"] and disk.gone(result) == 1
    (note,) = [note for note in result["plan"]["notes"] if "are open" in note]
    assert f"open.log by sleep (pid {pid})" in note


def test_an_open_log_is_emptied_and_its_space_is_free_at_once(disk):
    young, small = disk.file("young.log", days=0, size=3 << 20), disk.file("small.log", size=5000)
    closed = disk.file("closed.log", days=0, size=3 << 20)
    with held_open(young) as pid, held_open(small):
        result = disk.reclaim(truncate_bytes=1 << 20)
        assert (result["state"], disk.gone(result)) == ("done", 1), result
        assert young.stat().st_blocks == 0 and small.stat().st_size == 5000 and closed.stat().st_size == 3 << 20
        # a program that appends goes on at the beginning
        with open(f"/proc/{pid}/fd/1", "a") as file:
            file.write("on\n")
        assert young.read_text() == "on\n"
    assert result["plan"]["risk"] == "destroys" and result["done"][0]["op"] == "~"


def test_what_is_too_much_to_look_at_is_said_and_the_rest_goes(disk):
    for number in range(50):
        disk.file(f"{number}/a.log")
    result = disk.reclaim(max_entries=60, max_share=1)
    assert 0 < disk.gone(result) < 50 and any("not all of" in note for note in result["plan"]["notes"])
    assert disk.plan(max_seconds=0)["plan"]["changes"] == []


def test_folders_in_folders_without_end_are_left(disk):
    deep = disk.root
    for _ in range(MAX_DEPTH + 3):
        deep = deep / "d"
    disk.file("a.log", folder=deep)
    disk.file("b.log")
    result = disk.reclaim()
    assert disk.gone(result) == 1 and any("deeper than one looks" in note for note in result["plan"]["notes"])


def test_a_mount_inside_a_root_is_never_entered_not_even_one_of_the_same_device(disk):
    disk.file("a.log")
    disk.file("bound.log", folder=disk.victims)
    with mounted(disk.root / "memory") as other, mounted(disk.root / "bound", "bind", str(disk.victims)):
        disk.file("b.log", folder=other)
        assert os.stat(disk.root / "bound").st_dev == os.stat(disk.root).st_dev
        result = disk.reclaim()
        assert disk.names(other) == ["b.log"] and disk.names(disk.victims) == ["bound.log"]
    assert disk.gone(result) == 1
    (note,) = [note for note in result["plan"]["notes"] if "not entered" in note]
    assert "memory" in note and "bound" in note


def test_on_an_overlay_files_of_both_layers_are_known_and_open_ones_stay(disk, tmp_path):
    disk.file("lower.log", folder=disk.victims)
    disk.file("held.log", folder=disk.victims)
    with mounted(tmp_path / "memory") as memory:
        (memory / "upper").mkdir()
        (memory / "work").mkdir()
        layers = f"lowerdir={disk.victims},upperdir={memory}/upper,workdir={memory}/work"
        with mounted(disk.root, layers, "overlay"):
            for name in ("upper.log", "open.log"):
                disk.file(name)
            # a file that is opened to be written moves to the upper layer
            assert len({os.stat(disk.root / name).st_dev for name in ("", "lower.log", "upper.log")}) == 3
            with held_open(disk.root / "open.log"), (disk.root / "held.log").open():
                result = disk.reclaim()
                assert (result["state"], disk.gone(result)) == ("done", 2), result
                assert disk.names() == ["held.log", "open.log"]
    assert disk.names(disk.victims) == ["held.log", "lower.log"]


def test_a_file_that_is_mounted_on_stays(disk):
    disk.file("a.log")
    victim = disk.file("b.log", folder=disk.victims)
    with mounted_file(victim, disk.file("mounted.log")):
        result = disk.reclaim()
        assert disk.names() == ["mounted.log"] and victim.exists()
    assert (result["state"], result["mend"]["rule"]) == ("partial", "blocked")
    assert disk.reasons(result)["mounted.log"] == "something is mounted on it"


@pytest.mark.parametrize(
    ("make", "reason", "words"),
    [
        (lambda root: root.symlink_to("victims"), "refused", "is a link"),
        (lambda root: root.touch(), "refused", "is not a folder"),
        (lambda root: None, "nothing", "there is no"),
    ],
)
def test_a_root_that_is_a_link_or_no_folder_is_refused(disk, make, reason, words):
    disk.file("a.log", folder=disk.victims)
    disk.root.rmdir()
    make(disk.root)
    result = disk.reclaim()
    assert (result["mend"]["reason"], result["mend"]["rule"]) == (reason, "root") and words in result["msg"]
    assert disk.names(disk.victims) == ["a.log"]


def test_a_link_on_the_way_to_a_root_is_refused_and_says_what_to_name(disk):
    disk.file("sub/a.log")
    way = disk.root.with_name("way")
    way.symlink_to(disk.root)
    result = disk.reclaim(rules=[disk.rule(root=f"{way}/sub")], allowed_roots=[str(way)])
    assert result["mend"]["reason"] == "refused" and f"it leads to {disk.root}" in result["msg"]
    assert disk.names() == ["sub/a.log"]
