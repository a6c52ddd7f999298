"""Redis' patterns matched here: its own turns, and no pattern that takes for ever."""

import time

import pytest
from ansible.module_utils.mendbook.redis_glob import matcher, takes_all


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("cache:*", [b"cache:1", b"cache:", b"cache:\n\x00\xff"], [b"cache", b"xcache:1", b"Cache:1"]),
        ("a?c", [b"abc", b"a\nc", b"a\xffc"], [b"ac", b"abbc"]),
        ("a[bc]d", [b"abd", b"acd"], [b"aed", b"ad", b"abcd"]),
        ("a[^bc]d", [b"aed", b"a^d"], [b"abd", b"ad"]),
        ("a[b-d]", [b"ab", b"ac", b"ad"], [b"a-", b"ae"]),
        ("a[d-b]", [b"ac"], [b"ae"]),
        ("a[b", [b"ab"], [b"a[b", b"a"]),
        ("a[]b", [], [b"ab", b"a]b", b"a[]b"]),
        (r"a\*b", [b"a*b"], [b"axb", rb"a\*b"]),
        (r"a[\]x]", [b"a]", b"ax"], [b"a\\"]),
        ("a\\", [b"a\\"], [b"a"]),
        ("*:lock", [b":lock", b"a:b:lock"], [b"lock", b"a:lock:1"]),
        ("*a*b*", [b"ab", b"xxaxxbxx"], [b"ba"]),
        ("*ab*b", [b"abb", b"abxb", b"aabab_b"], [b"ab"]),
        ("{user}:*", [b"{user}:1"], [b"user:1"]),
        ("a.c", [b"a.c"], [b"abc"]),
        ("é*", ["é1".encode()], [b"e1"]),
        ("[é]", [b"\xc3", b"\xa9"], ["é".encode()]),
        ("-n", [b"-n"], [b"n"]),
    ],
)
def test_what_a_pattern_matches(pattern, matching, others):
    matches = matcher([pattern])
    assert [key for key in matching if not matches(key)] == []
    assert [key for key in others if matches(key)] == []


def test_one_of_several_patterns_is_enough_and_none_is_no_matcher():
    matches = matcher(["a*b*c", "x*y*z", "exact"])
    assert all(map(matches, [b"a1b1c", b"x-y-z", b"exact"])) and not matches(b"a1b1z")
    assert matcher([]) is None


def test_many_stars_and_a_long_key_take_no_time():
    began = time.perf_counter()
    assert not matcher(["*a" * 20 + "*b"])(b"a" * 65536)
    # going back to each star would take longer than anybody lives
    assert time.perf_counter() - began < 20


@pytest.mark.parametrize("pattern", ["*", "**", "?*", "*?*", "??**"])
def test_a_pattern_that_means_every_key_is_known(pattern):
    assert takes_all(pattern)


@pytest.mark.parametrize("pattern", ["", "?", "a*", "*:*", "[*]", r"\*"])
def test_other_patterns_do_not_mean_every_key(pattern):
    assert not takes_all(pattern)
