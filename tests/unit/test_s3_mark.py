"""Names of the marks beside a backup."""

from __future__ import annotations

import pytest
from ansible.module_utils.mendbook import s3_mark

RUN = "20261120T000000Z-0a1b2c"


@pytest.mark.parametrize("key", ["a", "mongo/estore.archive.gz", "new\nline", "x.drill.y", f"a.inuse.{RUN}.json"])
@pytest.mark.parametrize("kind", [s3_mark.IN_USE, s3_mark.DRILL])
def test_a_marks_key_names_its_object_again(key, kind):
    assert s3_mark.parse_key(s3_mark.mark_key(key, kind, RUN)) == (key, kind, RUN)


@pytest.mark.parametrize(
    "key",
    ["a.gz", "estore.drill.archive.gz", "a.inuse.json", f"a.inuse.{RUN}", f".inuse.{RUN}.json", f"a.lock.{RUN}.json"],
)
def test_what_only_looks_like_a_mark_is_an_object(key):
    assert s3_mark.parse_key(key) is None
