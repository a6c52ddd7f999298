# SPDX-License-Identifier: MIT
"""Which backups belong to one row (pure): keys that differ in nothing but their date, and one database.

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
# folders of years and months; a year alone may be anybody's number
_MONTH = re.compile(r"(?<![^/])(?:19|20)[0-9]{2}[-_./](?:0[1-9]|1[0-2])(?=/)")


def is_ours(key):
    """Whether the key is one that backup_mongo makes, so that the object is a backup even without a manifest."""
    return _OURS.fullmatch(key) is not None


def series(key):
    """Return the key with ``*`` for its date, and its folder and ``*`` when it has none."""
    ours = _OURS.fullmatch(key)
    if ours:
        folder, slash, name = ours["name"].rpartition("/")
        # what looks like a date in a database's name is a part of the name
        return _MONTH.sub("*", _DATE.sub("*", folder + slash)) + name + "-*" + ours["ending"]
    dateless = _DATE.sub("*", key)
    return dateless if dateless != key else posixpath.join(posixpath.dirname(key), "*")


def rows(backups):
    """Return {(series, database): [Backups]}; ``database`` is None where all of the series are one row.

    Under keys without a date everything in a folder is one series, so the manifests say which database each is of.
    Complete ones whose manifests do not say it are a row of their own there ("" for the database); where keys have a
    date, they belong to the only database that is known.
    """
    by_series = {}
    for backup in backups:
        by_series.setdefault(series(backup.key), []).append(backup)
    found = {}
    for name, members in by_series.items():
        by_database = {}
        for backup in members:
            by_database.setdefault(database_of(backup), []).append(backup)
        has_date = name != posixpath.join(posixpath.dirname(name), "*")
        untold = any(backup.complete for backup in by_database.get(None, ()))
        if len(by_database) == 1 or (len(set(by_database) - {None}) == 1 and (has_date or not untold)):
            found[name, None] = members
        else:
            found.update({(name, database or ""): part for database, part in by_database.items()})
    return found


def database_of(backup):
    """Return the database that the Backup is of, as its manifest says it, or None."""
    told = backup.manifest or {}
    source = source_of(backup)
    # rs0@db1:27017/estore; a manifest of somebody else's may have its collections only
    return source.rpartition("/")[2] or source if source else ", ".join(told.get("databases") or ()) or None


def source_of(backup):
    """Return the deployment and the database that the manifest names, or None."""
    return ((backup.manifest or {}).get("source") or {}).get("id")


def row_name(row):
    """Return the row (series, database) in words."""
    name, database = row
    return name if database is None else "{} ({})".format(name, database or "no manifest says of which database")
