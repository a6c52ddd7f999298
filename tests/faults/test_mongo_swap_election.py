"""The swap while the replica set elects another primary, and while a member is down."""

from __future__ import annotations

import pymongo
import pytest
from ansible.module_utils.mendbook.lock import MongoLease
from ansible.module_utils.mendbook.mongo_swap import Swap
from pymongo.errors import PyMongoError
from swap_database import Held, both_pictures, fill_old, picture, prepared

import mendbook.sandbox
from mendbook.sandbox.services.mongo import Service

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def three():
    with mendbook.sandbox.start((Service(members=3),)) as box:
        service = box.services["mongo"]
        with pymongo.MongoClient(service.uri) as client:
            # there is an election when a test wants one, and not when the machine stands still for two seconds
            found = client.admin.command("replSetGetConfig")["config"]
            found["version"] += 1
            found["settings"]["electionTimeoutMillis"] = 5000
            client.admin.command("replSetReconfig", found)
        yield service


def step_down_at(client, name):
    """A hook that makes the primary step down after the first step that begins with ``name``."""
    done = []

    def hook(step):
        if step.startswith(name) and not done:
            done.append(step)
            try:
                # no longer than it must: the next election may need this member
                client.admin.command("replSetStepDown", 6, secondaryCatchUpPeriodSecs=5)
            except PyMongoError:
                pass  # the connection is closed with the answer

    hook.done = done
    return hook


@pytest.mark.parametrize("step", ["rename plain", "create series", "phase swapped"])
def test_a_swap_goes_on_through_an_election(three, step, record_fault):
    with pymongo.MongoClient(three.uri) as client:
        database = client["elected"]
        _, new = both_pictures(database)
        fill_old(database)
        with MongoLease(database, "first") as lease:
            prepared(database, lease)
            hook = step_down_at(client, step)
            Swap.latest(database, lease, hook).forward()
        assert hook.done, "there was an election"
        assert picture(database) == new
    record_fault(f"election after {step}", rounds=1, held="the swap went on, all-new")


def test_an_undo_goes_on_through_an_election(three, record_fault):
    with pymongo.MongoClient(three.uri) as client:
        database = client["elected"]
        old, _ = both_pictures(database)
        hook = step_down_at(client, "rename plain")
        Swap.latest(database, Held(), hook).undo()
        assert hook.done
        assert picture(database) == old
    record_fault("election in an undo", rounds=1, held="the undo went on, all-old")


def test_a_member_that_is_down_does_not_hold_up_the_swap(three):
    with pymongo.MongoClient(three.uri) as client:
        database = client["elected"]
        _, new = both_pictures(database)
        fill_old(database)
        swap = prepared(database, Held())
        primary = int(client.admin.command("hello")["me"].rpartition(":")[2])
        down = three.member(next(port for port in three.ports if port != primary))
        down.kill()
        try:
            swap.forward()
        finally:
            three.restart()
        assert picture(database) == new
