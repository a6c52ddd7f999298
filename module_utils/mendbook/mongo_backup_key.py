# SPDX-License-Identifier: MIT
"""The key of a backup: made of prefix, database and time, or named by the operator; pure."""

from __future__ import annotations

import hashlib
import posixpath
import re

from . import manifest, s3_mark, s3_pointer
from .errors import Refused
from .s3_errors import shown
from .s3_options import is_path

ENDING = ".archive.gz"
# S3 allows 1,024; the manifest and the marks of a drill stand beside the key under longer ones
MAX_KEY_BYTES = 960

_NO_BACKUP = (manifest.object_key, s3_mark.parse_key, s3_mark.is_lock, s3_pointer.may_be_pointer)
_MADE = re.compile(r"[A-Za-z0-9_-]+-[0-9]{8}T[0-9]{6}Z" + re.escape(ENDING))


def backup_key(prefix, database, at):
    """Return the key of a backup of ``database`` that begins ``at`` (aware datetime, UTC)."""
    return f"{prefix}{key_name(database)}-{at:%Y%m%dT%H%M%SZ}{ENDING}"


def key_name(database):
    """Return the database's name as keys have it: what not every tool can write is replaced, and a hash tells apart.

    MongoDB takes nearly every character, also line breaks; the manifest has the name as it is.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", database)
    return plain if plain == database else f"{plain}-{hashlib.sha256(database.encode()).hexdigest()[:8]}"


def is_made_key(key, prefix):
    """Whether the key is one that `backup_key` makes below ``prefix`` itself, of whatever database."""
    return key.startswith(prefix) and _MADE.fullmatch(key[len(prefix) :]) is not None


def check_key(key, prefix):
    """Raise `Refused` (rule key) when no backup may have this key."""
    name = posixpath.basename(key)
    why = None
    if not key.startswith(prefix):
        why = f"it is not below the prefix {shown(prefix)}, which is what the lock is for"
    elif not name or is_path(key):
        why = "it is a path and no key"
    elif not key.isprintable():
        why = "it has characters that cannot be printed"
    elif len(key.encode()) > MAX_KEY_BYTES:
        why = f"it has more than {MAX_KEY_BYTES} bytes"
    elif any(takes(key) for takes in _NO_BACKUP):
        why = "the catalogue would take it for a manifest, a mark, a lock or a pointer"
    if why:
        raise Refused(f"refused: the key {shown(key)} cannot be a backup's: {why}", rule="key")
