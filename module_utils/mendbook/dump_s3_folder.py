# SPDX-License-Identifier: MIT
"""A dump directory in S3: what ``mongodump --out`` wrote, uploaded file by file below one key.

Every file is listed once and read as the version (or the ETag) that was listed, so a file that is replaced or deleted
meanwhile is an error and never a mixture.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.mendbook.dump_directory import SourcesDump
from ansible.module_utils.mendbook.dump_files import layout
from ansible.module_utils.mendbook.errors import Nothing, Refused
from ansible.module_utils.mendbook.s3_backup import iso, judge_key
from ansible.module_utils.mendbook.s3_catalogue import READERS, listing
from ansible.module_utils.mendbook.s3_errors import place
from ansible.module_utils.mendbook.s3_options import check_pick
from ansible.module_utils.mendbook.s3_stream import object_source

# larger descriptions are read when it is their turn; there is none of this size
_AT_ONCE_BYTES = 1 << 20


class S3Folder:
    """The files below a key that ends with a slash, as they were listed.

    ``name`` for messages, ``dump`` the open dump, ``size`` in bytes, ``newest`` when the last file was written (a
    datetime), ``identity`` the JSON that pins every byte, ``notes`` for the operator.
    """

    def __init__(self, client, params):
        check_pick(params)
        bucket, key = params["bucket"], params["key"]
        self.name = place(bucket, key)
        if params.get("version_id"):
            raise Refused(f"S3 options: version_id belongs to one object, and {self.name} is a folder.", rule="options")
        entries, _markers, notes = listing(client, bucket, key)
        files = [one for one in entries if one.current and not one.deleted and not one.key.endswith("/")]
        if not files:
            raise Nothing(f"There is nothing below {self.name}. Check bucket and key.", rule="key")
        oldest, self.newest = (limit(one.last_modified for one in files) for limit in (min, max))
        self.size = sum(one.size for one in files)
        pinned = sorted([one.key, one.version_id, one.etag, one.size] for one in files)
        self.identity = [bucket, key, len(files), hashlib.sha256(json.dumps(pinned).encode()).hexdigest()]
        self.notes = [
            *notes,
            f"its {len(files)} files were written from {iso(oldest)} to {iso(self.newest)}; "
            "whether the upload of a folder was finished cannot be known",
        ]
        sources = {one.key[len(key) :]: _ListedFile(client, bucket, one, params) for one in files}
        found = layout(sources)
        described = [*found.preludes, *(one.metadata for one in found.files.values() if one.metadata)]
        with ThreadPoolExecutor(READERS) as readers:
            list(readers.map(lambda path: sources[path].read_at_once(), described))
        self.dump = SourcesDump(self.name, posixpath.basename(key.rstrip("/")), sources)


class _ListedFile:
    """A byte source (dump_source.py): one file of the folder."""

    def __init__(self, client, bucket, entry, params):
        (self._backup,) = judge_key(bucket, [entry], [])
        self._client, self._params = client, params
        self._content = None
        self.name = place(bucket, entry.key, entry.version_id)
        self.size = entry.size
        self.bytes_read = 0

    def read_at_once(self):
        """Keep the content of a small file: descriptions are many, and asking for one after the other takes long."""
        if self.size <= _AT_ONCE_BYTES:
            self._content = b"".join(self)

    def __iter__(self):
        if self._content is not None:
            yield self._content
            return
        # made here, because it asks S3 what the bytes can be compared with
        reads = object_source(self._client, self._backup, self._params)
        for part in reads:
            self.bytes_read = reads.bytes_read
            yield part
