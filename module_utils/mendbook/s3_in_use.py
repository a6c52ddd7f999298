# SPDX-License-Identifier: MIT
"""The mark KEY.inuse.RUN.json: while it stands and is young, prune leaves the backup alone that a run is reading."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from datetime import datetime, timezone

from ansible.module_utils.mendbook import s3
from ansible.module_utils.mendbook.errors import Cancelled, MendError
from ansible.module_utils.mendbook.s3_errors import place
from ansible.module_utils.mendbook.s3_mark import IN_USE, mark_key
from ansible.module_utils.mendbook.s3_new import content_md5

# prune heeds a mark for six hours, so several renewals may fail in between
RENEW_SECONDS = 3600
# a store that does not take the mark must not hold up the restore
_PATIENCE_SECONDS = 5


@contextlib.contextmanager
def in_use(client, bucket, key, run, note, renew_seconds=RENEW_SECONDS):
    """Mark the object ``key`` while the block runs; ``note(text)`` is told why when that cannot be done.

    Credentials that may only read, a bucket that takes no objects and a store that is away are no failure: whoever
    may restore need not be allowed to write beside the backups.
    """
    mark = _Mark(client, bucket, mark_key(key, IN_USE, run), run, note)
    over = threading.Event()

    def renew():
        while not over.wait(renew_seconds):
            mark.put()

    heart = threading.Thread(target=renew, name="mend-s3-in-use", daemon=True)
    try:
        if mark.put():
            heart.start()
        yield
    finally:
        over.set()
        try:
            _end(heart, mark)
        except Cancelled:
            # the signal comes only once
            _end(heart, mark)
            raise


def _end(heart, mark):
    if heart.ident is not None:
        heart.join()
    mark.remove()


class _Mark:
    def __init__(self, client, bucket, key, run, note):
        self._client, self._object, self._run, self._note = client, {"Bucket": bucket, "Key": key}, run, note
        self._may_be_there = False
        self._versions = []

    def put(self):
        """Write the mark, again to renew it; False when it cannot be."""
        before, self._may_be_there = self._may_be_there, True
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {"schema": 1, "run": self._run, "host": socket.gethostname(), "pid": os.getpid(), "at": now}
        data = json.dumps(body).encode()
        content = {"Body": data, "ContentMD5": content_md5(data), "ContentType": "application/json"}
        with self._noting("the backup is not marked as in use, so a prune meanwhile may take it away"):
            self._versions.append(self._call("write", "s3:PutObject", "put_object", **content).get("VersionId"))
            return True
        self._may_be_there = before
        return False

    def remove(self):
        """Delete every version that was written; where that is not allowed, only hide them."""
        if not self._may_be_there:
            return
        with self._noting("the mark stays, and keeps the backup from being pruned for six hours"):
            pinned = [version for version in self._versions if version]
            try:
                for version in pinned:
                    self._call("delete", "s3:DeleteObjectVersion", "delete_object", VersionId=version)
            except MendError as error:
                if isinstance(error, Cancelled):
                    raise
                pinned = []
            if not pinned:
                self._call("delete", "s3:DeleteObject", "delete_object")

    @contextlib.contextmanager
    def _noting(self, what):
        try:
            yield
        except MendError as error:
            if isinstance(error, Cancelled):
                raise
            self._note(f"{what}: {error.msg}")

    def _call(self, verb, action, operation, **arguments):
        bucket, key = self._object["Bucket"], self._object["Key"]
        return s3.call(
            lambda: getattr(self._client, operation)(**self._object, **arguments),
            f"{verb} {place(bucket, key)}",
            action,
            self._client.meta.endpoint_url,
            bucket,
            key,
            s3.Patience(_PATIENCE_SECONDS),
        )
