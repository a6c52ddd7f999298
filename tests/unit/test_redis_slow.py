"""Slow commands as they are shown: their name and the beginning of their key, and nothing of what they carry."""

import pytest
from ansible.module_utils.mendbook.redis_slow import entries, grouped, redacted


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("SET order:4711 secret", "SET order:*"),
        ("set order:4711 secret ex 5", "SET order:*"),
        ("GET canary", "GET *"),
        ("HSET cart:7 card 4111", "HSET cart:*"),
        ("KEYS product:*", "KEYS product:*"),
        ("KEYS *", "KEYS *"),
        ("SCAN 0 MATCH sess:* COUNT 9", "SCAN sess:*"),
        ("SCAN 0", "SCAN"),
        ("EVAL return(1) 1 lock:7 canary", "EVAL lock:*"),
        ("EVALSHA abc 0 canary", "EVALSHA"),
        ("FCALL f 0 canary", "FCALL"),
        ("MEMORY USAGE sess:7", "MEMORY USAGE sess:*"),
        ("XGROUP CREATE jobs:1 g 0", "XGROUP CREATE jobs:*"),
        ("CONFIG SET requirepass canary", "CONFIG SET"),
        ("AUTH canary", "AUTH"),
        ("HELLO 3 AUTH default canary", "HELLO"),
        ("ACL SETUSER ops >canary", "ACL SETUSER"),
        ("PUBLISH news canary", "PUBLISH"),
        ("FLUSHALL", "FLUSHALL"),
        ("DEBUG SLEEP 1", "DEBUG SLEEP"),
        ("SORT list:1 BY canary", "SORT list:*"),
        ("BITOP AND dest:1 a b", "BITOP dest:*"),
        ("NOSUCH", "NOSUCH"),
    ],
)
def test_a_command_without_what_it_carries(words, shown):
    text = redacted(words.encode().split())
    assert text == shown and "canary" not in text and "secret" not in text


@pytest.mark.parametrize(
    "words",
    [[b"GET", b"\x1b[31m\n:x"], [b"\x1b[31m\nGET", b"x"], [b"GET", b"\xff\xfe:x"], [b"X" * 5000, b"k:" * 5000]],
)
def test_hostile_words_are_data(words):
    text = redacted(words)
    assert text.isprintable() and len(text) < 200


def test_an_entry_says_how_long_it_took_how_long_ago_and_for_whom():
    raw = [
        [2, 1000, 250000, [b"GET", b"order:1"], b"10.0.0.7:51000", b"shop-api"],
        [1, 990, 1000, [b"SET", b"order:1", b"x"], b"10.0.0.8:51000", b""],
        [0, 2000, 1000, [b"PING"]],
    ]
    assert entries(raw, 1010.4) == [
        {"command": "GET order:*", "seconds": 0.25, "age_seconds": 10, "client": "shop-api"},
        {"command": "SET order:*", "seconds": 0.001, "age_seconds": 20, "client": "10.0.0.8"},
        # its clock may have been put back
        {"command": "PING", "seconds": 0.001, "age_seconds": 0, "client": "(unknown)"},
    ]


def test_entries_of_a_kind_are_one_and_the_slowest_comes_first():
    def entry(command, seconds, age, client="api", node="a:1"):
        return {"command": command, "seconds": seconds, "age_seconds": age, "client": client, "node": node}

    found = grouped(
        [entry("GET a:*", 0.1, 50), entry("KEYS *", 0.5, 9), entry("GET a:*", 0.3, 70, "job", "b:1")], limit=2
    )
    assert [one["command"] for one in found] == ["KEYS *", "GET a:*"]
    assert found[1] == {
        "command": "GET a:*",
        "count": 2,
        "slowest_seconds": 0.3,
        "age_seconds": 50,
        "clients": ["api", "job"],
        "nodes": ["a:1", "b:1"],
    }
    assert grouped([], 5) == []
