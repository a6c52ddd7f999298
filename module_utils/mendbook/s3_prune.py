# SPDX-License-Identifier: MIT
"""Old backups of a bucket removed as one change: what may go by the rules, looked at again when it goes."""

from __future__ import annotations

import contextlib
import fnmatch
import posixpath
import time
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.mendbook import manifest, s3, s3_lock, s3_mark, s3_pointer
from ansible.module_utils.mendbook.change import done, skipped
from ansible.module_utils.mendbook.errors import Drift, MendError, Nothing, Partial, VerifyFailed
from ansible.module_utils.mendbook.progress import Progress
from ansible.module_utils.mendbook.s3_backup import Entry, iso
from ansible.module_utils.mendbook.s3_catalogue import catalogue
from ansible.module_utils.mendbook.s3_clock import store_clock
from ansible.module_utils.mendbook.s3_drill_record import read_records
from ansible.module_utils.mendbook.s3_errors import place, status_of
from ansible.module_utils.mendbook.s3_options import shown_endpoint
from ansible.module_utils.mendbook.s3_prune_act import Left, Remover
from ansible.module_utils.mendbook.s3_prune_plan import Observed, growth, prune_plan, staying
from ansible.module_utils.mendbook.s3_prune_removal import Listed, backup_removals, leftover_removals
from ansible.module_utils.mendbook.s3_prune_rules import Evidence, Rules, is_backup, is_live, judge

LEAST_UNFINISHED_SECONDS = 86400
READERS = 8


class Prune:
    """The procedure of mend_s3_backup_prune (change.py says what each method promises)."""

    def __init__(self, params):
        self.params = params
        self.figures = {}
        self.warnings = []
        self._bucket, self._prefix = params["bucket"], params["prefix"]
        self._rules = Rules(
            params["max_age_seconds"], params["keep_complete"], params["unfinished_age_seconds"], params["versions"]
        )
        self._seen = None
        self._lease = None
        self._clock = None

    @contextlib.contextmanager
    def open(self, params):
        """Yield the S3 client; MendError when the options cannot be meant."""
        check_prune(params)
        with s3.connect(params) as client:
            yield client

    @contextlib.contextmanager
    def lock(self, client, run):
        with s3_lock.S3Lease(client, self._bucket, self._prefix, run) as lease:
            self._lease = lease
            yield

    def observe(self, client):
        self._clock = clock = store_clock(client, self._bucket)
        self._removed = []
        # the pattern is for backups; what speaks for them lies beside them under other names
        found = catalogue(client, self._bucket, self._prefix, params=self.params)
        backups = [backup for backup in found if self._matches(backup.key)]
        versioning, mfa = self._versioning(client, found)
        self._remover = Remover(
            client,
            self._bucket,
            self.params,
            clock,
            by_version=self._rules.versions and versioning in ("on", "suspended"),
            with_versions=any(entry.version_id for entry in found.entries) or bool(found.markers),
        )
        records, notes = read_records(client, self._bucket, found.entries, self.params)
        above, unseen = self._pointers_above(client)
        evidence = Evidence(
            now=clock.now(),
            in_use=s3_mark.users(found.entries, clock.now()),
            records=tuple(records),
            named=_named([*found.pointers, *above], backups),
        )
        evidence.locked.update(self._locked(judge(backups, self._rules, evidence)))
        verdicts = judge(backups, self._rules, evidence)
        listed = Listed(
            [entry for entry in found.entries if self._matches(entry.key) or s3_mark.is_lock(entry.key)],
            [marker for marker in found.markers if self._matches(marker.key)],
            self._rules.versions,
        )
        removals = backup_removals(verdicts, listed)
        removals += leftover_removals(verdicts, removals, listed, records, self._rules, evidence.now)
        if not verdicts and not removals:
            raise Nothing(
                f"There is no backup under {place(self._bucket, self._prefix)} whose last part matches "
                "{}. Check bucket, prefix and pattern.".format(self.params["pattern"]),
                rule="empty",
            )
        older = [entry for entry in found.entries if not (entry.current and not entry.deleted)]
        self._seen = Observed(
            endpoint=shown_endpoint(client.meta.endpoint_url),
            bucket=self._bucket,
            prefix=self._prefix,
            verdicts=verdicts,
            removals=removals,
            versioning=versioning,
            mfa=mfa,
            older=(len(older), sum(entry.size for entry in older)),
            foreign=sum(1 for backup in found if is_live(backup) and not is_backup(backup)),
            clock=clock.words(),
            pointers=tuple(p.target.msg for p in [*found.pointers, *above] if isinstance(p.target, MendError)),
            holder=None if self._lease else s3_lock.holder(client, self._bucket, self._prefix),
            notes=(*found.notes, *notes, *unseen),
        )
        return self._seen

    def plan(self, observed, params):
        return prune_plan(observed, params)

    def act(self, client, plan, receipt):
        more = growth(receipt["plan"], plan)
        if more:
            raise Drift(f"nothing was changed: since the plan was made {more}; plan again", rule="drift")
        began = time.monotonic()
        failures, touched = [], False
        with Progress(receipt) as progress:
            for number, removal in enumerate(self._seen.removals, start=1):
                self._lease.check()
                change = {"bytes": removal.bytes, "group": removal.group, "because": removal.reason}
                try:
                    reason = self._remover.remove(removal)
                except Left as left:
                    failures.append(left.error)
                    if left.deleted:
                        touched = True
                        yield done("-", removal.object, **change, left=left.error.msg)
                    else:
                        yield skipped(removal.object, left.error.msg)
                else:
                    if not reason:
                        touched = True
                        self._removed.append(removal)
                    yield skipped(removal.object, reason) if reason else done("-", removal.object, **change)
                progress.update("remove", number, len(self._seen.removals), "objects")
        self.figures["seconds"] = round(time.monotonic() - began, 3)
        if failures and not touched:
            raise failures[0]
        if failures:
            words = "{} of {} could not be removed (what was is in done): {}"
            raise Partial(words.format(len(failures), len(self._seen.removals), failures[0].msg), rule="s3")

    def read_back(self, client, plan):
        """Look at the bucket again: nothing that was to go is there, and what was to stay is."""
        found = catalogue(client, self._bucket, self._prefix, params=self.params)
        there = Listed(found.entries, found.markers, self._rules.versions)
        there = {_place(piece) for key in there.keys() for piece in there.all_of(key)}
        left = [r.object for r in self._removed if any(_place(piece) in there for piece in r.pieces)]
        if left:
            msg = f"{len(left)} of the {len(self._removed)} that were removed are still there, {left[0]} first"
            raise VerifyFailed(msg, rule="read_back", details={"left": left[:20]})
        complete = {backup.key: backup for backup in found if backup.complete and is_live(backup)}
        lost = [b.key for b in staying(self._seen) if b.key not in complete]
        if lost:
            msg = f"{lost[0]} was to stay and is no longer there as a complete backup: see who else removes backups"
            raise VerifyFailed(msg, rule="read_back", details={"lost": lost[:20]})
        kept = [backup for backup in complete.values() if self._matches(backup.key)]
        return {
            "removed": len(self._removed),
            "complete": len(kept),
            "newest": iso(max(backup.finished for backup in kept)),
            "size_bytes": sum(backup.size for backup in kept),
        }

    # -- what observe asks

    def _matches(self, key):
        mark = s3_mark.parse_key(key)
        about = mark[0] if mark else manifest.object_key(key) or key
        return fnmatch.fnmatchcase(posixpath.basename(about), self.params["pattern"])

    def _locked(self, verdicts):
        """Return {(key, version_id): why} of what S3 itself would not let go."""
        going = [verdict.backup for verdict in verdicts if verdict.goes and verdict.backup.etag]
        with ThreadPoolExecutor(READERS) as readers:
            reasons = readers.map(self._remover.locked, going)
            return {(b.key, b.version_id): reason for b, reason in zip(going, reasons) if reason}

    def _pointers_above(self, client):
        """Return (the pointers named latest in the folders above the prefix, notes): they may name backups below it."""
        parts = self._prefix.split("/")[:-1]
        folders = ["/".join(parts[:depth]) + "/" if depth else "" for depth in range(len(parts) + 1)]
        found, notes = [], []
        for stem in (f"{folder}latest" for folder in folders):
            if stem.startswith(self._prefix):
                continue
            try:
                found += catalogue(client, self._bucket, stem, params=self.params).pointers
            except MendError as error:
                if error.__cause__ is None or status_of(error.__cause__) != 403:
                    raise
                notes.append(f"whether {place(self._bucket, stem)} names one of these could not be seen")
        return found, notes

    def _versioning(self, client, found):
        """Return (off, on, suspended, unseen or unknown; whether deleting a version needs a second factor)."""
        try:
            facts = s3.call(
                lambda: client.get_bucket_versioning(Bucket=self._bucket),
                f"ask whether {place(self._bucket)} keeps versions",
                "s3:GetBucketVersioning",
                client.meta.endpoint_url,
                self._bucket,
            )
        except MendError as error:
            if error.__cause__ is None or status_of(error.__cause__) not in (403, 405, 501):
                raise
            return ("on" if any(entry.version_id for entry in found.entries) else "unknown"), False
        word = {"Enabled": "on", "Suspended": "suspended"}.get(facts.get("Status"), "off")
        if found.notes and word != "off":
            word = "unseen"
        return word, facts.get("MFADelete") == "Enabled"


def _named(pointers, backups):
    """Return {(key, version_id or None)} of everything that a key named latest may mean."""
    found = {(backup.key, None) for backup in backups if s3_pointer.may_be_pointer(backup.key)}
    for pointer in pointers:
        if not isinstance(pointer.target, MendError):
            key, version_id = pointer.target
            # a pointer may say the whole key, or the name of its neighbour
            for named in (key, posixpath.join(posixpath.dirname(pointer.key), key)):
                found |= {(named, version_id), (named, None)}
    return found


def _place(piece):
    return piece.key, piece.version_id or "null", isinstance(piece, Entry)


def check_prune(params):
    """Raise MendError (rule options), or Nothing for a selector that means the whole bucket; contacts nothing."""
    if not params["bucket"]:
        raise MendError("S3 options: bucket is empty: name the bucket that holds the backups.", rule="options")
    if not params["prefix"] and params["pattern"] == "*":
        raise Nothing(
            "Neither prefix nor pattern says which objects of the bucket are meant. Set prefix, or pattern where the "
            "backups lie at the root of the bucket.",
            rule="selector",
        )
    least = {"max_age_seconds": 86400, "keep_complete": 1, "unfinished_age_seconds": LEAST_UNFINISHED_SECONDS}
    for name, value in (*least.items(), ("max_delete", 1)):
        if params[name] < value:
            raise MendError(f"Options: {name} must be at least {value}.", rule="options")
    if not 0 < params["max_share"] <= 1:
        raise MendError("Options: max_share is a share: more than 0 and at most 1.", rule="options")
