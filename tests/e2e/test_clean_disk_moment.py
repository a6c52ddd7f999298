"""mend_disk_reclaim at the last moment: files, folders and roots that change between the plan and the removal."""

from __future__ import annotations

import os
import time

import pytest
from ansible.module_utils.mendbook import disk_in_use, disk_reclaim, disk_reclaim_act

from waiting import quickest

pytestmark = pytest.mark.e2e
pytest_plugins = ["disk_lab"]


@pytest.fixture
def just_before(monkeypatch):
    """Do something between the look under the lock and the moment at which a folder's files are removed."""

    def call(hook):
        real = disk_reclaim_act.Act._open

        def opened(self, batch):
            if not self.files:
                hook()
            return real(self, batch)

        monkeypatch.setattr(disk_reclaim_act.Act, "_open", opened)

    return call


def test_each_file_is_looked_at_again_immediately_before(disk, just_before, monkeypatch):
    monkeypatch.setattr(disk_in_use, "FRESH_SECONDS", 0)
    for name in ("written", "replaced", "linked", "gone", "opened", "old"):
        disk.file(f"{name}.log")
    holders = []

    def meanwhile():
        (disk.root / "written.log").write_text("new")
        os.replace(disk.file("new", days=1), disk.root / "replaced.log")
        os.link(disk.root / "linked.log", disk.victims / "linked")
        (disk.root / "gone.log").unlink()
        holders.append((disk.root / "opened.log").open("a"))

    just_before(meanwhile)
    result = disk.reclaim()
    for file in holders:
        file.close()
    assert (result["state"], disk.gone(result)) == ("done", 1)
    assert disk.names() == ["linked.log", "opened.log", "replaced.log", "written.log"]
    assert disk.reasons(result) == {
        "written.log": "it was written meanwhile",
        "replaced.log": "another file has its name now",
        "linked.log": "it has several names now",
        "gone.log": "it had gone by itself",
        "opened.log": "it was opened meanwhile",
    }


@pytest.mark.parametrize(("call", "options"), [("unlink", {}), ("ftruncate", {"truncate_bytes": 1})])
def test_after_a_file_that_takes_long_it_looks_again_who_has_the_next_one_open(disk, monkeypatch, call, options):
    monkeypatch.setattr(disk_in_use, "FRESH_SECONDS", 0)
    monkeypatch.setattr(disk_reclaim_act, "_PORTION_SECONDS", 0)
    logs = [disk.file("a.log"), disk.file("b.log")]
    # to be emptied they have to be open
    holders = [log.open("a") for log in logs] if options else []
    real = getattr(os, call)

    def slowly(*args, **how):
        real(*args, **how)
        left = [log for log in logs if log.exists()]
        holders.append(left[0].open("a")) if call == "unlink" and left else [file.close() for file in holders]

    monkeypatch.setattr(disk_reclaim_act.os, call, slowly)
    result = disk.reclaim(**options)
    [file.close() for file in holders]
    assert disk.gone(result) == 1 and len(disk.names()) == (2 if options else 1)
    assert list(disk.reasons(result).values()) == [
        "no program has it open any more" if options else "it was opened meanwhile"
    ]


def test_a_log_that_was_closed_meanwhile_is_not_emptied(disk, just_before, monkeypatch):
    monkeypatch.setattr(disk_in_use, "FRESH_SECONDS", 0)
    log = disk.file("a.log", days=0, size=1 << 20)
    file = log.open("a")
    just_before(file.close)
    result = disk.reclaim(truncate_bytes=1 << 20)
    assert log.stat().st_size == 1 << 20 and disk.reasons(result) == {"a.log": "no program has it open any more"}


def test_a_log_that_was_emptied_and_is_as_large_as_before_fails_the_read_back(disk, monkeypatch):
    log = disk.file("a.log", size=1 << 20)
    monkeypatch.setattr(disk_reclaim_act.os, "ftruncate", lambda file, size: None)
    with log.open("a"):
        assert disk.reclaim(truncate_bytes=1)["mend"]["reason"] == "verify"


@pytest.mark.parametrize("with_what", ["a link", "a folder with the same names"])
def test_a_folder_that_was_swapped_meanwhile_loses_nothing(disk, just_before, with_what):
    for name in ("a.log", "b.log"):
        disk.file(f"sub/{name}")
        disk.file(name, folder=disk.victims)

    def swap():
        (disk.root / "sub").rename(disk.root / "moved")
        if with_what == "a link":
            (disk.root / "sub").symlink_to(disk.victims)
        else:
            disk.victims.rename(disk.root / "sub")

    just_before(swap)
    result = disk.reclaim()
    there = disk.victims if with_what == "a link" else disk.root / "sub"
    assert disk.names(there) == ["a.log", "b.log"] and disk.names(disk.root / "moved") == ["a.log", "b.log"]
    assert result["done"] == [] and len(result["skipped_objects"]) == 1
    assert result["skipped_objects"][0]["reason"] == "its folder is gone, or another one now"


def test_a_file_that_comes_back_with_its_name_is_another_one(disk, monkeypatch):
    disk.file("a.log")
    real = disk_reclaim.Reclaim.read_back

    def rotated(self, roots, plan):
        disk.file("a.log")
        return real(self, roots, plan)

    monkeypatch.setattr(disk_reclaim.Reclaim, "read_back", rotated)
    assert disk.reclaim()["state"] == "done"


def test_what_was_removed_and_is_still_there_fails_the_read_back(disk, monkeypatch):
    disk.file("a.log")
    # one that has come since would be another one
    time.sleep(0.1)
    monkeypatch.setattr(disk_reclaim_act.os, "unlink", lambda *args, **kwargs: None)
    result = disk.reclaim()
    assert (result["rc"], result["mend"]["reason"]) == (1, "verify") and "a.log" in result["msg"]


def test_more_than_was_approved_is_drift(disk):
    for number in range(20):
        disk.file(f"a{number}.log")
    planned = disk.plan()
    for number in range(20):
        disk.file(f"b{number}.log")
    result = disk.act(planned)
    assert (result["mend"]["reason"], len(disk.names())) == ("drift", 40)


def test_a_root_that_was_swapped_since_the_plan_is_drift(disk):
    disk.file("a.log")
    planned = disk.plan()
    disk.root.rename(disk.root.with_name("before"))
    disk.file("a.log")
    result = disk.act(planned)
    assert (result["mend"]["reason"], disk.names()) == ("drift", ["a.log"])


def test_a_second_operator_is_told_who_is_at_work(disk, just_before):
    disk.file("a.log")
    seen = {}

    def second():
        seen["plan"] = disk.plan()
        seen["act"], seen["seconds"] = quickest(lambda: disk.act(seen["plan"]))

    just_before(second)
    assert disk.reclaim()["state"] == "done"
    assert (seen["act"]["mend"]["reason"], seen["act"]["mend"]["details"]["run"]) == ("locked", "lab-1")
    assert any("locked now by run lab-1" in note for note in seen["plan"]["plan"]["notes"])
    assert seen["seconds"] < 2
