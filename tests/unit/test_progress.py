"""Progress lines: few, whole, and never a reason for the work to fail."""

import json
import os

from ansible.module_utils.mendbook.progress import Progress


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def progress(tmp_path, clock=None):
    path = tmp_path / "host-1.jsonl"
    path.touch()
    return path, Progress({"progress": str(path)}, clock or Clock())


def test_starts_with_the_process_that_does_the_work(tmp_path):
    path, shown = progress(tmp_path)
    shown.start()
    assert lines(path) == [{"pid": os.getpid(), "phase": "start"}]


def test_writes_at_most_five_lines_a_second(tmp_path):
    clock = Clock()
    path, shown = progress(tmp_path, clock)
    for step in range(1000):
        clock.now = step / 1000
        shown.update("load", step, 100_000, "documents")
    assert len(lines(path)) == 5


def test_a_new_phase_and_the_end_are_always_written(tmp_path):
    path, shown = progress(tmp_path)
    shown.update("read", 1, 3, "bytes")
    shown.update("read", 2, 3, "bytes")
    shown.update("read", 3, 3, "bytes")
    shown.update("swap", 0)
    assert [(line["phase"], line["done"]) for line in lines(path)] == [("read", 1), ("read", 3), ("swap", 0)]


def test_without_a_receipt_or_a_file_it_does_nothing():
    for receipt in (None, {}, {"progress": None}):
        shown = Progress(receipt)
        shown.start()
        shown.update("load", 1)
        shown.close()


def test_never_makes_the_file_itself(tmp_path):
    with Progress({"progress": str(tmp_path / "missing")}) as shown:
        shown.start()
    assert list(tmp_path.iterdir()) == []


def test_does_not_follow_a_link(tmp_path):
    (tmp_path / "victim").touch()
    (tmp_path / "link").symlink_to("victim")
    with Progress({"progress": str(tmp_path / "link")}) as shown:
        shown.start()
    assert (tmp_path / "victim").read_text() == ""


def test_a_full_disk_ends_the_lines_and_not_the_work():
    shown = Progress({"progress": "/dev/full"})
    shown.start()
    shown.update("load", 1)
    shown.close()
    shown.close()
