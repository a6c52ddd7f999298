"""Redis' patterns matched here: its own turns, and no pattern that takes for ever."""

import time

import pytest
from ansible.module_utils.mendbook.redis_glob import as_bytes, matcher, names_keys, takes_all
from hypothesis import given
from hypothesis import strategies as st

# what patterns are made of, and parts of classes that end somewhere or nowhere
PATTERNS = st.lists(
    st.one_of(
        st.sampled_from(["*", "?", "[", "]", "^", "-", "\\", "[^x]", "[^]", "[a-z0-9]", "[Cc]", "[]"]),
        st.characters(codec="utf-8"),
    ),
    max_size=12,
).map("".join)


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


@pytest.mark.parametrize("pattern", ["*", "**", "?*", "*?*", "??**", "[^]*", "*[^]?", "*[^"])
def test_a_pattern_that_means_every_key_is_known(pattern):
    assert takes_all(pattern)


@pytest.mark.parametrize("pattern", ["", "?", "a*", "*:*", "[*]", r"\*", "[^x]*", "[]*"])
def test_other_patterns_do_not_mean_every_key(pattern):
    assert not takes_all(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["cache:*", "*:tmp", "user:[0-9]*:cart", "[0-9]*:tmp", "*product*", "c:*", "?ache:*", "[Cc][Aa]*", r"*\*\?*", "é*"]
    + ["a", "cache", "[ab]", r"\*"],
)
def test_a_pattern_with_a_text_of_its_own_says_what_it_means(pattern):
    assert names_keys(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "?*",
        "[^x]*",
        "*[^x]",
        "[a-z0-9]*",
        "[a-z][a-z]*",
        "*:*",
        "?*:*?",
        "a*",
        "*e*",
        "?",
        "[^]",
        "[!-~]*",
        "*[abcd]",
    ],
)
def test_a_pattern_without_a_text_of_its_own_may_mean_nearly_every_key(pattern):
    assert not names_keys(pattern)


@given(PATTERNS, PATTERNS)
def test_no_wildcards_take_the_text_of_a_pattern_away(before, after):
    # what stands before must have ended its class and its backslash
    whole = before.replace("[", "").replace("\\", "")
    assert names_keys(whole + "cache:" + after) and names_keys("cache:" + after)


@given(PATTERNS, st.integers(1, 6))
def test_what_has_a_text_of_its_own_takes_few_of_all_keys(pattern, length):
    """Of the keys that are one byte again and again; what takes more of them is nobody's text."""
    taken = sum(1 for byte in range(256) if matcher([pattern])(bytes([byte]) * length))
    assert taken <= 3 or not names_keys(pattern)


@given(PATTERNS, st.binary(min_size=60, max_size=80))
def test_what_means_every_key_takes_any_that_is_long_enough(pattern, key):
    if takes_all(pattern):
        assert matcher([pattern])(key) and not names_keys(pattern)


@given(PATTERNS)
def test_a_pattern_without_wildcards_is_one_key(pattern):
    plain = pattern.translate(dict.fromkeys(map(ord, "*?[\\")))
    assert names_keys(plain) and matcher([plain])(as_bytes(plain))
