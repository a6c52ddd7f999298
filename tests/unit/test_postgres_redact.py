"""What a statement carries does not leave; what it says stays readable."""

import pytest
from ansible.module_utils.mendbook.postgres_redact import redacted
from hypothesis import given
from hypothesis import strategies as st

CANARY = "canary4111"


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("select * from users where email = 'anna@example.com'", "select * from users where email = ?"),
        ("select 'it''s', \"Name\", 12, 1.5e-3, .5, 0x1F, $1", 'select ?, "Name", ?, ?, ?, ?, $1'),
        (r"select E'it\'s \\', b", "select ?, b"),
        ("select U&'d!0061' uescape '!', B'101', x'ff', N'a'", "select ? uescape ?, ?, ?, ?"),
        ("insert into t2 values (-3, 'a'), (4, 'b')", "insert into t2 values (-?, ?), (?, ?)"),
        ("do $$ begin 'secret' end $$ language plpgsql", "do ? language plpgsql"),
        ("select $tag$ it's $$ $tag$, a$b", "select ?, a$b"),
        ("select 1 -- for anna@example.com\n, 2", "select ? , ?"),
        ("select /* a /* nested */ secret */ id from t1", "select id from t1"),
        ("select a.b1, c_2 from x3 limit 10 offset 20", "select a.b1, c_2 from x3 limit ? offset ?"),
        ("copy t from stdin", "copy t from stdin"),
        ("alter role shop password 'hunter2'", "alter role shop password ?"),
        ("select\n\n  1\t+   2", "select ? + ?"),
        ("", ""),
    ],
)
def test_literals_become_question_marks_and_comments_go(statement, shown):
    assert redacted(statement) == shown


@pytest.mark.parametrize(
    "start", ["select 'abc ", "select E'abc ", "select $$ abc ", "select $q$ abc ", "select /* abc ", "select -- abc "]
)
def test_what_the_server_has_cut_off_hides_all_behind_it(start):
    assert CANARY not in redacted(start + CANARY)
    assert redacted(start + CANARY).startswith("select")


def test_behind_a_backslash_that_may_hide_a_quote_nothing_is_certain():
    # with standard_conforming_strings the literal ends there, without it goes on
    assert redacted(rf"select 'C:\', {CANARY}, 'x' || '{CANARY}'") == "select ? ..."


def test_control_characters_never_leave_and_long_statements_are_cut():
    shown = redacted('select "\x1b[31mred\u202e" from ' + "x" * 1000)
    assert "\x1b" not in shown and "\u202e" not in shown and len(shown) <= 300


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_quoted_literal_never_leaves_whatever_it_holds(secret, after):
    quoted = "'" + (CANARY + secret).replace("'", "''") + "'"
    shown = redacted(f"select {quoted}, {after.replace(CANARY, '')}")
    assert CANARY not in shown and shown.startswith("select ?")


@given(st.text(max_size=200))
def test_any_text_is_one_printable_line(statement):
    shown = redacted(statement)
    assert len(shown) <= 300 and "\n" not in shown and "\x00" not in shown
