"""diagnose_disk on real file systems, full, read-only, bound, covered, against df; and it changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from local_inventory import local_inventory

pytestmark = pytest.mark.e2e
pytest_plugins = ["mount_lab"]


def df(disks, point):
    """What df says: size, used and free bytes, their share in percent, inodes, used and free ones."""
    fields = "size,used,avail,pcent,itotal,iused,iavail"
    return [int(word.rstrip("%")) for word in disks.run("df", "-B1", f"--output={fields}", point).split()[-7:]]


def same_as_df(disks, facts, point):
    size, used, free, percent, inodes, _, inodes_free = df(disks, point)
    row = disks.row_of(facts, point)
    assert (row["size_bytes"], row["used_bytes"], row["free_bytes"]) == (size, used, free)
    # df rounds up
    assert percent - 1 <= row["used_share"] * 100 <= percent
    assert (row["inodes"], row["inodes_free"]) == (inodes, inodes_free)
    return row


def test_a_disk_that_is_full_of_bytes_is_named_with_what_fills_it(disks):
    full = disks.ext4("full", 24)
    disks.sh('mkdir -p "$1/app/logs" "$1/small"; head -c 3000000 /dev/zero >"$1/small/x"', full)
    disks.sh('head -c 50000000 /dev/zero >"$1/app/logs/debug.log" 2>/dev/null || true', full)
    facts = disks.info(path=str(full))
    row = same_as_df(disks, facts, full)
    # root has filled what is reserved, too
    assert row["free_bytes"] == 0 and row["used_share"] == 1.0 and facts["verdict"] == "exceeded"
    assert disks.verdicts_of(facts, full)["max_used_share"] == "exceeded"
    assert facts["culprit"]["path"] == str(full / "app/logs")
    assert facts["culprit"]["bytes"] == int(disks.run("du", "-s", "-B1", full / "app/logs").split()[0])
    failed = disks.info(path=str(full), fail=True)
    assert (failed["rc"], failed["mend"]["reason"], failed["mend"]["rule"]) == (1, "verify", "thresholds")
    assert f"{full}: 100% used" in failed["msg"]


def test_reserved_blocks_are_told_apart_from_free_ones(disks):
    point = disks.ext4("reserved", 24, "loop", "-m", "20")
    row = same_as_df(disks, disks.info(path=str(point)), point)
    assert row["reserved_bytes"] > row["size_bytes"] * 0.18
    facts = disks.info(path=str(point), min_free_bytes=row["free_bytes"] + 1)
    assert disks.verdicts_of(facts, point)["min_free_bytes"] == "exceeded"
    facts = disks.info(path=str(point), min_free_bytes=row["free_bytes"])
    assert disks.verdicts_of(facts, point)["min_free_bytes"] == "ok"


def test_a_disk_that_is_full_of_inodes_is_named_with_the_folder_of_most_files(disks):
    full = disks.tmpfs("inodes", "size=10m,nr_inodes=500")
    disks.sh('mkdir "$1/sessions" "$1/few"; touch "$1/few/one"; head -c 999999 /dev/zero >"$1/few/large"', full)
    disks.sh('cd "$1/sessions"; seq 900 | xargs touch 2>/dev/null || true', full)
    facts = disks.info(path=str(full))
    row = same_as_df(disks, facts, full)
    assert row["inodes_free"] == 0 and row["used_share"] < 0.2
    assert disks.verdicts_of(facts, full) == {"max_used_share": "ok", "max_inodes_share": "exceeded"}
    assert facts["culprit"]["path"] == str(full / "sessions")
    assert facts["largest"]["folders"][0]["path"] == str(full / "few")


def test_a_disk_that_became_read_only_after_an_error_is_told_from_one_that_is_to_be(disks):
    broken = disks.ext4("broken", 24, "loop,errors=remount-ro")
    disks.sh(
        'mkdir "$1/../bound-ro"; mount --bind "$1" "$1/../bound-ro"; mount -o remount,ro,bind "$1/../bound-ro"', broken
    )
    assert disks.row_of(disks.info(), broken)["read_only"] is False
    disks.run("mount", "-o", "remount,ro", broken)
    facts = disks.info()
    (one,) = [one for one in facts["verdicts"] if one["check"] == "max_read_only"]
    assert one["verdict"] == "exceeded" and str(broken) in one["says"] and disks.row_of(facts, broken)["read_only"]
    facts = disks.info(ignore=[str(broken)])
    assert str(broken) not in next(one for one in facts["verdicts"] if one["check"] == "max_read_only")["says"]


def test_a_bind_mount_is_the_same_disk_and_an_overlay_lies_on_it(disks):
    disk = disks.ext4("disk")
    disks.sh('cd "$1"; mkdir ../bound ../merged low up work part; mount --bind part ../bound', disk)
    disks.sh('mount -t overlay -o "lowerdir=$1/low,upperdir=$1/up,workdir=$1/work" overlay "$1/../merged"', disk)
    facts = disks.info()
    row = same_as_df(disks, facts, disk)
    assert row["also_at"] == [str(disk.parent / "bound")] and (row["mounts"], row["overlays"]) == (2, 1)
    assert not {"bound", "merged"} & {Path(one["mount"]).name for one in facts["file_systems"]}
    # what the disk below holds is no riddle of the overlay
    merged = disks.info(path=str(disk.parent / "merged"))["largest"]
    assert merged["is_complete"] and merged["unexplained_bytes"] is None


def test_a_disk_under_another_one_at_the_same_place_is_not_asked(disks):
    point = disks.tmpfs("twice", "size=1m")
    disks.run("mount", "-t", "tmpfs", "-o", "size=7m", "upper", point)
    facts = disks.info()
    same_as_df(disks, facts, point)
    assert disks.row_of(facts, point)["source"] == "upper"
    # and what a mount above hides is not taken for what is seen there
    inner = disks.tmpfs("twice/inner", "size=2m")
    disks.run("mount", "-t", "tmpfs", "-o", "size=9m", "cover", point)
    assert str(inner) not in {one["mount"] for one in disks.info()["file_systems"]}


def test_a_mount_point_with_any_name_is_shown_and_never_obeyed(disks):
    point = disks.folder / "m" / "a \x1b[31m\n\\040"
    disks.run("mkdir", point)
    disks.run("mount", "-t", "tmpfs", "-o", "size=1m", "no\ne", point)
    disks.sh('head -c 1000000 /dev/zero >"$1/x" || true', point)
    facts = disks.info(path=str(point))
    shown = f"{disks.folder}/m/a \\x1b[31m\\n\\040"
    (row,) = [one for one in facts["file_systems"] if one["mount"] == shown]
    assert row["used_share"] > 0.9 and facts["largest"]["mount"] == shown
    assert not any(char in line for line in facts["summary"] for char in "\x1b\n")


def test_the_fullest_disk_is_looked_at_where_none_is_named(disks):
    full = disks.ext4("full", 24, "loop", "-m", "0")
    disks.sh('mkdir "$1/a"; head -c 50000000 /dev/zero >"$1/a/x" 2>/dev/null || true', full)
    # memory is no disk, however full it is
    disks.sh('head -c 2000000 /dev/zero >"$1/x" 2>/dev/null || true', disks.tmpfs("memory", "size=1m"))
    facts = disks.info(path=None)
    assert facts["largest"]["path"] == str(full) and facts["largest"]["folders"][0]["path"] == str(full / "a")
    assert disks.info(path=None, ignore=[str(full)], walk_seconds=1)["largest"]["path"] != str(full)
    quick = disks.info(path=None, walk_seconds=0)
    assert quick["largest"] == quick["logs"] == {} and quick["verdict"] == "exceeded" and quick["culprit"] == {}


@pytest.mark.parametrize(
    ("options", "reason", "rule", "words"),
    [
        ({"path": "relative"}, "refused", "path", "must be absolute"),
        ({"path": "/no/such/fol\x1bder"}, "nothing", "path", r"/no/such/fol\x1bder: No such file or directory"),
        ({"path": "/etc/passwd"}, "nothing", "path", "Not a directory"),
        ({"path": ""}, "refused", "path", "must be absolute"),
        ({"limit": 0}, "refused", "limit", "1 or more"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_by_name(disks, options, reason, rule, words):
    facts = disks.info(**options)
    assert (facts["rc"], facts["mend"]["reason"], facts["mend"]["rule"]) == (1, reason, rule)
    assert words in facts["msg"]


@pytest.fixture
def inventory(tmp_path) -> Path:
    """This machine, in the place of MongoDB and S3."""
    return local_inventory(tmp_path / "inventory.yml", "here", "hosts", disk_info_docker_host="unix:///nowhere.sock")


@pytest.fixture
def sandbox_secrets() -> dict[str, str]:
    return {}


def test_the_playbook_tells_what_is_there_and_changes_nothing(disks, playbook, tmp_path):
    full = disks.ext4("full", 24, "loop,strictatime")
    disks.sh('mkdir "$1/a"; head -c 50000000 /dev/zero >"$1/a/x" 2>/dev/null || true', full)
    disks.sh('touch -a -d 2001-01-01 "$1" "$1/a" "$1/a/x"', full)
    among_mounts = tmp_path / "ansible-playbook"
    program = Path(sys.executable).with_name("ansible-playbook")
    among_mounts.write_text(f'#!/bin/sh\nexec {" ".join(disks.inside)} --wdns="$PWD" {program} "$@"\n')
    among_mounts.chmod(0o755)
    # every fact of every file with its times, the numbers of the disk, and what is mounted
    look = """stat -c "%n %i %f %h %u %s %b %x %y %z" "$1" "$1/a" "$1/a/x"
        df -B1 "$1"; df -i "$1"; cat /proc/self/mountinfo"""
    before = disks.sh(look, full)
    for arguments in ((), ("--check",)):
        done = playbook("diagnose_disk", *arguments, program=among_mounts)
        assert done.rc == 0, done.stdout
        (facts,) = done.of("mend_disk_info")
        assert facts["changed"] is False and facts["culprit"]["path"] == str(full / "a")
        said = " ".join(done.stdout.split())
        assert f"{full}: 100% used" in said
        # an engine that is not there is a fact, and no failure
        (engine,) = done.of("mend_docker_info")
        assert engine["present"] is False and " ".join(engine["summary"][0].split()) in said
    assert disks.sh(look, full) == before
