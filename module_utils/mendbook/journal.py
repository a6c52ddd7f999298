# SPDX-License-Identifier: MIT
"""The journal of a run, ``<state>/journal/<run>.jsonl``: what was begun and how it ended, on disk before it happens.

One line is one event, {schema, run, seq, at, event, procedure, host, target, plan_sha256, plan | done, who, prev};
``prev`` is the SHA-256 of the line before it (None in the first), so that a changed, missing or moved line shows.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from contextlib import contextmanager
from datetime import datetime, timezone

from ansible.module_utils.mendbook.errors import MendError, Refused, VerifyFailed
from ansible.module_utils.mendbook.plan import trim

SCHEMA = 1
EVENTS = ("run_begin", "refused", "begin", "end", "unreachable", "run_end")
RESERVE_BYTES = 64 << 10
# an end line must fit into what its begin has reserved
MAX_END_BYTES = 60 << 10
MAX_LINE_BYTES = 1 << 20
MAX_TEXT = 4096
LOCK_SECONDS = 30
BLOCK_BYTES = 64 << 10
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def state_folder(environ=os.environ):
    """Return the folder that holds what mendbook remembers on this machine."""
    if environ.get("MENDBOOK_STATE"):
        return os.path.abspath(environ["MENDBOOK_STATE"])
    if os.geteuid() == 0:
        return "/var/lib/mendbook"
    home = environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(home, "mendbook")


def new_run():
    """Return a name for a run that starts now, such as 20261121T093000Z-5f3a9c."""
    return "{}-{}".format(time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), os.urandom(3).hex())


class Journal:
    """The journal of one run; safe for several processes at once. OSError where it cannot be written."""

    def __init__(self, run, folder=None, **facts):
        """``facts`` stand in every line, such as procedure and who."""
        if not _RUN.fullmatch(run):
            raise Refused(f"refused: {run!r} cannot be the name of a run", rule="journal")
        self.run = run
        self.folder = os.path.join(folder or state_folder(), "journal")
        self.path = os.path.join(self.folder, run + ".jsonl")
        self._facts = facts

    def write(self, event, limit=MAX_LINE_BYTES, **facts):
        """Append one event, flushed to disk; return the SHA-256 of its line. All of the line is written or none."""
        if event not in EVENTS:
            raise ValueError(event)
        with self._locked() as file:
            size = _whole_size(file)
            last = _last_line(file, size)
            record = {"schema": SCHEMA, "run": self.run, "seq": _next_seq(file, last, size), "at": _now()}
            record.update(self._facts, event=event, **facts)
            record["prev"] = None if last is None else hashlib.sha256(last).hexdigest()
            line = fitted(record, limit)
            _append(file, size, line + b"\n")
        return hashlib.sha256(line).hexdigest()

    def begin(self, **facts):
        """Write a ``begin`` and keep 64 KiB of disk for its end; OSError leaves nothing behind."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        reserve = os.path.join(self.folder, f".{self.run}.{os.urandom(6).hex()}.reserve")
        try:
            _reserve(reserve)
            return Begun(self, self.write("begin", **facts), reserve, facts)
        except BaseException:
            _remove(reserve)
            raise

    def give_back(self):
        """Remove what killed processes of this run have reserved; only for when no process of it is left."""
        for name in os.listdir(self.folder):
            if name.startswith(f".{self.run}.") and name.endswith(".reserve"):
                _remove(os.path.join(self.folder, name))

    @contextmanager
    def _locked(self):
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        is_new = not os.path.exists(self.path)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _lock(file, self.path)
            if is_new:
                _sync_folder(self.folder)
            yield file
        finally:
            os.close(file)


class Begun:
    """A begun change: ``sha256`` of its line goes into the receipt, ``end`` is to be called whatever happens."""

    def __init__(self, journal, sha256, reserve, facts):
        self.sha256 = sha256
        self._journal = journal
        self._reserve = reserve
        self._facts = {name: value for name, value in facts.items() if name != "plan"}

    def end(self, **facts):
        """Write how it ended; ``begin`` in the line is the SHA-256 of the line that began it."""
        _remove(self._reserve)
        return self._journal.write("end", MAX_END_BYTES, **dict(self._facts, begin=self.sha256, **facts))


def verify_chain(path):
    """Return the events of a journal as dicts; VerifyFailed names the first line that is not what was written.

    Nothing follows the last line and tells of it: that a journal was cut off after a whole line cannot be seen here,
    only that its ``run_end`` is missing.
    """
    events, prev = [], None
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                # cut off by a crash, so its writer was never told that it is there
                break
            event = _checked(path, number, line, prev)
            events.append(event)
            prev = hashlib.sha256(line[:-1]).hexdigest()
    return events


def unfinished(events):
    """Return the ``begin`` events that no ``end`` answers: what they did is unknown."""
    ended = {event.get("begin") for event in events if event["event"] == "end"}
    return [event for event in events if event["event"] == "begin" and event["sha256"] not in ended]


def fitted(record, limit):
    """Return the record as one line of at most ``limit`` bytes: long texts are cut, long lists summed up."""
    record = _cut(record)
    line = _line(record)
    entries = 512
    while len(line) > limit and entries:
        record = _summed(record, entries)
        line, entries = _line(record), entries // 2
    if len(line) <= limit:
        return line
    kept = {name: value for name, value in record.items() if not isinstance(value, (dict, list)) or name == "who"}
    return _line(dict(_cut(kept, 256), cut="the rest was too long for a line"))


def _cut(value, most=MAX_TEXT):
    if isinstance(value, str):
        return value if len(value) <= most else f"{value[:most]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {_cut(str(key), most): _cut(part, most) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cut(part, most) for part in value]
    return value


def _summed(value, entries):
    if isinstance(value, dict):
        return {name: _summed(part, entries) for name, part in value.items()}
    if isinstance(value, list) and all(isinstance(part, dict) and "object" in part for part in value):
        return trim(value, entries)
    return value[:entries] if isinstance(value, list) else value


def _line(record):
    return json.dumps(record, sort_keys=True, separators=(",", ":"), default=str).encode("ascii")


def _checked(path, number, line, prev):
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict) or event.get("event") not in EVENTS:
        raise VerifyFailed(f"{path}: line {number} is not a whole event", rule="journal")
    if event.get("prev") != prev:
        raise VerifyFailed(f"{path}: line {number} does not follow the line before it", rule="journal")
    return dict(event, sha256=hashlib.sha256(line[:-1]).hexdigest())


def _lock(file, path):
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"another process has held {path} for {LOCK_SECONDS} s") from None
            time.sleep(0.01)


def _whole_size(file):
    """The size up to the last newline. What a killed process has left behind it was never written, for anybody."""
    size = os.fstat(file).st_size
    whole = _after_newline(file, size)
    if whole < size:
        os.ftruncate(file, whole)
    return whole


def _last_line(file, size):
    """The last line without its newline, however long it is; None in an empty file."""
    if not size:
        return None
    start = _after_newline(file, size - 1)
    return os.pread(file, size - 1 - start, start)


def _after_newline(file, end):
    """The offset after the last newline before ``end``, 0 where there is none."""
    while end:
        start = max(0, end - BLOCK_BYTES)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _next_seq(file, last, size):
    if last is None:
        return 1
    try:
        return int(json.loads(last)["seq"]) + 1
    except (ValueError, KeyError, TypeError):
        return os.pread(file, size, 0).count(b"\n") + 1


def _append(file, size, data):
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(file, data[written:], size + written)
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise


def _reserve(path):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # random, so that no file system stores it in less
        _append(file, 0, os.urandom(RESERVE_BYTES))
    finally:
        os.close(file)


def _remove(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _sync_folder(folder):
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _now():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def why(error):
    """Return in words why the journal could not be written."""
    return error.msg if isinstance(error, MendError) else f"{error.strerror or error} ({error.filename or 'journal'})"
