# SPDX-License-Identifier: MIT
"""What may be removed, as rules: which folders, which names, how old. Pure: no disk and no clock."""

from __future__ import annotations

import fnmatch
import posixpath
import pwd
import re
from typing import NamedTuple

from .disk_mounts import is_below
from .errors import MendError, Nothing, Refused
from .plan_text import clean

# a file that has just been written may still be
MIN_AGE_SECONDS = 60
# these belong to the system, its packages and its images of containers, with everything below them
_SYSTEM_TREES = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/lost+found", "/proc", "/sbin", "/sys",
    "/usr/bin", "/usr/include", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/libx32", "/usr/sbin",
    "/usr/share", "/usr/src", "/usr/local/bin", "/usr/local/lib", "/usr/local/sbin", "/var/lib/containerd",
    "/var/lib/docker/image", "/var/lib/docker/overlay2", "/var/lib/dpkg", "/var/lib/rpm",
)  # fmt: skip
# these hold other folders, homes and mounts; what is below them may be meant, and then it is named
_PARENTS = (
    "/", "/data", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/snap", "/srv", "/usr", "/usr/local", "/var",
    "/var/lib", "/var/lib/docker", "/var/run", "/var/spool",
)  # fmt: skip
# how logrotate and programs call what they have put away: .1, .2.gz, -20260101, -20260101-1767225600.zst, .old
_ROTATED = r"(?:[-._][0-9]+(?:T[0-9]+Z?)?|\.old)*(?:\.(?:gz|bz2|xz|zst|lz4|lzo|Z|zip))?"
_UNFINISHED = re.compile(
    r"(?i:.*(\.(part|partial|tmp|temp|incomplete|inprogress|filepart|crdownload|swp)|~))", re.DOTALL
)


class Rule(NamedTuple):
    """One rule: of the files below ``root`` whose name ``matches``, those that are ``min_age_seconds`` old.

    ``kind`` is logs, cache, temporary or backups; of the latter ``keep_newest`` of each row stay, however old.
    """

    root: str
    kind: str
    patterns: tuple[str, ...]
    min_age_seconds: int
    keep_newest: int
    recurse: bool
    matches: re.Pattern[str]

    @property
    def title(self):
        """What the rule is called in plans."""
        return f"{clean(self.root)} {self.kind}"


def rules_in(params):
    """Return the rules of the options ``rules`` and ``backups``; raises `MendError` for what cannot be meant.

    Those for backups come first: of two rules for one folder the first that knows a name has it.
    """
    _check_numbers(params)
    allowed = [_checked_path(root, "allowed_roots") for root in params["allowed_roots"]]
    given = [dict(one, kind="backups") for one in params["backups"]]
    given += [dict(one, keep_newest=0) for one in params["rules"]]
    if not given:
        raise Nothing("neither rules nor backups say what may be removed", rule="rules")
    return [_rule(one, allowed) for one in given]


def is_unfinished(name):
    """Whether the name is one that programs give to what they are still writing."""
    return _UNFINISHED.fullmatch(name) is not None


def pattern_for(patterns, kind):
    """Return the regular expression of names (as os.fsdecode gives them) that these shell wildcards mean.

    A pattern for logs also means what becomes of such a file when it is rotated and compressed.
    """
    rotated = _ROTATED if kind == "logs" else ""
    # translate() ends with \\Z, or \\z
    whole = "|".join(re.sub(r"\\[Zz]$", "", fnmatch.translate(one)) + rotated for one in patterns)
    return re.compile(rf"(?:{whole})\Z", re.DOTALL)


def _rule(given, allowed):
    root = _checked_path(given["root"], "root")
    if not any(root == one or is_below(root, one) for one in allowed):
        raise Refused(
            f"refused: {clean(root)} is not below one of {', '.join(map(clean, allowed))}; when its files may be "
            "removed, add it to disk_clean_allowed_roots",
            rule="root",
            details={"root": root, "allowed": allowed},
        )
    kind, patterns = given["kind"], tuple(given["patterns"])
    if not any(one.strip() for one in patterns):
        raise Nothing(f"the rule for {clean(root)} has no pattern", rule="pattern")
    for one in patterns:
        _check_pattern(one, kind)
    if given["min_age_seconds"] < MIN_AGE_SECONDS:
        raise Refused(
            f"refused: min_age_seconds is {given['min_age_seconds']} for {clean(root)}: what is being written would "
            f"be hit; {MIN_AGE_SECONDS} is the least",
            rule="min_age_seconds",
            details={"value": given["min_age_seconds"], "limit": MIN_AGE_SECONDS},
        )
    if kind == "backups" and given["keep_newest"] < 1:
        raise Refused(
            f"refused: keep_newest is {given['keep_newest']} for {clean(root)}: when backups stop, the last good one "
            "would go; 1 is the least",
            rule="keep_newest",
            details={"value": given["keep_newest"], "limit": 1},
        )
    matches = pattern_for(patterns, kind)
    return Rule(root, kind, patterns, given["min_age_seconds"], given["keep_newest"], given["recurse"], matches)


def _checked_path(path, rule):
    """Return the path without a slash at its end and without double ones, or refuse it by its name."""
    if not path.strip():
        raise Nothing("a rule names no root", rule=rule)
    plain = "/" + posixpath.normpath(path).lstrip("/")
    if not path.startswith("/"):
        why = "it is not absolute"
    elif "\0" in path or ".." in path.split("/"):
        why = "it does not say plainly where it is"
    elif any(plain == tree or is_below(plain, tree) for tree in _SYSTEM_TREES):
        why = "it belongs to the system"
    elif plain in _PARENTS:
        why = "it holds much more than old files"
    elif posixpath.dirname(plain) == "/home" or plain in _homes():
        why = "it is somebody's home"
    else:
        return plain
    raise Refused(f"refused: {clean(path)!r} is no root to clean: {why}", rule=rule, details={"root": path})


def _homes():
    # of people and of programs that live like them; those of the system are called /var/backups or /var/cache/man
    return {posixpath.normpath(one.pw_dir) for one in pwd.getpwall() if one.pw_uid == 0 or 1000 <= one.pw_uid < 65534}


def _check_pattern(pattern, kind):
    if "/" in pattern or "\0" in pattern or not pattern.strip() or pattern in (".", ".."):
        raise Refused(
            f"refused: {pattern!r} is not a wildcard for names of files; folders are named by root",
            rule="pattern",
            details={"pattern": pattern},
        )
    # what is left says which names are meant; the first thing in brackets may be a closing one
    if kind in ("logs", "backups") and not any(map(str.isalnum, re.sub(r"\[!?\]?[^]]*\]", "", pattern))):
        raise Refused(
            f"refused: the pattern {pattern!r} may mean every file; for {kind} it must say which, with a letter or a "
            "digit that stands outside of brackets",
            rule="pattern",
            details={"pattern": pattern},
        )


def _check_numbers(params):
    for name in ("max_share", "target_free_share"):
        if params[name] is not None and not 0 < params[name] <= 1:
            raise MendError(f"{name} is {params[name]}, not a share between 0 and 1", rule=name)
    for name in ("target_free_bytes", "truncate_bytes"):
        if params[name] is not None and params[name] < 1:
            raise MendError(f"{name} is {params[name]}, not a number of bytes", rule=name)
