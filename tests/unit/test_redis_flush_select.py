"""Options of a flush that cannot be meant, and which keys a selection takes, keeps and spares."""

import pytest
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.redis_flush_select import Selector, check_options

OPTIONS = {
    "patterns": ["cache:*"], "whole_database": False, "database": None, "all_databases": False, "keep": [],
    "include_kinds": [], "max_keys": 1000, "max_share": 0.9,
}  # fmt: skip
WHOLE = {"patterns": [], "whole_database": True}


@pytest.mark.parametrize(
    ("changed", "reason", "rule"),
    [
        ({"patterns": []}, "nothing", "patterns"),
        ({"patterns": ["cache:*", ""]}, "nothing", "patterns"),
        ({"patterns": ["*"]}, "refused", "patterns"),
        ({"patterns": ["cache:*", "?*"]}, "refused", "patterns"),
        ({"patterns": ["*"], "keep": ["sess:*"]}, "refused", "patterns"),
        ({"whole_database": True}, "refused", "whole_database"),
        ({"keep": [""]}, "nothing", "keep"),
        ({**WHOLE, "keep": ["*"]}, "nothing", "keep"),
        ({"all_databases": True}, "refused", "all_databases"),
        ({**WHOLE, "all_databases": True, "database": 0}, "refused", "all_databases"),
        ({"patterns": [], "all_databases": True}, "nothing", "patterns"),
        ({"database": -1}, None, "database"),
        ({"max_share": 0}, None, "max_share"),
        ({"max_share": 1.1}, None, "max_share"),
    ],
)
def test_options_that_cannot_be_meant(changed, reason, rule):
    with pytest.raises(MendError) as caught:
        check_options({**OPTIONS, **changed})
    assert (caught.value.reason, caught.value.rule) == (reason, rule)


@pytest.mark.parametrize("changed", [{}, WHOLE, {**WHOLE, "all_databases": True}, {**WHOLE, "keep": ["a*"]}])
def test_options_that_can(changed):
    check_options({**OPTIONS, **changed})


def test_what_is_kept_stays_whatever_else_it_is():
    selector = Selector({**OPTIONS, "patterns": ["*"], "keep": ["cache:home*", "sess:*"]})
    keys = [b"cache:1", b"cache:home:1", b"sess:1", b"token:1", b"cache:2"]
    assert selector.split(keys) == ([b"cache:1", b"cache:2"], [b"cache:home:1", b"sess:1"], {"sessions": 1})


def test_only_a_whole_database_of_which_nothing_stays_goes_at_once():
    assert Selector({**OPTIONS, **WHOLE}).at_once
    assert not Selector({**OPTIONS, **WHOLE, "keep": ["a*"]}).at_once and not Selector(OPTIONS).at_once
    assert Selector({**OPTIONS, **WHOLE, "keep": ["a*"]}).patterns == [b"*"]


def test_without_patterns_every_key_matches_also_one_without_a_name():
    assert all(map(Selector({**OPTIONS, **WHOLE}).matches, [b"a", b"\xff"]))
    assert Selector({**OPTIONS, **WHOLE, "keep": ["a"]}).matches(b"")
