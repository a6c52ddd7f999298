# SPDX-License-Identifier: MIT
"""The loader when the server, the network or other people interfere, and when it is told to stop."""

from __future__ import annotations

import functools
import threading

import bson
import pytest
from ansible.module_utils.mendbook import mongo_load, mongo_proof
from ansible.module_utils.mendbook.dump import open_dump
from ansible.module_utils.mendbook.dump_metadata import Batch, DumpCollection, End
from ansible.module_utils.mendbook.errors import MendError, VerifyFailed
from ansible.module_utils.mendbook.mongo_batch import BatchWriter, RawBatch, each
from ansible.module_utils.mendbook.mongo_load import load
from ansible.module_utils.mendbook.mongo_side import drop_side_collections
from loading import failure, least, load_all, one, sides_of, threads_end
from pymongo import errors as driver

from dump_writer import DATA, ID_INDEX, made

pytestmark = pytest.mark.e2e


def test_a_side_collection_that_exists_already_is_not_touched(database):
    database["__mend_n_t_users"].insert_one({"_id": "old"})
    assert "exists already, from a run that did not clean up" in failure(database, one(made(3))).msg
    assert database["__mend_n_t_users"].count_documents({}) == 1


@pytest.mark.parametrize("role", ["read", "readWrite"])
def test_a_missing_role_is_named(database, mongo_client, sandbox, role):
    with least(database, mongo_client, sandbox, [{"role": role, "db": database.name}]) as limited:
        error = failure(limited, one(made(3)))
    assert error.rule == "mongo_privilege"
    assert "role" in error.msg or "readWrite and dbAdmin" in error.msg


class Meddler:
    """A database whose ``command`` does something else around some commands."""

    def __init__(self, database, **hooks):
        self._database = database
        self._hooks = hooks

    def __getattr__(self, name):
        return getattr(self._database, name)

    def __getitem__(self, name):
        return self._database[name]

    def command(self, command, *args, **kwargs):
        name = next(iter(command)) if isinstance(command, dict) else command
        hook = self._hooks.get(name)
        run = functools.partial(self._database.command, command, *args, **kwargs)
        return hook(run, command) if hook else run()


CHANGES = {
    "lost": lambda users: users.delete_one({"_id": 7}),
    "added": lambda users: users.insert_one({"_id": "more"}),
    "changed": lambda users: users.update_one({"_id": 7}, {"$set": {"name": "x"}}),
    "replaced": lambda users: (users.delete_one({"_id": 7}), users.insert_one({"_id": "other"})),
}


def changed_behind_our_back(database, monkeypatch, what, proof):
    dump = one(made(400), max_batch_docs=100)
    real = mongo_load.prove

    def after_change(*arguments):
        CHANGES[what](database["__mend_n_t_users"])
        return real(*arguments)

    monkeypatch.setattr(mongo_load, "prove", after_change)
    return failure(database, dump, VerifyFailed, proof=proof)


@pytest.mark.parametrize("what", list(CHANGES))
def test_the_full_proof_finds_every_change_at_the_server(database, monkeypatch, what):
    error = changed_behind_our_back(database, monkeypatch, what, "full")
    assert error.rule == "proof"
    assert ("sent and" in error.msg) if what in ("lost", "added") else ("another content" in error.msg)


@pytest.mark.parametrize("what", list(CHANGES))
def test_the_sample_finds_changes_in_what_it_looks_at(database, monkeypatch, what):
    assert changed_behind_our_back(database, monkeypatch, what, "sample").rule == "proof"


@pytest.mark.parametrize("what", ["lost", "added"])
def test_the_count_finds_lost_and_added_documents(database, monkeypatch, what):
    message = changed_behind_our_back(database, monkeypatch, what, "count").msg
    assert f"400 documents were sent and {399 if what == 'lost' else 401} are there" in message


def test_a_sample_keeps_to_its_size_and_covers_the_whole_collection():
    sample = mongo_proof.Sample()
    for start in range(0, 5000, 100):
        sample.pick(b"".join(made(100, start)))
    numbers = [pick[0] for pick in sample._picked]
    assert 500 <= len(numbers) <= 1000
    assert max(numbers) > 4900


def test_a_side_collection_that_someone_replaced_is_noticed(database, monkeypatch):
    real = mongo_load.verify_shape

    def after_replacing(*arguments):
        database["__mend_n_t_users"].drop()
        database["__mend_n_t_users"].insert_many([{"_id": 1}])
        return real(*arguments)

    monkeypatch.setattr(mongo_load, "verify_shape", after_replacing)
    error = failure(database, one(made(3)), VerifyFailed)
    assert "was dropped or replaced by someone else" in error.msg


def test_an_index_that_someone_dropped_is_noticed(database, monkeypatch):
    real = mongo_load.verify_shape

    def after_dropping(*arguments):
        database["__mend_n_t_users"].drop_indexes()
        return real(*arguments)

    monkeypatch.setattr(mongo_load, "verify_shape", after_dropping)
    error = failure(database, one(made(3), {"v": 2, "key": {"a": 1}, "name": "a_1"}), VerifyFailed)
    assert "the index 'a_1' was not built" in error.msg


def test_answers_that_get_lost_are_sent_again_and_nothing_is_doubled(database):
    # two threads insert, and each takes what comes next
    lost = iter(["answer", "command", "answer", "command"])

    def hook(run, command):
        what = next(lost, None)
        if what == "command":
            raise driver.NetworkTimeout("timed out")
        reply = run()
        if what == "answer":
            raise driver.AutoReconnect("connection closed")
        return reply

    loaded = load_all(Meddler(database, insert=hook), one(made(2000), max_batch_docs=100))
    assert next(lost, None) is None
    assert loaded["shop", "users"].count == database["__mend_n_t_users"].count_documents({}) == 2000


def test_an_index_build_whose_answer_gets_lost_is_asked_for_again(database):
    asked = []

    def hook(run, command):
        asked.append(command["createIndexes"])
        if len(asked) == 1:
            run()
            raise driver.AutoReconnect("connection closed")
        return run()

    load_all(Meddler(database, createIndexes=hook), one(made(100), {"v": 2, "key": {"a": 1}, "name": "a_1"}))
    assert len(asked) == 2


def test_a_pymongo_that_sends_only_the_first_document_of_a_batch_is_noticed(database, monkeypatch):
    class OnlyFirst(RawBatch):
        raw = property(lambda self: next(each(self._documents)))

    monkeypatch.setattr(mongo_load, "BatchWriter", functools.partial(BatchWriter, carrier=OnlyFirst))
    loaded = load_all(database, one(made(500), max_batch_docs=100))
    assert loaded["shop", "users"].count == database["__mend_n_t_users"].count_documents({}) == 500


# stopping


class Endless:
    """A dump that never ends: whatever stops the load, it is not the dump."""

    size, bytes_read = None, 0

    def __init__(self, *names):
        self.collections = {
            ("shop", name): DumpCollection("shop", name, data_name=name, indexes=[UNIQUE]) for name in names
        }
        self.batches = 0
        self.closed = False

    def iterate(self, include=None):
        first, *others = include
        try:
            documents = [bson.encode({"_id": n, "u": 1}) for n in range(10)]
            yield Batch(first, memoryview(b"".join(documents)), 10)
            yield End(first, 10)
            number = 100
            while True:
                yield Batch(others[0], memoryview(b"".join(made(100, number))), 100)
                self.batches += 1
                number += 100
        finally:
            self.closed = True


UNIQUE = {**ID_INDEX, "key": {"u": 1}, "name": "u_1", "unique": True}


def test_an_error_in_one_thread_ends_the_load_at_once(database):
    dump = Endless("a", "b")
    assert "violates its unique index" in failure(database, dump).msg
    assert dump.closed


def test_cancelling_ends_the_load_at_once(database):
    dump = Endless("a", "b")
    dump.collections = {key: DumpCollection(*key, data_name=key[1]) for key in dump.collections}
    error = failure(database, dump, cancelled=lambda: dump.batches >= 20)
    assert error.rule == "cancelled"
    assert dump.closed and dump.batches == 20
    drop_side_collections(database, sides_of(dump).values())


def test_an_exception_of_the_callers_check_comes_through(database):
    def lost():
        raise VerifyFailed("the lock was lost", rule="lock")

    assert failure(database, one(made(3)), VerifyFailed, cancelled=lost).rule == "lock"


def test_cancelling_during_an_index_build_does_not_wait_for_it(database):
    building, go_on = threading.Event(), threading.Event()

    def hook(run, command):
        building.set()
        # longer than a test may take: a load that waits for it does not pass
        assert go_on.wait(600)
        return run()

    dump = one(made(100), {"v": 2, "key": {"a": 1}, "name": "a_1"})
    with pytest.raises(MendError, match="cancelled"):
        load_all(Meddler(database, createIndexes=hook), dump, cancelled=building.is_set)
    go_on.set()
    threads_end()


def test_a_view_or_an_unknown_proof_is_the_callers_mistake(database):
    with pytest.raises(ValueError, match="proof must be one of"):
        load(database, one(made(1)), {}, proof="none")
    dump = open_dump(DATA / "estore.archive.gz")
    with pytest.raises(ValueError, match="is a view"):
        load(database, dump, {("estore", "open_orders"): "side"})
    assert database.list_collection_names() == []
