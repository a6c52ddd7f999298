"""A pointer may name a key and nothing else: whoever can write to the bucket can write one."""

from __future__ import annotations

import gzip

import pytest
from ansible.module_utils.mendbook import s3_pointer
from ansible.module_utils.mendbook.errors import MendError


def parse(data):
    return s3_pointer.parse(data, "mongo/latest", "backups")


@pytest.mark.parametrize(
    ("data", "target"),
    [
        (b"mongo/2026-11-20.gz", ("mongo/2026-11-20.gz", None)),
        (b"  2026-11-20.gz\r\n", ("2026-11-20.gz", None)),
        (b"s3://backups/mongo/a.gz\n", ("mongo/a.gz", None)),
        (b'{"key": "mongo/a.gz"}', ("mongo/a.gz", None)),
        (b'{"key": "a.gz", "version_id": "v7", "bucket": "backups", "note": 1}', ("a.gz", "v7")),
        ("mongo/Sicherung vom Dienstag ü.gz".encode(), ("mongo/Sicherung vom Dienstag ü.gz", None)),
    ],
)
def test_texts_that_name_a_key(data, target):
    assert parse(data) == target


@pytest.mark.parametrize(
    "data", [b"\x6d\xe2\x99\x81\x10\0\0\0rest", gzip.compress(b"x", mtime=0), b"a\0b", b"\xff\xfe"]
)
def test_bytes_that_are_no_text_are_a_dump(data):
    assert parse(data) is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it names no key"),
        (b" \n", "it names no key"),
        (b"s3://backups/", "it names no key"),
        (b"s3://other/a.gz", "it names the other bucket other"),
        (b'{"key": "a.gz", "bucket": "other"}', "it names the other bucket other"),
        (b'{"key": "s3://other/a.gz"}', "it names the other bucket other"),
        (b"a.gz\nb.gz", "it is not one line of printable text"),
        (b"a.gz\x1b[2J", "it is not one line of printable text"),
        ("a\u202egz".encode(), "it is not one line of printable text"),
        (b"../other/a.gz", "which is a path and no key"),
        (b"/etc/passwd", "which is a path and no key"),
        (b"a//b", "which is a path and no key"),
        (b"x" * 1025, "more than 1024 bytes"),
        (b"mongo/latest", "which is no backup"),
        (b"mongo/latest.dump", "which is no backup"),
        (b"mongo/a.gz.manifest.json", "which is no backup"),
        (b"mongo/a.gz.inuse.20261120T000000Z-0a1b2c.json", "which is no backup"),
        (b"{", "it looks like JSON and is none"),
        (b"[" * 4000, "it looks like JSON and is none"),
        (b"[]", 'its JSON has no text "key"'),
        (b'"a.gz"', 'its JSON has no text "key"'),
        (b'{"key": 7}', 'its JSON has no text "key"'),
        (b'{"key": "a.gz", "version_id": ["x"]}', "version_id"),
        (b'{"key": "a.gz", "version_id": ""}', "version_id"),
    ],
)
def test_texts_that_cannot_be_meant_are_refused(data, words):
    with pytest.raises(MendError, match="cannot say which backup is the latest") as caught:
        parse(data)
    assert words in caught.value.msg
    assert caught.value.msg.isprintable()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("latest", True),
        ("mongo/latest.dump", True),
        ("mongo/latest.txt", True),
        ("mongo/latest.dump.manifest.json", False),
        ("latest/a.gz", False),
        ("mongo/latest-2.gz", False),
        ("mongo/latest.inuse.20261120T000000Z-0a1b2c.json", False),
    ],
)
def test_which_keys_may_be_pointers(key, expected):
    assert s3_pointer.may_be_pointer(key) is expected
