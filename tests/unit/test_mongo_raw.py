# SPDX-License-Identifier: MIT
"""Replies of find and getMore summed where they stand."""

from __future__ import annotations

from contextlib import contextmanager

import bson
import pytest
from ansible.module_utils.mendbook.bson_elements import elements
from ansible.module_utils.mendbook.dump_sums import fold
from ansible.module_utils.mendbook.mongo_raw import fold_array, sum_collection
from bson import Int64
from bson.raw_bson import RawBSONDocument
from pymongo import errors as driver
from pymongo.read_preferences import ReadPreference

from dump_writer import made


def array_of(documents):
    """The bytes of a BSON array of these raw documents."""
    whole = bson.encode({"a": [RawBSONDocument(document) for document in documents]})
    return whole[4 + 3 : -1]


@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 99, 100, 101, 1005])
def test_an_array_has_the_sum_of_its_documents(number):
    documents = made(number)
    assert fold_array(array_of(documents)) == fold(b"".join(documents))


@pytest.mark.parametrize("array", [array_of(made(2))[:-10] + b"\0", array_of(made(3))[:-1]])
def test_what_is_no_array_of_documents_is_refused(array):
    with pytest.raises((ValueError, IndexError)):
        fold_array(array)


class Server:
    """Answers find and getMore from a list of (documents, cursor id)."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.commands = []
        self.client = self
        self.read_preference = ReadPreference.SECONDARY

    @contextmanager
    def start_session(self):
        yield "the session"

    def command(self, command, codec_options=None, session=None, read_preference=None):
        assert session == "the session", "a cursor belongs to one session"
        assert read_preference is self.read_preference, "and to one member"
        self.commands.append(dict(command))
        if "killCursors" in command:
            return {"ok": 1}
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        documents, cursor = reply
        name = "nextBatch" if "getMore" in command else "firstBatch"
        value = {name: [RawBSONDocument(d) for d in documents], "id": Int64(cursor), "ns": "shop.users"}
        return RawBSONDocument(bson.encode({"cursor": value, "ok": 1.0}))


def test_every_reply_is_added_until_the_cursor_ends():
    documents, seen = made(25), []
    server = Server((documents[:10], 77), (documents[10:20], 77), (documents[20:], 0))
    total = sum_collection(server, "users", "the uuid", 100, lambda count, size: seen.append(count))
    assert (total.sum, total.count) == fold(b"".join(documents))
    assert seen == [10, 10, 5]
    find, more, last = server.commands
    assert find["collectionUUID"] == "the uuid"
    assert (more["getMore"], more["collection"]) == (77, "users")
    assert "collectionUUID" not in last


def test_an_empty_collection_is_zero():
    assert sum_collection(Server(([], 0)), "users").count == 0


@pytest.mark.parametrize(("document_bytes", "size"), [(0, 100_000), (1, 100_000), (2048, 1024), (16 << 20, 1)])
def test_replies_are_bounded_by_the_size_of_the_documents(document_bytes, size):
    server = Server(([], 0))
    sum_collection(server, "users", document_bytes=document_bytes)
    assert server.commands[0]["batchSize"] == size


def test_later_replies_go_by_the_size_of_what_came():
    server = Server((made(3, filler="x" * 100_000), 77), (made(2000, 3, ""), 77), ([], 0))
    sum_collection(server, "users", document_bytes=10)
    first, second, third = (command["batchSize"] for command in server.commands)
    assert (first, second) == (100_000, 20)
    assert 1000 < third < 20_000


def test_the_session_that_is_given_is_the_one_that_is_used():
    server = Server((made(1), 0))
    server.start_session = None
    assert sum_collection(server, "users", session="the session").count == 1


@pytest.mark.parametrize("error", [driver.OperationFailure("other UUID", 361), driver.AutoReconnect("reset")])
def test_an_error_on_the_way_closes_the_cursor_and_comes_through(error):
    server = Server((made(3), 77), error)
    with pytest.raises(type(error)):
        sum_collection(server, "users")
    assert server.commands[-1] == {"killCursors": "users", "cursors": [77]}


def test_an_error_at_once_has_no_cursor_to_close():
    server = Server(driver.OperationFailure("other UUID", 361))
    with pytest.raises(driver.OperationFailure):
        sum_collection(server, "users")
    assert len(server.commands) == 1


# elements


def test_elements_are_found_in_bytes_and_views_with_names_of_any_length():
    names = ["a", "b" * 127, "c" * 128, "d" * 129, "e" * 5000, "ü"]
    document = bson.encode(dict.fromkeys(names, 1))
    for form in (document, memoryview(document)):
        found = list(elements(form))
        assert [element.name.decode() for element in found] == names
        assert [bytes(form[e.value : e.after]) for e in found] == [b"\x01\0\0\0"] * 6


def test_a_name_without_end_is_no_element():
    with pytest.raises(ValueError, match="no BSON element at byte 4"):
        list(elements(b"\x10\0\0\0\x10" + b"a" * 300))
