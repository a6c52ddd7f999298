"""The mark of a backup that is being read: put, renewed, taken away, and never a reason to fail."""

import json
import threading
from types import SimpleNamespace

import pytest
from ansible.module_utils.mendbook import s3, s3_mark
from ansible.module_utils.mendbook.errors import Cancelled
from ansible.module_utils.mendbook.s3_in_use import in_use
from botocore.exceptions import ClientError

RUN = "20260101T000000Z-0a0b0c"
KEY = f"daily/estore.archive.inuse.{RUN}.json"


class Store:
    """A bucket with versions in a dict; ``refused`` are operations that are answered 403."""

    meta = SimpleNamespace(endpoint_url="http://store:9000")

    def __init__(self, refused=(), code="AccessDenied", status=403):
        self.calls, self.versions, self.hidden = [], {}, set()
        self.refused, self.code, self.status = set(refused), code, status
        self.written = threading.Semaphore(0)

    def put_object(self, **arguments):
        self._asked("put", arguments)
        self.versions.setdefault(arguments["Key"], []).append(json.loads(arguments["Body"]))
        self.written.release()
        return {"VersionId": f"v{len(self.versions[arguments['Key']])}"}

    def delete_object(self, **arguments):
        self._asked("delete version" if "VersionId" in arguments else "delete", arguments)
        if "VersionId" in arguments:
            self.versions[arguments["Key"]].pop()
        else:
            self.hidden.add(arguments["Key"])

    def _asked(self, operation, arguments):
        self.calls.append(operation)
        if operation in self.refused:
            answer = {"Error": {"Code": self.code}, "ResponseMetadata": {"HTTPStatusCode": self.status}}
            raise ClientError(answer, operation)

    def in_use(self, notes, **options):
        return in_use(self, "b", "daily/estore.archive", RUN, notes.append, **options)


def test_stands_while_the_block_runs_and_says_whose_it_is():
    store, notes = Store(), []
    with store.in_use(notes):
        ((mark,),) = store.versions.values()
        assert list(store.versions) == [KEY]
        assert s3_mark.parse_key(KEY) == ("daily/estore.archive", s3_mark.IN_USE, RUN)
        assert set(mark) == {"schema", "run", "host", "pid", "at"} and (mark["schema"], mark["run"]) == (1, RUN)
    assert store.versions == {KEY: []} and not store.hidden and not notes


def test_a_long_restore_renews_it_and_leaves_none_of_its_versions():
    store, notes = Store(), []
    with store.in_use(notes, renew_seconds=0.01):
        for _ in range(4):
            assert store.written.acquire(timeout=30)
    assert store.versions == {KEY: []} and not store.hidden and not notes


def test_where_versions_may_not_be_deleted_the_mark_is_hidden():
    store, notes = Store(refused=["delete version"]), []
    with store.in_use(notes):
        pass
    assert store.hidden == {KEY} and not notes


@pytest.mark.parametrize(
    ("refused", "code", "status"),
    [
        (["put", "delete"], "AccessDenied", 403),
        (["put", "delete"], "MethodNotAllowed", 405),
        (["put", "delete"], "NotImplemented", 501),
        (["put", "delete"], "NoSuchBucket", 404),
    ],
)
def test_a_store_that_takes_no_mark_is_one_note(refused, code, status):
    store, notes = Store(refused, code, status), []
    with store.in_use(notes, renew_seconds=0.01):
        pass
    (note,) = notes
    assert note.startswith("the backup is not marked as in use, so a prune meanwhile may take it away")
    assert store.calls.count("put") == 1, "what is refused is not asked for again"


def test_a_busy_store_is_asked_for_seconds_and_not_for_a_minute(monkeypatch):
    asked_for = []

    class AtItsEnd(s3.Patience):
        def __init__(self, seconds):
            asked_for.append(seconds)
            super().__init__(0)

    monkeypatch.setattr(s3, "Patience", AtItsEnd)
    store, notes = Store(["put"], "SlowDown", 503), []
    with store.in_use(notes):
        pass
    assert len(notes) == 1 and asked_for == [5] and store.calls == ["put"]


def test_a_mark_that_may_not_be_deleted_is_one_note_about_the_six_hours():
    store, notes = Store(["delete", "delete version"]), []
    with store.in_use(notes):
        pass
    (note,) = notes
    assert "six hours" in note and "s3:DeleteObject" in note


@pytest.mark.parametrize("error", [ValueError, Cancelled])
def test_goes_when_the_block_fails(error):
    store = Store()
    with pytest.raises(error), store.in_use([]):
        raise error("in the middle")
    assert store.versions == {KEY: []}


@pytest.mark.parametrize("interrupted", ["put", "delete version"])
def test_a_signal_while_it_is_put_or_taken_away_leaves_none(interrupted):
    store = Store()
    asked = store._asked

    def signalled(operation, arguments):
        asked(operation, arguments)
        if operation == interrupted and store.calls.count(operation) == 1:
            raise Cancelled("cancelled by SIGTERM")

    store._asked = signalled
    with pytest.raises(Cancelled), store.in_use([]):
        pass
    assert not any(store.versions.values())
    assert store.calls[-1].startswith("delete")
