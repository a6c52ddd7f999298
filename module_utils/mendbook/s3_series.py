# SPDX-License-Identifier: MIT
"""Which backups belong to one row (pure): keys that differ in nothing but their date.

Retention and checks look at each row by itself: a database that is no longer backed up must neither be hidden by its
neighbours' new backups nor lose its last ones to them.
"""

from __future__ import annotations

import posixpath
import re

# what backup_mongo writes: DATABASE-20261120T000000Z.archive.gz
_OURS = re.compile(r"(?P<name>.+)-[0-9]{8}T[0-9]{6}Z(?P<ending>\.archive\.gz)", re.DOTALL)
_DATE = re.compile(
    r"(?<![0-9])(?:19|20)[0-9]{2}([-_./]?)[0-9]{2}\1[0-9]{2}"
    r"(?:[T_ .-]?[0-9]{2}[:._-]?[0-9]{2}(?:[:._-]?[0-9]{2})?)?(?![0-9])Z?"
)


def is_ours(key):
    """Whether the key is one that backup_mongo makes, so that the object is a backup even without a manifest."""
    return _OURS.fullmatch(key) is not None


def series(key):
    """Return the name of the key's row: the key with ``*`` for its date, its folder and ``*`` when it has none."""
    ours = _OURS.fullmatch(key)
    if ours:
        # what looks like a date in a database's name is a part of the name
        return "{name}-*{ending}".format(**ours.groupdict())
    dateless = _DATE.sub("*", key)
    return dateless if dateless != key else posixpath.join(posixpath.dirname(key), "*")
