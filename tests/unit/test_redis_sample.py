"""The biggest prefixes out of samples: exact where all keys were seen, extrapolated elsewhere."""

import pytest
import redis
from ansible.module_utils.mendbook import redis_sample
from ansible.module_utils.mendbook.redis_sample import Sample, coverage, merged, take


def sample(keys, whole=False, db=0, **prefixes):
    """A sample of ``keys`` keys that has seen ``name=(number, bytes of each)``."""
    made = Sample(db, keys)
    for name, (number, size) in prefixes.items():
        for one in range(number):
            made.add(f"{name}:{one}".encode(), size)
        made.seen += number
    made.whole = whole
    return made


def test_all_keys_are_told_as_they_are():
    (first, second) = merged([sample(5, whole=True, sess=(3, 100), cart=(2, 500))], 10)
    assert first == {"prefix": "cart:", "db": 0, "keys": 2, "bytes": 1000, "share": 0.7692, "largest_bytes": 500}
    assert (second["prefix"], second["keys"], second["bytes"]) == ("sess:", 3, 300)


def test_a_part_stands_for_the_whole_of_its_own_server():
    large = sample(1000, sess=(10, 100))
    small = sample(2, whole=True, sess=(2, 100))
    (one,) = merged([large, small], 10)
    assert (one["keys"], one["bytes"]) == (1002, 100200)
    assert coverage([large, small]) == {"seen": 12, "keys": 1002, "whole": False}


def test_databases_are_told_apart_and_the_list_ends():
    found = merged([sample(1, whole=True, db=0, a=(1, 1)), sample(1, whole=True, db=3, a=(1, 9), b=(1, 5))], 2)
    assert [(one["db"], one["prefix"]) for one in found] == [(3, "a:"), (3, "b:")]
    # what the list leaves out still counts as a share
    assert found[0]["share"] == 0.6


def test_nothing_seen_is_nothing_told():
    assert merged([sample(0, whole=True), sample(10)], 5) == []
    assert coverage([]) == {"seen": 0, "keys": 0, "whole": True}


class Script:
    """A connection that answers SCAN with these portions, and MEMORY USAGE with what ``sizes`` gives for a key."""

    def __init__(self, portions, sizes):
        self.portions = portions
        self.sizes = sizes
        self.sent = []

    def send_command(self, *command):
        self.sent.append(command)
        self.answers = [[str(len(self.portions) - 1).encode(), self.portions.pop(0)]]

    def pack_commands(self, commands):
        return list(commands)

    def send_packed_command(self, commands):
        self.sent += commands
        self.answers = [self.sizes(command[2]) for command in commands]

    def read_response(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_sample_ends_at_its_number_and_says_so():
    connection = Script([[b"a:%d" % n for n in range(100)]] * 5, lambda key: 10)
    taken = take(connection, 0, 500, 150, 60)
    assert (taken.seen, taken.whole) == (200, False)
    assert max(len(command) for command in connection.sent if command[0] == "MEMORY") == 5


def test_a_sample_ends_with_its_time():
    connection = Script([[b"a:1"], [b"a:2"], [b"a:3"]], lambda key: 10)
    assert take(connection, 0, 3, 100, 0).seen == 1


def test_keys_that_are_gone_or_hidden_are_left_out():
    hidden = redis.exceptions.NoPermissionError("No permissions to access a key")
    sizes = {b"a:1": 10, b"a:2": None, b"a:3": hidden}
    taken = take(Script([list(sizes)], sizes.get), 0, 3, 100, 60)
    assert taken.prefixes == {"a:": [1, 10, 10]} and (taken.seen, taken.whole) == (3, True)


def test_who_may_ask_no_size_at_all_is_told():
    denied = redis.exceptions.NoPermissionError("no permissions to run the 'memory|usage' command")
    with pytest.raises(redis.exceptions.NoPermissionError):
        take(Script([[b"a:1"]], lambda key: denied), 0, 1, 100, 60)


def test_of_a_collection_only_few_elements_are_counted():
    connection = Script([[b"a:1"]], lambda key: 10)
    take(connection, 0, 1, 10, 60)
    assert connection.sent == [
        ("SCAN", 0, "COUNT", 200),
        ("MEMORY", "USAGE", b"a:1", "SAMPLES", redis_sample._ELEMENTS),
    ]
