"""Logs that nobody rotates, in the places where they lie."""

import os

import pytest
from ansible.module_utils.mendbook import disk_logs
from ansible.module_utils.mendbook.disk_logs import logs


def look(places, seconds=60, limit=20):
    *_, found = logs({str(path): kind for path, kind in places.items()}, seconds, limit)
    return found


def write(path, size=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


@pytest.mark.parametrize(
    ("beside", "is_rotated"),
    [
        ("app.log.1", True), ("app.log.2.gz", True), ("app.log-20260101", True), ("app.log-20260101.xz", True),
        ("app-20260101.log.gz", True), ("app.log.old", True),
        ("app.log.2026-01-01", True), ("app.log.2026-01-01.zip", True),
        ("application.log.1", False), ("other.log.1", False), ("app.log2", False), ("app.log.bak", False),
    ],
)  # fmt: skip
def test_a_log_with_an_older_part_beside_it_is_rotated(tmp_path, beside, is_rotated):
    write(tmp_path / "app.log", 9000)
    write(tmp_path / beside)
    (one,) = [one for one in look({tmp_path: "log"})["largest"] if one["path"] == str(tmp_path / "app.log")]
    assert one["is_rotated"] is is_rotated


def test_older_parts_themselves_are_no_logs_that_grow(tmp_path):
    for name in ("a.1", "a.log.2.gz", "a-20260101", "a.old", "b.gz", "a.log.2026-01-01", "a_20260101T10Z"):
        write(tmp_path / name, 5000)
    found = look({tmp_path: "log"})
    assert found["largest"] == [] and found["places"][0]["files"] == 7


def test_places_in_each_other_count_apart_and_missing_ones_not_at_all(tmp_path):
    write(tmp_path / "log/shop/app.log", 20000)
    write(tmp_path / "log/journal/id/system.journal", 50000)
    write(tmp_path / f"containers/{'f' * 64}/{'f' * 64}-json.log", 30000)
    (tmp_path / "empty").mkdir()
    found = look({
        tmp_path / "log": "log", tmp_path / "log/journal": "journal", tmp_path / "containers": "container",
        tmp_path / "missing": "log", tmp_path / "empty": "log",
    })  # fmt: skip
    sizes = {one["kind"]: one["bytes"] for one in found["places"]}
    assert sizes["journal"] >= 50000 > sizes["container"] >= 30000 > sizes["log"] >= 20000
    assert [one["kind"] for one in found["largest"]] == ["container", "log"] and found["is_complete"]


def test_links_are_not_followed_and_what_is_no_file_is_no_log(tmp_path):
    write(tmp_path / "elsewhere/huge.log", 10**6)
    (tmp_path / "log").mkdir()
    (tmp_path / "log/file").symlink_to(tmp_path / "elsewhere/huge.log")
    (tmp_path / "log/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "log/loop").symlink_to(tmp_path / "log")
    os.mkfifo(tmp_path / "log/fifo.log")
    assert look({tmp_path / "log": "log"})["places"] == []


def test_a_place_that_is_a_link_itself_is_read(tmp_path):
    write(tmp_path / "data/app.log", 5000)
    (tmp_path / "log").symlink_to(tmp_path / "data")
    assert look({tmp_path / "log": "log"})["places"][0]["files"] == 1


def test_only_the_largest_are_kept(tmp_path):
    for number in range(1, 9):
        write(tmp_path / f"{number}x.log", number * 5000)
    names = [os.path.basename(one["path"]) for one in look({tmp_path: "log"}, limit=3)["largest"]]
    assert names == ["8x.log", "7x.log", "6x.log"]


def test_a_folder_that_may_not_be_read_is_counted(tmp_path, monkeypatch):
    write(tmp_path / "secret/app.log", 5000)
    write(tmp_path / "app.log", 5000)
    real = os.open

    def denied(path, *args, **options):
        if path == "secret":
            raise PermissionError(13, "Permission denied", path)
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", denied)
    found = look({tmp_path: "log"})
    assert (found["unseen_folders"], found["is_complete"], found["places"][0]["files"]) == (1, False, 1)


def test_when_the_time_is_over_it_says_so(tmp_path, monkeypatch):
    for number in range(50):
        write(tmp_path / f"{number}/app.log")
    clock = iter(range(10**6))
    monkeypatch.setattr(disk_logs.time, "monotonic", lambda: next(clock))
    assert look({tmp_path: "log"}, seconds=5)["is_complete"] is False
