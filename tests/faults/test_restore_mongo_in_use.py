"""restore_mongo marks the backup that it reads, so that a prune leaves it alone; and lives where it may not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from ansible.module_utils.mendbook import s3_mark
from s3_proxy import Fault

from restore_child import Child, dies_at
from restore_lab import archive_of, noisy, unchanged

pytestmark = pytest.mark.faults


@pytest.fixture
def stored(store: Any) -> Iterator[dict[str, Any]]:
    """The options that lead to a good backup in S3, through the proxy."""
    prefix = f"inuse/{uuid4().hex[:8]}/"
    store.put(f"{prefix}estore.archive", archive_of("estore", {"orders": noisy(150)}))
    store.proxy.requests.clear()
    yield {
        **{name: value for name, value in store.params.items() if value is not None},
        "bucket": store.bucket,
        "prefix": prefix,
        "key": f"{prefix}estore.archive",
        "max_age_seconds": 10 * 366 * 86400,
    }
    store.proxy.reset()


def marks(store: Any, stored: dict[str, Any]) -> list[str]:
    listed = store.s3.list_objects_v2(Bucket=store.bucket, Prefix=stored["prefix"]).get("Contents", [])
    found = [s3_mark.parse_key(entry["Key"]) for entry in listed]
    return [mark[0] for mark in found if mark and mark[1] == s3_mark.IN_USE]


def methods(store: Any) -> set[str]:
    return {request.method for request in store.proxy.requests}


def test_the_backup_is_marked_while_it_is_read_and_only_then(lab, store, stored):
    seen: list[list[str]] = []
    planned = lab.plan(**stored)
    assert methods(store) <= {"GET", "HEAD"}, "a plan writes nothing"
    store.proxy.faults = [Fault(r"GET .*estore.archive bytes=", before=lambda: seen.append(marks(store, stored)))]
    result = lab.act(planned, **stored)
    assert (result["state"], result["warnings"]) == ("done", [])
    assert [stored["key"]] in seen, seen
    assert marks(store, stored) == []


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (405, "MethodNotAllowed")])
def test_who_may_only_read_restores_and_is_told_once(lab, store, stored, status, code):
    store.proxy.faults = [Fault("(PUT|DELETE) ", status=status, code=code)]
    result = lab.restore(**stored)
    assert (result["rc"], result["state"]) == (0, "done"), result.get("msg")
    (note,) = result["warnings"]
    assert "not marked as in use" in note
    assert marks(store, stored) == []


def test_a_restore_that_fails_takes_its_mark_away(lab, store, stored):
    planned = lab.plan(**stored)
    store.proxy.faults = [Fault(r"GET .*estore.archive bytes=", flip_at=90_000)]
    with unchanged(lab):
        result = lab.act(planned, **stored)
    assert result["rc"] == 1
    assert "PUT" in methods(store) and marks(store, stored) == []


def test_a_signal_takes_the_mark_away_and_kill_9_leaves_it(lab, store, stored):
    def terminated(label: str, step: int) -> None:
        if label == "insert":
            os.kill(os.getpid(), signal.SIGTERM)

    child = Child(lab, None, terminated, **stored)
    with unchanged(lab):
        result = child.result()
    assert result and "cancelled by SIGTERM" in result["msg"]
    assert "PUT" in methods(store) and marks(store, stored) == []

    def killed(label: str, step: int) -> None:
        if label == "insert":
            dies_at(step)(label, step)

    child = Child(lab, None, killed, **stored)
    assert child.result() is None
    assert marks(store, stored) == [stored["key"]]
    lab.expire_lock()
    assert lab.restore(**stored)["state"] == "done", "the mark of the dead is in nobody's way"
