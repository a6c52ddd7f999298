"""What a run was making when it died is written in its lock, and nobody who comes after it lets it be forgotten."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest
from ansible.module_utils.mendbook import s3
from ansible.module_utils.mendbook.errors import Locked
from ansible.module_utils.mendbook.s3_lock import S3Lease, making
from s3_stores import ignoring

from forked import forked
from waiting import until

pytestmark = pytest.mark.faults

MINUTE = timedelta(minutes=1)


@pytest.fixture(params=[s3.client, ignoring], ids=["conditional writes", "conditions ignored"])
def client(request, store):
    return request.param({**store.params, "s3_endpoint_url": store.facts["endpoint_url"]})


@pytest.fixture
def prefix(request):
    return f"lock/{request.node.name}/"


@pytest.fixture
def lease(store, client, prefix):
    """Make a lease on the test's own prefix for the run of this name."""
    return lambda run, **options: S3Lease(client, store.bucket, prefix, run, **options)


def test_what_a_dead_owner_was_making_is_told_to_whoever_comes_until_one_forgets_it(store, client, prefix, lease):
    def die():
        lease("dead", seconds=3, key=f"{prefix}a.gz").__enter__()
        os.kill(os.getpid(), signal.SIGKILL)

    def got():
        try:
            with lease("late", key=f"{prefix}b.gz") as held:
                return [one.key for one in held.making]
        except Locked:
            return None

    began = datetime.now(UTC)
    assert forked(die) is None
    both = [f"{prefix}a.gz", f"{prefix}b.gz"]
    assert until(got) == both[:1]
    with lease("third") as held:
        assert [one.key for one in held.making] == both
        assert all(one.covers(one.key, one.since) for one in held.making)
        ended = datetime.now(UTC)
        assert not any(one.covers(one.key, at) for one in held.making for at in (began - MINUTE, ended + MINUTE))
    assert [one.key for one in making(client, store.bucket, prefix)] == both
    with lease("fourth") as held:
        held.keep_making(held.making[:1])
    with lease("fifth") as held:
        assert [one.key for one in held.making] == both[:1]
        held.keep_making([])
    assert making(client, store.bucket, prefix) == []


def test_so_many_keys_are_remembered_as_fit_into_an_entry(lease):
    for number in range(20):
        with lease(f"run-{number}", key="\N{PILE OF POO}" * 240 + f"{number:02}") as held:
            pass
    with lease("last") as held:
        assert [one.key[-2:] for one in held.making] == [f"{number:02}" for number in range(4, 20)]
