"""What a user of Redis may not do, as its three ways of saying so tell it, and the command that allows it."""

import shlex

import pytest
from ansible.module_utils.mendbook.redis_rights import allowing, denied, quoted
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("said", "command", "rights"),
    [
        ("this user has no permissions to run the 'unlink' command or its subcommand", "UNLINK", ["+unlink"]),
        ("this user has no permissions to run the 'config' command or its subcommand", "CONFIG", ["+config"]),
        # Redis 6.2 does not tell which part of it was asked for
        ("this user has no permissions to run the 'memory' command or its subcommand", "MEMORY", ["+memory|usage"]),
        (
            "this user has no permissions to run the 'client' command or its subcommand",
            "CLIENT",
            ["+client|setname", "+client|list"],
        ),
        ("this user has no permissions to run the 'config|get' command", "CONFIG GET", ["+config|get"]),
        ("User ops has no permissions to run the 'client|list' command", "CLIENT LIST", ["+client|list"]),
        ("User o's has no permissions to run the 'flushdb' command", "FLUSHDB", ["+flushdb"]),
        ("User ops has no permissions to access the 'a*b c' key", None, ["~a\\*b?c"]),
        ("No permissions to access database", None, []),
        ("something new", None, []),
    ],
)
def test_what_is_refused_names_the_right_to_it(said, command, rights):
    assert denied(said) == (command, rights)


@pytest.mark.parametrize(
    "said",
    ["this user has no permissions to access one of the keys used as arguments", "No permissions to access a key"],
)
def test_keys_that_nobody_names_are_those_that_were_asked_for(said):
    assert denied(said) == (None, [])
    assert denied(said, [b"cache:*", b"a b:*", b"\xff*"]) == (None, ["~cache:*", "~a?b:*", "~\udcff*"])


@pytest.mark.parametrize(
    ("params", "command"),
    [
        ({"uri": "redis://ops:canary@cache1"}, "ACL SETUSER ops +unlink"),
        ({"uri": "redis://:canary@cache1"}, "ACL SETUSER default +unlink"),
        ({"uri": "redis://a%22b:canary@cache1"}, 'ACL SETUSER "a\\"b" +unlink'),
        ({"uri": "redis://ops:x@cache1", "username": "o'ps", "password": "canary"}, 'ACL SETUSER "o\'ps" +unlink'),
        ({"uri": "redis://ops:x@cache1", "username": "the ops"}, 'ACL SETUSER "the ops" +unlink'),
        # what is the password, too, is not told
        ({"uri": "redis://cache1", "username": "canary", "password": "canary"}, "ACL SETUSER USER +unlink"),
    ],
)
def test_the_command_is_for_the_user_that_logs_in_and_tells_no_password(params, command):
    words = allowing(params, ["+unlink"])
    assert words == f"an administrator can allow it: {command}" and "canary" not in words


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("ops", "ops"),
        ("+client|list", "+client|list"),
        (r"~a\*b", r"~a\*b"),
        ("", '""'),
        ("a\\ b", r'"a\\ b"'),
        ("a\n\x1b\udcff", r'"a\x0a\x1b\xff"'),
        ("é", "é"),
        ("\u202e", r'"\xe2\x80\xae"'),
    ],
)
def test_a_word_is_written_as_redis_cli_reads_it(word, expected):
    assert quoted(word) == expected


@given(st.text(st.characters(codec="utf-8")))
def test_a_word_can_be_printed_and_is_one_word(word):
    shown = quoted(word)
    # a shell knows no \x in quotes, and is else of the same mind
    plain = shown if shown.startswith('"') else shown.replace("\\", "\\\\")
    assert shown.isprintable() and len(shlex.split(plain)) == 1
