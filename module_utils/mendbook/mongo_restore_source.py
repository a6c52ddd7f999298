# SPDX-License-Identifier: MIT
"""The backup that a restore reads: an object in S3, or a file or folder on the control node, with its manifest."""

from __future__ import annotations

import datetime
import hashlib
import os
from contextlib import contextmanager, nullcontext
from functools import partial

from . import manifest as manifests
from .dump import open_dump
from .dump_metadata import shown
from .dump_source import FileSource
from .errors import MendError, VerifyFailed
from .mongo_restore_plan import GZIP_RATIO

_CHUNK_BYTES = 1 << 20


class BackupSource:
    """A backup that is open for reading.

    ``facts`` is what the plan shows of it (no secrets), ``identity`` the JSON that pins its bytes, ``manifest`` the
    parsed manifest or None, ``dump`` the open dump, ``reads`` its byte source (None for a folder).
    ``in_use(run, note)`` is a context manager that keeps others from pruning the backup (s3_in_use.py).
    """

    def __init__(self, facts, identity, manifest, dump, reads, in_use=lambda run, note: nullcontext()):
        self.facts = facts
        self.identity = identity
        self.manifest = manifest
        self.dump = dump
        self.reads = reads
        self.in_use = in_use

    def expected(self, database):
        """{collection: {count, sum, ...}} of one database of the backup, as the manifest has it, or None.

        VerifyFailed when the dump lacks one of them: a restore would then look whole and be short of a collection.
        """
        collections = (self.manifest or {}).get("collections")
        if collections is None:
            return None
        prefix = database + "."
        promised = {name[len(prefix) :]: entry for name, entry in collections.items() if name.startswith(prefix)}
        missing = sorted(promised.keys() - {name for db, name in self.dump.collections if db == database})
        if missing:
            raise VerifyFailed(
                f"{self.facts['name']} lacks {shown(missing[0])}"
                + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
                + ", which its manifest says it has: it is not what was backed up; take another one",
                rule="manifest",
                details={"missing": missing[:100]},
            )
        return promised

    def prove_bytes(self):
        """Compare a local file with its manifest; what comes from S3 is compared while it is streamed."""
        promised = (self.manifest or {}).get("object")
        if not promised or not isinstance(self.reads, FileSource):
            return
        digest = hashlib.sha256()
        with open(self.reads.path, "rb") as file:
            for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""):
                digest.update(chunk)
        if self.reads.size != promised["size"] or digest.hexdigest() != promised["sha256"]:
            raise VerifyFailed(
                f"{self.reads.path} is not what its manifest promises: it has {self.reads.size} bytes with SHA-256 "
                f"{digest.hexdigest()}, the manifest says {promised['size']} and {promised['sha256']}; nothing was "
                "changed; copy the backup again or take another one",
                rule="checksum",
            )


@contextmanager
def open_backup(params):
    """Open what the options ``path`` or ``bucket`` (with key, at, latest or the newest) lead to, as a BackupSource.

    A key that ends with a slash is a dump directory in the bucket.
    """
    if params.get("path"):
        yield _open_path(params)
        return
    # boto3 takes half a second to import, and who restores from a file may not have it
    from . import s3, s3_catalogue, s3_in_use, s3_stream

    with s3.connect(params) as client:
        if (params.get("key") or "").endswith("/"):
            yield _open_s3_folder(client, params)
            return
        _found, backup = s3_catalogue.pick(client, params, _source_database(params))
        reads = s3_stream.object_source(client, backup, params)
        facts = backup.to_facts(_now())
        facts["name"] = reads.name
        facts["compared_with"] = reads.compared_with
        facts["age_from"] = (
            "the manifest says when the backup was finished"
            if backup.finished_from == "manifest"
            else "the age of the backup is that of the object (LastModified)"
        )
        identity = [backup.bucket, backup.key, backup.version_id, backup.etag, backup.size]
        in_use = partial(s3_in_use.in_use, client, backup.bucket, backup.key)
        yield BackupSource(facts, identity, backup.manifest, _open_dump(reads, params), reads, in_use)


def _open_s3_folder(client, params):
    from .dump_s3_folder import S3Folder

    folder = S3Folder(client, params)
    facts = _aged({"name": folder.name, "size_bytes": folder.size, "complete": None}, folder.newest.timestamp())
    facts["age_from"] = "the age of the backup is that of its newest file (LastModified)"
    facts["notes"] = folder.notes
    return BackupSource(facts, folder.identity, None, folder.dump, None)


def data_shares(source, items, expected):
    """{target: its share of the backup's data}, by sizes of files or the manifest's counts; empty when unknown."""
    items = [item for item in items if item.type != "view"]
    if hasattr(source.dump, "file_bytes"):
        weights = {item.target: source.dump.file_bytes(item.source.namespace) for item in items}
    else:
        promised = {item.target: (expected or {}).get(item.source.name) or {} for item in items}
        weights = {target: entry.get("buckets") or entry.get("count") for target, entry in promised.items()}
    if None in weights.values():
        return {}
    total = sum(weights.values()) or 1
    return {target: weight / total for target, weight in weights.items()}


def data_bytes(source):
    """How many bytes the documents have: exact for a plain archive and for one gzip under 4 GiB, else an estimate."""
    dump, reads = source.dump, source.reads
    size = dump.size or 0
    if reads is not None and dump.format.endswith("+gzip") and size >= 18 and hasattr(reads, "read_range"):
        return _inflated_bytes(int.from_bytes(reads.read_range(size - 4, 4), "little"), size)
    packed = dump.format == "tar" or (dump.format == "directory" and "gzip" in dump.integrity)
    return size * GZIP_RATIO if packed else size


def _inflated_bytes(stated, size):
    """gzip states the length modulo 4 GiB, and of its last member only: the smallest that the size makes likely."""
    while stated < size:
        stated += 1 << 32
    return stated


def _open_path(params):
    path = params["path"]
    if not os.path.isabs(path):
        raise MendError(
            f"path: {path} is relative, and the module runs in another folder; give an absolute path", rule="path"
        )
    if not os.path.exists(path):
        raise MendError(f"path: there is no {path} on this machine", rule="path")
    if os.path.isdir(path):
        dump = _open_dump(path, params)
        newest, identity = _folder_state(path)
        facts = {"name": path, "size_bytes": dump.size, "complete": None}
        return BackupSource(_aged(facts, newest), identity, None, dump, None)
    reads = FileSource(path)
    found = os.stat(path)
    manifest = _manifest_beside(path)
    facts = {"name": path, "size_bytes": reads.size, "complete": None, "sha256": None}
    if manifest:
        finished = manifests.moment(manifest["finished"]).timestamp()
        facts.update(complete=True, finished_from="manifest", sha256=manifest["object"]["sha256"])
        if manifest["object"]["size"] != reads.size:
            facts["complete"] = False
            facts["reason"] = f"it has {reads.size} bytes, its manifest says {manifest['object']['size']}"
    else:
        finished = found.st_mtime
    identity = [path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]
    return BackupSource(_aged(facts, finished), identity, manifest, _open_dump(reads, params), reads)


def _open_dump(source, params):
    return open_dump(source, database=_source_database(params))


def _source_database(params):
    return params.get("source_database") or params["database"]


def _manifest_beside(path):
    beside = manifests.manifest_key(path)
    try:
        with open(beside, "rb") as file:
            return manifests.parse(file.read(manifests.MAX_BYTES + 1), beside)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MendError(f"{beside} cannot be read: {error.strerror}", rule="manifest") from error


def _aged(facts, finished):
    facts.setdefault("finished_from", "modified")
    moment = datetime.datetime.fromtimestamp(finished, datetime.timezone.utc)
    facts["finished"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    facts["age_seconds"] = int((_now() - moment).total_seconds())
    facts["age_from"] = "the age of the backup is that of the file (its modification time)"
    return facts


def _folder_state(path):
    """The newest modification in a folder, and what pins its files."""
    newest, files = 0.0, []
    for folder, _folders, names in os.walk(path):
        for name in sorted(names):
            full = os.path.join(folder, name)
            found = os.stat(full)
            newest = max(newest, found.st_mtime)
            files.append([os.path.relpath(full, path), found.st_size, found.st_mtime_ns])
    digest = hashlib.sha256(repr(sorted(files)).encode("utf-8", "surrogateescape")).hexdigest()
    return newest, [path, len(files), digest]


def _now():
    return datetime.datetime.now(datetime.timezone.utc)
