from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from ansible.module_utils.mendbook import manifest, s3_mark, s3_pointer
from ansible.module_utils.mendbook.errors import Refused
from ansible.module_utils.mendbook.mongo_backup_key import MAX_KEY_BYTES, backup_key, check_key, key_name

AT = datetime(2026, 11, 20, 0, 0, 3, 999_999, tzinfo=UTC)


def test_a_key_is_made_of_prefix_database_and_time():
    assert backup_key("daily/", "estore", AT) == "daily/estore-20261120T000003Z.archive.gz"
    assert backup_key("", "e-store_2", AT) == "e-store_2-20261120T000003Z.archive.gz"


@pytest.mark.parametrize("database", ["a b", "käse", "a\nb", "a%2fb", "*", "latest.", "..", "a/b", "x" * 63 + "ü"])
def test_a_hostile_name_becomes_a_key_that_every_tool_can_write(database):
    key = backup_key("daily/", database, AT)
    assert re.fullmatch(r"daily/[A-Za-z0-9_-]+-20261120T000003Z\.archive\.gz", key)
    check_key(key, "daily/")


def test_two_names_that_look_alike_get_two_keys():
    names = ["a b", "a_b", "a.b", "a\tb"]
    assert len({key_name(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("weekly/a.gz", "not below the prefix daily/"),
        ("dail", "not below the prefix"),
        ("daily/", "a path and no key"),
        ("daily//a.gz", "a path and no key"),
        ("daily/../a.gz", "a path and no key"),
        ("daily/./a.gz", "a path and no key"),
        (s3_mark.lock_key("daily/", "r1-0a"), "a manifest, a mark, a lock or a pointer"),
        ("daily/a\n.gz", "cannot be printed"),
        ("daily/" + "ä" * (MAX_KEY_BYTES // 2), f"more than {MAX_KEY_BYTES} bytes"),
        ("daily/latest", "a manifest, a mark, a lock or a pointer"),
        ("daily/latest.dump", "a manifest, a mark, a lock or a pointer"),
        (manifest.manifest_key("daily/a.gz"), "a manifest, a mark, a lock or a pointer"),
        (
            s3_mark.mark_key("daily/a.gz", s3_mark.IN_USE, "20261120T000000Z-abcdef"),
            "a manifest, a mark, a lock or a pointer",
        ),
    ],
)
def test_a_key_that_could_not_be_found_again_is_refused(key, why):
    with pytest.raises(Refused, match=why) as caught:
        check_key(key, "daily/")
    assert caught.value.rule == "key" and "\n" not in caught.value.msg


def test_what_stands_beside_the_longest_key_has_room_in_s3():
    key = "k" * MAX_KEY_BYTES
    check_key(key, "")
    mark = s3_mark.mark_key(key, s3_mark.DRILL, "20261120T000000Z-abcdef")
    assert len(manifest.manifest_key(mark)) <= s3_pointer.MAX_KEY_BYTES
