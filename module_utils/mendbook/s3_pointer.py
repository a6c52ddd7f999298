# SPDX-License-Identifier: MIT
"""What a key named latest stands for: the dump itself, or a small text or JSON object that names the dump's key."""

from __future__ import annotations

import json
import posixpath

from ansible.module_utils.mendbook import manifest, s3_mark
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3_errors import place, shown

MAX_BYTES = 4096
MAX_KEY_BYTES = 1024


def may_be_pointer(key):
    """Whether the key's last part is ``latest``, with or without an ending; its bytes decide the rest."""
    name = posixpath.basename(key)
    return name.split(".")[0] == "latest" and manifest.object_key(key) is None and s3_mark.parse_key(key) is None


def parse(data, key, bucket):
    """Return what the object ``key`` with the bytes ``data`` points to as (key, version_id or None).

    None means that the bytes are no text, so the object is a dump itself. MendError (rule pointer) when it is text
    that cannot be meant: whoever can write to the bucket can write a pointer, so it may name a key and nothing else.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if "\0" in text:  # mongodump's archive begins with valid UTF-8, but its lengths hold zero bytes
        return None
    pointer = place(bucket, key)
    text = text.strip(" \t\r\n")
    version_id = None
    if text.startswith(("{", "[", '"')):
        text, version_id = _from_json(text, pointer, bucket)
    if text.startswith("s3://"):
        named_bucket, _slash, text = text[len("s3://") :].partition("/")
        if named_bucket != bucket:
            raise _bad(pointer, f"it names the other bucket {shown(named_bucket)}")
    if not text:
        raise _bad(pointer, "it names no key")
    if not text.isprintable():
        raise _bad(pointer, "it is not one line of printable text")
    if len(text.encode("utf-8")) > MAX_KEY_BYTES:
        raise _bad(pointer, f"it names a key of more than {MAX_KEY_BYTES} bytes")
    if text.startswith("/") or ".." in text.split("/") or "//" in text:
        raise _bad(pointer, f"it names the key {shown(text)}, which is a path and no key")
    if may_be_pointer(text) or s3_mark.parse_key(text) or manifest.object_key(text):
        raise _bad(pointer, f"it names {shown(text)}, which is no backup")
    return text, version_id


def _from_json(text, pointer, bucket):
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise _bad(pointer, "it looks like JSON and is none") from None
    if not isinstance(document, dict) or not isinstance(document.get("key"), str):
        raise _bad(pointer, 'its JSON has no text "key"')
    if document.get("bucket", bucket) != bucket:
        raise _bad(pointer, "it names the other bucket {}".format(shown(document["bucket"])))
    version_id = document.get("version_id")
    if version_id is not None and not (isinstance(version_id, str) and 0 < len(version_id) <= MAX_KEY_BYTES):
        raise _bad(pointer, 'its JSON has a "version_id" that is no text')
    return document["key"], version_id


def _bad(pointer, what):
    return MendError(
        f"{pointer} cannot say which backup is the latest: {what}. Repair it, or choose with key or at.",
        rule="pointer",
    )
