# SPDX-License-Identifier: MIT
"""Several collections read at a time: in order, bounded, and all of them ended when one fails."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import bson
import pytest
from ansible.module_utils.mendbook import mongo_dump_read
from ansible.module_utils.mendbook.mongo_dump_read import Job, Reading
from ansible.module_utils.mendbook.mongo_dump_survey import Surveyed
from bson.raw_bson import RawBSONDocument

from dump_writer import made

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DEPLOYMENT = SimpleNamespace(params={"operation_timeout_seconds": 9})


class Member:
    """A member whose collections give the replies that are listed here; an error is raised when its turn comes."""

    def __init__(self, **replies):
        self.replies = replies
        self.database = self
        self.seen = []
        self.newest = []

    @contextmanager
    def session(self):
        yield "a session"

    def read_concern(self, snapshot):
        return {"level": "snapshot" if snapshot else "majority"}

    def command(self, command, session=None, codec_options=None):
        name = next(iter(command.values()))
        self.seen.append((next(iter(command)), name, command["readConcern"]["level"], command.get("maxTimeMS")))
        batch = [{"n": 12}] if "aggregate" in command else self.newest
        return {"cursor": {"firstBatch": batch}}


@pytest.fixture
def reading(monkeypatch):
    """Make a Reading of jobs for these collections: {name: replies, each a list of raw documents or an error}."""

    def replies(database, find, total, document_bytes, session):
        database.seen.append(("read", find["find"], find["readConcern"]["level"], None))
        for reply in database.replies[find["find"]]:
            if isinstance(reply, Exception):
                raise reply
            whole = bson.encode({"a": [RawBSONDocument(one) for one in reply]})
            yield memoryview(whole)[7:-1]

    monkeypatch.setattr(mongo_dump_read, "replies", replies)

    def make(readers=1, kind="collection", snapshot=True, time_field=None, **collections):
        member = Member(**collections)
        jobs = [
            Job(
                ("shop", name),
                {"find": name},
                snapshot,
                Surveyed(
                    name, kind, {}, [], None, name, sum(len(one) for one in found if isinstance(one, list)), 1, {}
                ),
                time_field,
            )
            for name, found in collections.items()
        ]
        return Reading(member, DEPLOYMENT, jobs, readers), member, jobs

    return make


def test_the_largest_comes_first_and_each_ends_once(reading):
    found, _member, jobs = reading(small=[made(3)], large=[made(90), made(9)], empty=[[]])
    parts = [(job.name, documents and b"".join(documents)) for job, documents in found]
    assert parts == [
        ("large", b"".join(made(90))),
        ("large", b"".join(made(9))),
        ("large", None),
        ("small", b"".join(made(3))),
        ("small", None),
        ("empty", None),
    ]
    assert found.documents == 102 and found.bytes == sum(job.total.bytes for job in jobs)
    assert [job.total.count for job in jobs] == [3, 99, 0]


def test_one_large_document_is_not_copied(reading):
    found, _member, _jobs = reading(orders=[made(1)])
    (_job, documents), _end = found
    assert isinstance(documents[0], memoryview)


def test_what_is_beside_the_documents_is_asked_for_before_them(reading):
    found, member, (job,) = reading(kind="timeseries", time_field="at", series=[made(2)])
    member.newest = [{"at": NOON}]
    list(found)
    assert [step[0] for step in member.seen] == ["find", "aggregate", "read"]
    assert {step[2] for step in member.seen} == {"snapshot"}
    assert (job.newest, job.measurements, job.total.count) == (NOON, 12, 2)


@pytest.mark.parametrize(("time_field", "patience"), [(None, 9000), ("at", None)])
def test_only_what_an_index_answers_has_a_deadline(reading, time_field, patience):
    found, member, _jobs = reading(time_field=time_field, orders=[made(1)])
    list(found)
    assert member.seen[0][3] == patience


def test_what_is_outside_the_snapshot_is_read_outside_as_a_whole(reading):
    found, member, _jobs = reading(snapshot=False, log=[made(1)])
    list(found)
    assert {step[2] for step in member.seen} == {"majority"}


@pytest.mark.parametrize("readers", [1, 3])
def test_the_first_error_ends_all_of_it(reading, readers):
    error = OSError("the first")
    found, member, _jobs = reading(readers, bad=[made(500), error], b=[made(2)], c=[made(1)])
    with pytest.raises(OSError, match="the first"):
        list(found)
    assert found.failed.name == "bad"
    if readers == 1:
        assert {step[1] for step in member.seen} == {"bad"}, "nothing else was begun"


def test_whoever_stops_early_leaves_no_reader_behind(reading):
    before = threading.enumerate()
    # far more than the queue holds, so that the readers wait in the middle
    large = [made(2000, filler="x" * 1000)] * 20
    found, _member, _jobs = reading(2, a=large, b=large)
    with closing(iter(found)) as parts:
        next(parts)
        named = [thread for thread in threading.enumerate() if thread.name.startswith("dump_")]
        readers = [thread for thread in named if thread not in before]
    assert readers and not any(thread.is_alive() for thread in readers)


def test_readers_wait_for_a_slow_writer(reading):
    large = [made(2000, filler="x" * 1000) for _ in range(20)]
    found, _member, (job,) = reading(1, a=large)
    with closing(iter(found)) as parts:
        next(parts)
        done = threading.Event()
        while job.total.bytes < 6 << 20:
            done.wait(0.01)
        done.wait(0.2)
        assert job.total.bytes < 14 << 20, "of 40 MB"
