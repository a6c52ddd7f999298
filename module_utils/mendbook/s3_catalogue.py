# SPDX-License-Identifier: MIT
"""The backups under a prefix of a bucket: listed with their versions, judged by their manifests, one chosen."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import posixpath
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.mendbook import manifest, s3, s3_mark, s3_pointer
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3_backup import Backup, DeleteMarker, Entry, ReadManifest, judge_key, missing_object
from ansible.module_utils.mendbook.s3_choice import choose
from ansible.module_utils.mendbook.s3_errors import FAILURES, place, status_of
from ansible.module_utils.mendbook.s3_options import check_pick

MAX_OBJECTS = 100_000
READERS = 8


@dataclasses.dataclass(frozen=True)
class Pointer:
    """A small object named latest: ``target`` is (key, version_id or None), or the MendError that says why not."""

    key: str
    target: tuple | MendError


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """The backups under a prefix, newest first, the pointers beside them, and what could not be seen.

    ``entries`` and ``markers`` are everything that was listed, also what is no backup or does not match the pattern.
    """

    bucket: str
    prefix: str
    backups: list[Backup]
    pointers: list[Pointer]
    notes: list[str]
    entries: list[Entry] = ()
    markers: list[DeleteMarker] = ()

    def __iter__(self):
        return iter(self.backups)

    def __len__(self):
        return len(self.backups)


def catalogue(client, bucket, prefix="", *, pattern="*", params=None, max_objects=MAX_OBJECTS):
    """Return the Catalogue of s3://bucket/prefix, of keys whose last part matches ``pattern`` (shell wildcards).

    Reads the listing (with versions when that is allowed), every manifest, and every small object named latest.
    MendError when S3 refuses, or when more than ``max_objects`` versions lie under the prefix.
    """
    params = params or {}
    entries, markers, notes = listing(client, bucket, prefix, max_objects)
    matching = [entry for entry in entries if fnmatch.fnmatchcase(_backup_name(entry.key), pattern)]
    with ThreadPoolExecutor(READERS) as readers:
        pointers = _read_pointers(readers, client, bucket, matching, params)
        manifests = _read_manifests(readers, client, bucket, matching, params)
    objects = {}
    for entry in matching:
        if _is_backup(entry, pointers):
            objects.setdefault(entry.key, []).append(entry)
    backups = []
    for key, versions in objects.items():
        backups += judge_key(bucket, versions, manifests.get(key, []))
    for key, reads in manifests.items():
        if key not in objects:
            backups.append(missing_object(bucket, key, reads[0]))
    # sorting is stable: versions of one second stay in S3's order, newest first
    backups.sort(key=lambda backup: backup.finished, reverse=True)
    return Catalogue(bucket, prefix, backups, list(pointers.values()), notes, entries, markers)


def pick(client, params, database=None):
    """Return (Catalogue, the chosen Backup of ``database`` with its whole manifest) for the PICK_SPEC options."""
    check_pick(params)
    found = catalogue(
        client, params["bucket"], params.get("prefix") or "", pattern=params.get("pattern") or "*", params=params
    )
    chosen = choose(
        found,
        key=params.get("key"),
        version_id=params.get("version_id"),
        at=params.get("at"),
        latest=params.get("latest"),
        database=database,
    )
    return found, read_manifest(client, chosen, params)


def read_manifest(client, backup, params):
    """Return the backup with its whole manifest, collections included; the catalogue keeps only the head of each."""
    if backup.manifest_entry is None or backup.manifest is None:
        return backup
    content = _read_manifest(client, backup.bucket, backup.manifest_entry, params, short=False).content
    if isinstance(content, MendError):
        raise content
    if content["object"]["sha256"] != backup.sha256:
        raise MendError(f"The manifest of {place(backup.bucket, backup.key)} changed while it was read. Run again.")
    return dataclasses.replace(backup, manifest=content)


def listing(client, bucket, prefix, max_objects=MAX_OBJECTS, with_versions=False):
    """Return (entries, newest first within a key, delete markers, notes about what the credentials cannot see).

    The entries have version ids when there are any, or with ``with_versions``, for a second look that must not depend
    on what else lies under the prefix.
    """
    notes = []
    try:
        versions, markers = _pages(client, bucket, prefix, max_objects, "list_object_versions")
        if with_versions or markers or any(version.get("VersionId", "null") != "null" for version in versions):
            hiding = {marker.key: marker.last_modified for marker in markers if marker.current}
            return [_entry(version, version["VersionId"], hiding) for version in versions], markers, notes
    except MendError as error:
        # what cannot list versions may still list objects: less permission, or a store without versions
        if error.details.get("code") not in ("AccessDenied", "NotImplemented", "MethodNotAllowed", "403", "405", "501"):
            raise
        notes.append("older versions were not seen: the store or the permissions (s3:ListBucketVersions) forbid it")
    # no versions: reading by the version "null" would need one permission more, and SeaweedFS 4.48 lists another ETag
    # among the versions than it answers for a GET
    objects, _none = _pages(client, bucket, prefix, max_objects, "list_objects_v2")
    return [_entry(listed, None, {}) for listed in objects], [], notes


def _pages(client, bucket, prefix, max_objects, operation):
    """Return (listed objects or versions, delete markers)."""
    action = "s3:ListBucketVersions" if operation == "list_object_versions" else "s3:ListBucket"
    doing = f"list {place(bucket, prefix)}"
    place_in_list, listed, markers = {}, [], []
    # botocore's paginators end for good when one request fails; this one keeps its place
    while place_in_list is not None:
        ask = functools.partial(getattr(client, operation), Bucket=bucket, Prefix=prefix, **place_in_list)
        page = s3.call(ask, doing, action, client.meta.endpoint_url, bucket)
        listed += page.get("Versions", []) + page.get("Contents", [])
        markers += [
            DeleteMarker(m["Key"], m["VersionId"], m["LastModified"], m["IsLatest"])
            for m in page.get("DeleteMarkers", [])
        ]
        if len(listed) > max_objects:
            raise MendError(
                f"More than {max_objects} objects lie under {place(bucket, prefix)}. Narrow it with prefix.",
                rule="size",
            )
        place_in_list = _next_place(page) if page.get("IsTruncated") else None
    return listed, markers


def _next_place(page):
    names = {
        "NextContinuationToken": "ContinuationToken",
        "NextKeyMarker": "KeyMarker",
        "NextVersionIdMarker": "VersionIdMarker",
    }
    following = {asked: page[told] for told, asked in names.items() if page.get(told)}
    if not following:
        raise MendError("S3 says that its list goes on, but not where. Its listing cannot be trusted.", rule="s3")
    return following


def _entry(listed, version_id, hiding):
    return Entry(
        key=listed["Key"],
        version_id=version_id,
        etag=listed["ETag"].strip('"'),
        size=listed["Size"],
        last_modified=listed["LastModified"],
        current=listed.get("IsLatest", True),
        deleted=hiding.get(listed["Key"]),
        storage_class=listed.get("StorageClass"),
    )


def _backup_name(key):
    """Return the last part of the key that a manifest or an object is about."""
    return posixpath.basename(manifest.object_key(key) or key)


def _is_backup(entry, pointers):
    about = manifest.object_key(entry.key) or s3_mark.parse_key(entry.key) or s3_mark.is_lock(entry.key)
    if about or entry.key.endswith("/"):
        return False
    # older and deleted versions of a pointer are pointers, too
    is_pointer = entry.key in pointers or posixpath.basename(entry.key) == "latest"
    return not (is_pointer and entry.size <= s3_pointer.MAX_BYTES)


def _read_pointers(readers, client, bucket, entries, params):
    """Return {key: Pointer} of the current small objects named latest that are text."""
    small = [
        entry
        for entry in entries
        if s3_pointer.may_be_pointer(entry.key) and entry.size <= s3_pointer.MAX_BYTES and entry.current
    ]

    def read(entry):
        data = s3.get_small(client, bucket, entry.key, s3_pointer.MAX_BYTES, params)
        try:
            target = s3_pointer.parse(data, entry.key, bucket)
        except MendError as error:
            target = error
        return target and Pointer(entry.key, target)

    return {pointer.key: pointer for pointer in readers.map(read, small) if pointer}


def _read_manifests(readers, client, bucket, entries, params):
    """Return {object key: [ReadManifest, newest first]}; a deleted manifest counts only for a deleted object."""
    deleted = {entry.key for entry in entries if entry.deleted}
    wanted = [
        entry
        for entry in entries
        if manifest.object_key(entry.key) and (not entry.deleted or manifest.object_key(entry.key) in deleted)
    ]
    found = {}
    for read in readers.map(lambda entry: _read_manifest(client, bucket, entry, params), wanted):
        found.setdefault(manifest.object_key(read.entry.key), []).append(read)
    return found


def _read_manifest(client, bucket, entry, params, short=True):
    name = place(bucket, entry.key, entry.version_id)
    if entry.size > manifest.MAX_BYTES:
        words = "The manifest {0} cannot be used: it has {1} bytes, more than the {2} that a manifest may have."
        return ReadManifest(entry, MendError(words.format(name, entry.size, manifest.MAX_BYTES), rule="manifest"))
    try:
        data = s3.get_small(client, bucket, entry.key, manifest.MAX_BYTES, params, entry.version_id)
        content = manifest.parse(data, name)
    except MendError as error:
        # S3 out of order is no word about this backup; a manifest that may not be read or is none is
        if isinstance(error.__cause__, FAILURES) and status_of(error.__cause__) not in (400, 403, 404):
            raise
        return ReadManifest(entry, error)
    return ReadManifest(entry, manifest.head(content) if short else content)
