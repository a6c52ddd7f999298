"""What statvfs says becomes facts; what never answers is given up; what lies on something else is left out."""

import errno
import os
import time

import pytest
from ansible.module_utils.mendbook import disk_space
from ansible.module_utils.mendbook.disk_mounts import file_systems, parse, visible
from ansible.module_utils.mendbook.disk_space import folded, numbers, row
from disk_children import settled

ROOT = "27 1 254:0 / / rw - ext4 /dev/vda rw"
OVERLAY = "60 27 0:60 / /data/merged rw - overlay overlay rw,lowerdir=/l,upperdir=/data/up,workdir=/data/w"
#         unit, blocks, free, available, inodes, free inodes, is a folder
HALF_FULL = [4096, 1000, 500, 450, 200, 150, True]


def rows_of(lines, answers):
    groups = file_systems(visible(parse("\n".join(lines).encode())))
    return [row(group, answers.get(group[0].point, HALF_FULL), groups) for group in groups]


def test_shares_are_those_of_df():
    (one,) = rows_of([ROOT], {})
    assert (one["size_bytes"], one["used_bytes"], one["free_bytes"]) == (4096000, 2048000, 1843200)
    assert one["reserved_bytes"] == 50 * 4096
    # what is reserved for root does not count as free
    assert one["used_share"] == round(500 / 950, 4) and one["inodes_used_share"] == 0.25


@pytest.mark.parametrize(
    ("answer", "used", "inodes"),
    [
        ([4096, 1000, 0, 0, 10, 0, True], 1.0, 1.0),
        ([4096, 1000, 50, 0, 10, 10, True], 1.0, 0.0),
        ([4096, 1000, 1000, 1000, 0, 0, True], 0.0, None),
        # a disk that is reserved as a whole
        ([4096, 1000, 1000, 0, 10, 5, True], 1.0, 0.5),
        ([4096, 0, 0, 0, 0, 0, True], None, None),
        (None, None, None),
    ],
)
def test_the_edges_of_what_can_be_said(answer, used, inodes):
    one = rows_of([ROOT], {"/": answer})[0]
    assert (one["used_share"], one["inodes_used_share"]) == (used, inodes)
    assert (one["problem"], one["no_answer"]) == (None, False)


@pytest.mark.parametrize(
    ("answer", "problem", "no_answer"),
    [
        ("no answer within 5 s", "no answer within 5 s", True),
        (errno.EIO, "Input/output error", True),
        (errno.ESTALE, "Stale file handle", True),
        (errno.ENOTCONN, "Transport endpoint is not connected", True),
        (errno.EACCES, "Permission denied", False),
        (errno.EPERM, "Operation not permitted", False),
        (errno.ENOENT, "No such file or directory", False),
    ],
)
def test_one_that_may_not_be_looked_at_is_not_one_that_does_not_answer(answer, problem, no_answer):
    one = rows_of([ROOT], {"/": answer})[0]
    assert (one["problem"], one["no_answer"], one["used_share"]) == (problem, no_answer, None)


def test_names_are_shown_and_never_obeyed():
    (one,) = rows_of(["30 1 0:40 / /a\x1b[31m\\012b\u202e rw - tmpfs \x07x rw"], {})
    assert (one["mount"], one["source"]) == (r"/a\x1b[31m\nb\u202e", r"\x07x")
    assert one["path"] == "/a\x1b[31m\nb\u202e"


def test_an_overlay_is_left_out_for_the_disk_that_it_writes_to():
    kept = folded(rows_of([ROOT, OVERLAY], {}))
    assert [(one["mount"], one["overlays"]) for one in kept] == [("/", 1)]
    bound = "28 27 254:0 /data /data rw - ext4 /dev/vda rw"
    inside = OVERLAY.replace("60 27", "60 28")
    assert [(one["mount"], one["overlays"]) for one in folded(rows_of([ROOT, bound, inside], {}))] == [("/", 1)]


def test_an_overlay_of_a_disk_that_is_not_seen_stands_for_itself():
    lines = [
        "60 1 0:60 / / rw - overlay overlay rw,upperdir=/var/lib/docker/overlay2/x/diff",
        "61 60 254:0 /var/lib/docker/containers/x/hosts /etc/hosts rw - ext4 /dev/vda rw",
        "62 60 254:1 /backups /backups rw - ext4 /dev/vdb rw",
    ]
    files, folders = [*HALF_FULL[:6], False], [4096, 77, 7, 7, 7, 7, True]
    kept = folded(rows_of(lines, {"/etc/hosts": files, "/backups": folders}))
    assert [one["mount"] for one in kept] == ["/", "/backups"]
    # a file that lies on another disk than the container does is worth a line
    other = [4096, 99, 9, 9, 9, 9, False]
    assert [one["mount"] for one in folded(rows_of(lines[:2], {"/etc/hosts": other}))] == ["/", "/etc/hosts"]


def test_what_has_no_space_and_what_one_may_not_look_at_is_told_apart():
    lines = [
        "40 1 0:40 / /proc rw - proc proc rw", "41 1 0:41 / /run/netns/a rw - nsfs nsfs rw",
        "42 1 8:1 / /secret rw - ext4 /dev/sdb rw", "43 1 0:43 / /net rw - nfs server:/x rw",
    ]  # fmt: skip
    denied = "Permission denied"
    answers = {"/proc": [4096, 0, 0, 0, 0, 0, True], "/run/netns/a": denied, "/secret": denied, "/net": denied}
    assert [one["mount"] for one in folded(rows_of(lines, answers))] == ["/secret", "/net"]


def test_what_screens_parts_of_the_kernel_s_folders_is_no_place_for_data():
    lines = ["44 1 0:44 / /proc/acpi ro - tmpfs tmpfs ro", "45 1 0:45 / /sys/fs/cgroup rw - tmpfs tmpfs rw"]
    data = "46 1 0:46 / /process rw - tmpfs tmpfs rw"
    assert [one["mount"] for one in folded(rows_of([*lines, data], {}))] == ["/process"]


@pytest.fixture
def statvfs(monkeypatch):
    """Paths that hang, in the place of those that a dead server would let hang; every look is of a child."""
    parent, hanging = os.getpid(), set()

    def look(path):
        assert os.getpid() != parent, "a file system is never asked in the module's own process"
        if path in hanging:
            children.hang()
        if path == "/died":
            children.over()
            os._exit(9)
        return HALF_FULL

    with settled() as children:
        monkeypatch.setattr(disk_space, "_numbers", look)
        yield hanging


def test_whoever_hangs_is_given_up_and_the_others_are_told(statvfs):
    statvfs.update({"/dead1", "/dead2", "/stuck"})
    points = [("/a", False), ("/dead1", True), ("/stuck", False), ("/b", False), ("/dead2", True), ("/alive", True)]
    started = time.monotonic()
    found = numbers(points, 1)
    # side by side, and one after the other only where nothing was to hang
    assert time.monotonic() - started < 30
    assert {path for path, answer in found.items() if answer == "no answer within 1 s"} == {
        "/dead1",
        "/dead2",
        "/stuck",
    }
    assert [found[path] for path in ("/a", "/b", "/alive")] == [HALF_FULL] * 3


def test_a_child_that_dies_takes_one_answer_with_it(statvfs):
    found = numbers([("/a", False), ("/died", False), ("/b", False), ("/alone", True)], 60)
    assert found == {"/a": HALF_FULL, "/died": "no answer within 60 s", "/b": HALF_FULL, "/alone": HALF_FULL}


def test_no_points_are_no_question():
    assert numbers([], 5) == {}


def test_what_is_wrong_with_a_place_is_said(tmp_path):
    missing, fine = str(tmp_path / "missing"), str(tmp_path)
    found = numbers([(missing, False), (fine, False)], 60)
    assert found[missing] == errno.ENOENT
    seen = os.statvfs(fine)
    assert found[fine][:2] == [seen.f_frsize, seen.f_blocks] and found[fine][6] is True
