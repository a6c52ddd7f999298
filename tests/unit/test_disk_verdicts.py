"""Verdicts on the disks and their culprits as a table, and the sentences that a person reads."""

import pytest
from ansible.module_utils.mendbook.disk_verdicts import LIMITS, judged, summary, unexplained, verdicts
from ansible.module_utils.mendbook.verdicts import culprit, overall

HOLDER = {"pid": 812, "fd": "7", "command": "java", "user_id": 0, "unit": "shop.service", "container": None}
FOLDER = {"path": "/var/spool", "bytes": 700, "inodes": 9, "is_complete": True, "is_hidden": False}
CROWD = {**FOLDER, "path": "/var/sessions", "inodes": 5000}


def disk(mount="/", **changed):
    facts = {
        "mount": mount, "path": mount, "kind": "disk", "type": "ext4", "source": "/dev/vda", "read_only": False,
        "problem": None, "no_answer": False, "is_folder": True, "size_bytes": 1000, "used_bytes": 500,
        "free_bytes": 500, "reserved_bytes": 0, "used_share": 0.5, "inodes": 100, "inodes_free": 50,
        "inodes_used_share": 0.5, "overlays": 0,
    }  # fmt: skip
    return {**facts, **changed}


def deleted(size=0, **changed):
    one = {"path": "/var/log/a\x1b", "bytes": size, "mount": "/", "holders": [HOLDER]}
    return {"bytes": size, "largest": [one] if size else [], "by_mount": {"/": size}, "is_complete": True, **changed}


def walked(mount="/", **changed):
    facts = {
        "path": mount, "mount": mount, "bytes": 400, "used_bytes": 500, "is_complete": True, "is_whole": True,
        "folders": [FOLDER], "files": [], "most_files": [CROWD], "hidden": [], "unexplained_bytes": None,
    }  # fmt: skip
    return {**facts, **changed}


def seen(*rows, **changed):
    facts = {"deleted_open": deleted(), "largest": {}, "logs": {}, "wished_read_only": set(), "unseen": []}
    return {**facts, "file_systems": list(rows), **changed}


def judge(look, **changed):
    return {(one.get("mount"), one["check"]): one for one in verdicts(look, {**LIMITS, "ignore": [], **changed})}


@pytest.mark.parametrize(
    ("facts", "limits", "check", "word"),
    [
        ({"used_share": 0.9}, {}, "max_used_share", "ok"),
        ({"used_share": 0.9001}, {}, "max_used_share", "exceeded"),
        ({"used_share": 1.0}, {"max_used_share": 1.0}, "max_used_share", "ok"),
        ({"inodes_used_share": 0.95}, {}, "max_inodes_share", "exceeded"),
        ({"inodes_used_share": 0.95}, {"max_inodes_share": 0.96}, "max_inodes_share", "ok"),
        ({"free_bytes": 99}, {"min_free_bytes": 100}, "min_free_bytes", "exceeded"),
        ({"free_bytes": 100}, {"min_free_bytes": 100}, "min_free_bytes", "ok"),
        ({"size_bytes": None, "problem": "no answer within 5 s"}, {}, "max_used_share", "unknown"),
        # a size of memory counts as one of a disk: a full /run stops services
        ({"kind": "memory", "used_share": 1.0}, {}, "max_used_share", "exceeded"),
        ({"kind": "remote", "used_share": 1.0}, {}, "max_used_share", "exceeded"),
    ],
)
def test_a_file_system_against_its_thresholds(facts, limits, check, word):
    assert judge(seen(disk("/x", **facts)), **limits)["/x", check]["verdict"] == word


def test_what_does_not_answer_is_told_from_what_this_user_may_not_see():
    dead = disk("/dead", size_bytes=None, problem="no answer within 5 s", no_answer=True)
    closed = disk("/closed", size_bytes=None, problem="Permission denied")
    found = judge(seen(dead, closed, deleted_open=deleted(0, is_complete=False)))
    unknown = {mount: one["no_answer"] for (mount, _), one in found.items() if one["verdict"] == "unknown"}
    assert unknown == {"/dead": True, "/closed": False, None: False}
    # who holds what is deleted was asked, and was not told at all
    assert judge(seen(deleted_open={}))[None, "max_deleted_open_bytes"]["no_answer"]


def test_what_is_not_asked_or_not_there_has_no_verdict():
    checks = {check for _, check in judge(seen(disk("/x", inodes=None, inodes_used_share=None)))}
    assert checks == {"max_used_share", "max_deleted_open_bytes", "max_read_only"}


def test_an_image_is_full_by_nature_and_an_archive_by_wish():
    look = seen(disk("/snap", kind="image", used_share=1.0), disk("/archive", used_share=1.0, read_only=True), disk())
    assert {mount for mount, _ in judge(look, ignore=["/archive"])} == {"/", None}
    assert [one["mount"] for one in judged(look["file_systems"], ["/archive"])] == ["/"]


def test_bytes_are_blamed_on_the_largest_folder_and_inodes_on_the_one_with_most_files():
    full = disk(used_share=0.95, inodes_used_share=0.95)
    found = judge(seen(full, disk("/other", used_share=0.99), largest=walked()))
    assert found["/", "max_used_share"]["culprit"] == FOLDER and found["/", "max_inodes_share"]["culprit"] == CROWD
    # on the other one nobody has looked
    assert found["/other", "max_used_share"]["culprit"] == {}
    assert culprit(list(found.values())) == FOLDER


@pytest.mark.parametrize(
    ("held", "word"),
    [
        (deleted(1000), "ok"),
        (deleted(1001), "exceeded"),
        (deleted(1001, is_complete=False), "exceeded"),
        (deleted(1000, is_complete=False), "unknown"),
        ({}, "unknown"),
    ],
)
def test_deleted_files_that_are_not_seen_are_not_called_few(held, word):
    one = judge(seen(disk(), deleted_open=held), max_deleted_open_bytes=1000)[None, "max_deleted_open_bytes"]
    assert one["verdict"] == word
    assert one["culprit"].get("command") == ("java" if word == "exceeded" else None)


@pytest.mark.parametrize(
    ("facts", "wished", "word"),
    [
        ({"read_only": True}, set(), "exceeded"),
        ({"read_only": True}, {"/data"}, "ok"),
        ({"read_only": True, "kind": "memory"}, set(), "ok"),
        ({"read_only": True, "kind": "remote"}, set(), "ok"),
        ({}, set(), "ok"),
    ],
)
def test_a_disk_that_became_read_only_is_noticed(facts, wished, word):
    one = judge(seen(disk("/data", **facts), wished_read_only=wished))[None, "max_read_only"]
    assert one["verdict"] == word and ("/data" in one["says"]) is (word == "exceeded")


@pytest.mark.parametrize(
    ("largest", "held", "spare"),
    [
        ({}, deleted(), 100),
        ({}, deleted(60), 40),
        ({}, {}, 100),
        ({}, deleted(500), 0),
        ({"is_complete": False}, deleted(), None),
        ({"is_whole": False}, deleted(), None),
    ],
)
def test_what_is_in_use_and_in_no_file_is_told_only_when_all_was_read(largest, held, spare):
    assert unexplained(disk(), walked(**largest), held) == spare


def test_the_summary_is_lines_that_can_be_printed_with_the_bad_ones_first():
    hidden = [{"path": "/mnt\x1b", "bytes": 50_000_000}, {"path": "/run", "bytes": 4096}]
    logs = {
        "places": [{"path": "/var/log", "kind": "log", "bytes": 9000, "files": 2}],
        "not_rotated": [{"path": "/var/log/x\u202e.log", "bytes": 2 * 10**9}],
    }
    look = seen(
        disk(used_share=0.95),
        disk("/dead", size_bytes=None, problem="no answer within 5 s", no_answer=True),
        deleted_open=deleted(4 * 10**9),
        largest=walked(hidden=hidden, unexplained_bytes=90),
        logs=logs,
        unseen=["open files of 3 processes were not seen: that needs root (become)"],
    )
    found = verdicts(look, {**LIMITS, "ignore": []})
    lines = summary(look, found, {"target": {"id": "host:web1"}})
    assert overall(found) == "exceeded" and not any(char in line for line in lines for char in "\x1b\n\u202e")
    text = "\n".join(lines)
    assert "culprit: /var/spool (700 B, 9 inodes)" in text and "unknown: max_used_share: /dead: no answer" in text
    assert "culprit: java (pid 812, shop.service) with 4.0 GB" in text and r"/var/log/a\x1b 4.0 GB" in text
    assert r"50.0 MB lie hidden under what is mounted at /mnt\x1b" in text and "mounted at /run" not in text
    assert "90 B of / are in use and lie in none of its files" in text
    assert r"not rotated: /var/log/x\u202e.log 2.0 GB" in text and lines[-1].startswith("open files of 3 processes")


def test_where_all_is_well_that_is_said_in_a_line():
    look = seen(disk())
    lines = summary(look, verdicts(look, {**LIMITS, "ignore": []}), {"target": {"id": "host:web1"}})
    assert "ok: all 4 thresholds are kept" in lines and not any(line.startswith("exceeded") for line in lines)


def test_a_holder_in_a_container_is_named_by_it():
    who = {**HOLDER, "container": "f" * 64, "command": ""}
    held = deleted(2 * 10**9)
    held["largest"][0]["holders"] = [who]
    look = seen(disk(), deleted_open=held)
    text = "\n".join(summary(look, verdicts(look, {**LIMITS, "ignore": []}), {"target": {"id": "host:web1"}}))
    assert "a process (pid 812, container ffffffffffff)" in text
