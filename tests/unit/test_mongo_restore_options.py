"""What a restore is asked for: refused before a server is met, in the operator's words."""

from __future__ import annotations

import pytest
from ansible.module_utils.mendbook.errors import MendError, Nothing
from ansible.module_utils.mendbook.mongo_restore_options import check_options

GIVEN = {
    "bucket": "backups", "path": None, "database": "estore", "keep_seconds": 86400, "workers": 2, "max_age_seconds": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [{}, {"bucket": None, "path": "/dump"}, {"keep_seconds": 0}, {"keep_seconds": 315360000}, {"workers": 64}],
)
def test_what_can_be_meant_is_taken(given):
    check_options({**GIVEN, **given})


@pytest.mark.parametrize(
    ("given", "rule", "words"),
    [
        ({"bucket": None}, "options", "set mongo_restore_bucket"),
        ({"bucket": ""}, "options", "set mongo_restore_bucket"),
        ({"path": "/dump"}, "options", "mongo_restore_bucket and mongo_restore_path contradict"),
        ({"database": ""}, "database", "mongo_restore_database is empty"),
        ({"database": "config"}, "database", "the server's own"),
        ({"database": "admin"}, "database", "the server's own"),
        ({"database": "local"}, "database", "the server's own"),
        ({"database": "Config"}, "database", "the server's own"),
        ({"database": "est.ore"}, "database", "no name of a database"),
        ({"database": "e store"}, "database", "no name of a database"),
        ({"database": "e\0store"}, "database", "no name of a database"),
        ({"database": "é" * 32}, "database", "no name of a database"),
        ({"keep_seconds": -1}, "keep_seconds", "mongo_restore_keep_seconds is -1, and must be 0 to 315360000"),
        ({"keep_seconds": 999999999999}, "keep_seconds", "must be 0 to 315360000"),
        ({"workers": 0}, "workers", "mongo_restore_workers is 0, and must be 1 to 64"),
        ({"workers": 500}, "workers", "must be 1 to 64"),
        ({"max_age_seconds": -5}, "max_age_seconds", "mongo_restore_max_age_seconds is -5, and must be 0 or more"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_name(given, rule, words):
    with pytest.raises(MendError) as caught:
        check_options({**GIVEN, **given})
    assert caught.value.rule == rule and words in caught.value.msg
    assert isinstance(caught.value, Nothing) == ("empty" in words or "set mongo" in words)
    assert caught.value.reason in ("refused", "nothing")
