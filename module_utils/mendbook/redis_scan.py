# SPDX-License-Identifier: MIT
"""One connection to one database of one server: questions in portions that nobody else at the server waits for."""

from __future__ import annotations

from contextlib import contextmanager

import redis

# the size of a portion decides how long others wait: with 500 keys three times as long, with 1,000 ten times
SCAN_COUNT = 200


@contextmanager
def connected(node, database, default):
    """A connection of our own to this database of a node; ``default`` is the one that new connections have."""
    pool = node.client.connection_pool
    connection = pool.make_connection()
    try:
        connection.connect()
        if database != default:
            ask(connection, "SELECT", database)
        yield connection
    finally:
        connection.disconnect()


def ask(connection, *command):
    """Return the answer to one command; raises redis' errors."""
    connection.send_command(*command)
    return connection.read_response()


def ask_all(connection, commands):
    """Return the answers to commands that go out together; what the server refuses is an exception among them."""
    connection.send_packed_command(connection.pack_commands(commands))
    return [_answer(connection) for _ in commands]


def unlink_each(connection, keys):
    """Return the answers to an UNLINK of each of these keys (bytes); they go out together.

    Put into words here: redis-py takes ten times as long for it, most of a flush's own time in a cluster.
    """
    words = [b"*2\r\n$6\r\nUNLINK\r\n$%d\r\n%b\r\n" % (len(key), key) for key in keys]
    connection.send_packed_command([b"".join(words)])
    return [_answer(connection) for _ in keys]


def scan(connection, pattern=None, count=SCAN_COUNT):
    """Give (cursor, keys) for each portion of the keys; the last one has the cursor 0, and some keys come twice."""
    match = () if pattern is None else ("MATCH", pattern)
    cursor = 0
    while True:
        answer, keys = ask(connection, "SCAN", cursor, *match, "COUNT", count)
        cursor = int(answer)
        yield cursor, keys
        if cursor == 0:
            return


def _answer(connection):
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
