"""backup_mongo killed by -9 at each of its writes: nothing counts as a backup, and the next run leaves nothing else."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils.mendbook import s3, s3_lock, s3_upload
from ansible.module_utils.mendbook.s3_choice import choose

import backup_lab
from backup_lab import BackupLab, noise
from waiting import until

pytestmark = pytest.mark.faults

# the lock taken, its parts begun, sent and made an object, before its manifest and after it, the pointer moved
QUICK = (1, 8, 12, 14, 15, 16, 18)
WRITES = ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject", "DeleteObject")


@pytest.fixture
def lab(mongo_box: Any, store: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[BackupLab]:
    # S3 takes no part that is smaller, but the last one
    monkeypatch.setattr(s3_upload, "PART_BYTES", 5 << 20)
    with backup_lab.backup_lab(mongo_box.status()["mongo"]["uri"], store.s3, store.facts) as lab:
        noise(lab.database, 6)
        yield lab


def die_at(wanted: int) -> None:
    """Let this process die right before or right after one of its writes to S3; only ever called in a child."""
    steps = iter(range(1, 10_000))

    def step(event_name: str, **_facts: Any) -> None:
        if event_name.rpartition(".")[2] in WRITES and next(steps) == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    # on a slow machine a renewal of the lock would be one write more
    s3_lock.S3Lease._beat = lambda self: None
    client = s3.client

    def watched(params: Any, *more: Any) -> Any:
        made = client(params, *more)
        made.meta.events.register("before-send.s3", step)
        made.meta.events.register("after-call.s3", step)
        return made

    s3.client = watched


def killed(lab: BackupLab, wanted: int, **options: Any) -> bool:
    """Back up in a process that dies at that step; False when it has come to its end."""
    planned = lab.plan(**options)
    assert planned["rc"] == 0, planned["msg"]
    pid = os.fork()
    if not pid:
        try:
            die_at(wanted)
            os._exit(0 if lab.act(planned, **options)["state"] == "done" else 1)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def left_behind(lab: BackupLab, before: list[str]) -> str:
    """What a dead run has left; whatever counts as a backup must be one."""
    for key in lab.whole():
        assert hashlib.sha256(lab.body(key)).hexdigest() == lab.manifest(key)["object"]["sha256"]
    new = [key for key in lab.keys() if key not in before]
    newest = choose(lab.found())
    assert newest.complete is True and newest.sha256 == lab.manifest(newest.key[len(lab.prefix) :])["object"]["sha256"]
    if len(new) >= 2:
        return "a whole backup"
    if new:
        assert new[0] not in lab.whole()
        return "an object without a manifest"
    return "an unfinished upload" if lab.unfinished() else "nothing"


def test_kill_9_at_every_write_leaves_no_backup_and_the_next_run_nothing_else(lab, record_fault, fault_rounds):
    assert lab.backup(latest=True)["state"] == "done"
    found: Counter[str] = Counter()
    for step in QUICK[: fault_rounds(len(QUICK), 0)] or itertools.count(1):
        before = lab.keys()
        if not killed(lab, step, latest=True):
            break
        found[left_behind(lab, before)] += 1
        # the pointer never names what is no backup
        assert json.loads(lab.body("latest"))["key"][len(lab.prefix) :] in lab.whole()
        lab.free_the_lock()
        after = lab.backup(latest=True)
        assert after["state"] == "done", after.get("msg")
        assert after["skipped_objects"] == []
        assert lab.clean("latest")
        assert json.loads(lab.body("latest"))["key"] == after["read_back"]["key"]
        for key in lab.whole():
            if lab.prefix + key != after["read_back"]["key"]:
                for name in (key, f"{key}.manifest.json"):
                    lab.s3.delete_object(Bucket=lab.bucket, Key=lab.prefix + name)
    kinds = {"nothing", "an unfinished upload", "an object without a manifest", "a whole backup"}
    assert set(found) == kinds, f"a kind of step was never hit: {found}"
    rounds = sum(found.values())
    print(f"{rounds} kills: {dict(found)}")
    held = "no half backup counted, all of it removed by the next run"
    record_fault("kill -9 of a backup at its writes to S3", rounds=rounds, held=held)


def expire_the_lock(lab: BackupLab) -> None:
    """What a minute does to the lease of a dead process; its entry stays, as it does then."""
    lab.s3.put_object(
        Bucket=lab.bucket,
        Key=f"{lab.prefix}.mendbook-lock.json",
        Body=json.dumps({**json.loads(lab.body(".mendbook-lock.json")), "seconds": 1}).encode(),
    )
    until(lambda: not any("locked now by run" in note for note in lab.plan()["plan"]["notes"]))


@pytest.mark.parametrize(
    ("step", "left"), [(12, "an unfinished upload"), (15, "an object without a manifest")], ids=["upload", "object"]
)
def test_what_a_killed_backup_under_a_name_of_its_own_has_left_goes_with_the_next_one(lab, step, left):
    assert lab.backup()["state"] == "done"
    before = lab.keys()
    name = "before-migration-42.archive.gz"
    assert killed(lab, step, key=lab.prefix + name)
    assert left_behind(lab, before) == left
    expire_the_lock(lab)
    # whoever comes next under the same lock, such as a prune, does not make it be forgotten
    client = s3.client(lab.options)
    with s3_lock.S3Lease(client, lab.bucket, lab.prefix, "prune"):
        pass
    planned = lab.plan()
    assert [change["op"] for change in planned["plan"]["changes"]] == ["-", "+"]
    assert name in planned["plan"]["changes"][0]["object"]
    assert lab.act(planned)["state"] == "done" and lab.clean()
    # and then it is forgotten
    assert lab.backup()["state"] == "done"
    assert s3_lock.making(client, lab.bucket, lab.prefix) == []


def test_what_an_operator_puts_under_the_name_of_a_killed_backup_stays(lab):
    assert lab.backup()["state"] == "done"
    name = "before-migration-42.archive.gz"
    assert killed(lab, 15, key=lab.prefix + name)
    expire_the_lock(lab)
    lab.s3.put_object(Bucket=lab.bucket, Key=lab.prefix + name, Body=b"a dump of somebody's own")
    planned = lab.plan(key=lab.prefix + name)
    assert [one["rule"] for one in planned["plan"]["refusals"]] == ["key"]
    assert lab.backup()["state"] == "done"
    assert lab.body(name) == b"a dump of somebody's own" and lab.clean(name)


def test_a_key_whose_object_has_lost_its_manifest_is_taken_until_a_backup_without_it(lab):
    key = f"{lab.prefix}before-migration-42.archive.gz"
    assert lab.backup()["state"] == "done"
    assert killed(lab, 15, key=key)
    expire_the_lock(lab)
    assert [one["rule"] for one in lab.plan(key=key)["plan"]["refusals"]] == ["key"]
    assert lab.backup()["state"] == "done"
    assert lab.backup(key=key)["state"] == "done" and lab.clean()


def test_an_object_without_a_manifest_is_removed_only_when_a_backup_made_it_there(lab):
    assert lab.backup()["state"] == "done"
    (key,) = lab.whole()
    theirs = f"{lab.database.name}-20200101T000000Z.archive.gz"
    lab.s3.put_object(Bucket=lab.bucket, Key=lab.prefix + theirs, Body=b"a dump of somebody's own")
    # a copy keeps the metadata, and was made for another place
    copied = f"{lab.database.name}-20200102T000000Z.archive.gz"
    source = {"Bucket": lab.bucket, "Key": lab.prefix + key}
    lab.s3.copy_object(Bucket=lab.bucket, Key=lab.prefix + copied, CopySource=source)
    planned = lab.plan()
    assert [change["op"] for change in planned["plan"]["changes"]] == ["+"]
    assert lab.act(planned)["state"] == "done"
    assert {theirs, copied, key} < set(lab.keys())

    # its own manifest deleted: then it is what a killed run leaves, and goes when a newer one is whole
    lab.s3.delete_object(Bucket=lab.bucket, Key=f"{lab.prefix}{key}.manifest.json")
    planned = lab.plan()
    assert [change["op"] for change in planned["plan"]["changes"]] == ["-", "+"]
    result = lab.act(planned)
    assert [entry["op"] for entry in result["done"]] == ["+", "-"]
    assert key not in lab.keys() and {theirs, copied} < set(lab.keys())


def test_backups_whose_manifests_were_deleted_by_mistake_do_not_follow_them(lab):
    for _backup in range(3):
        assert lab.backup()["state"] == "done"
    keys = lab.whole()
    assert len(keys) == 3
    for key in keys:
        lab.s3.delete_object(Bucket=lab.bucket, Key=f"{lab.prefix}{key}.manifest.json")
    result = lab.backup()
    assert result["state"] == "done" and [entry["op"] for entry in result["done"]] == ["+"]
    assert set(keys) < set(lab.keys())
    assert any("3 objects were made by backups and have no manifest" in note for note in result["plan"]["notes"])
