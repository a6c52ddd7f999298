"""Files as the walk hands them on, without a disk."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

from ansible.module_utils.mendbook.disk_reclaim_walk import Batch, File
from ansible.module_utils.mendbook.disk_root import Space
from ansible.module_utils.mendbook.disk_rules import Rule, pattern_for

DAY_NS = 86400 * 10**9
NOTHING_ASKED = {
    "target_free_bytes": None,
    "target_free_share": None,
    "truncate_bytes": None,
    "remove_empty_folders": False,
}
_inodes = itertools.count(100)


def a_root(path="/var/log", device=1, **facts):
    """What a plan wants to know of an open root."""
    seen = {"files": 10_000, "linked": 0, "future": 0, "elsewhere": [], "missed": {}, "is_complete": True}
    return SimpleNamespace(path=path, device=device, inode=2, is_read_only=False, **{**seen, **facts})


def a_rule(kind="logs", keep_newest=0, root="/var/log"):
    return Rule(root, kind, ("*",), 86400, keep_newest, True, pattern_for(["*"], kind))


def a_batch(*files, root=None, rule=None, folder="", entries=None):
    """A batch of old files, each (name, blocks)."""
    root = root or a_root()
    batch = Batch(root, rule or a_rule(), folder, 7, root.device)
    for name, blocks in files:
        batch.add(name, next(_inodes), blocks)
    batch.entries = len(files) if entries is None else entries
    return batch


def with_files(batch, *files):
    """Add files whose fate depends on others, each (name, days old, size)."""
    for name, days, size in files:
        inode = next(_inodes)
        batch.files.append(File(name, inode, (size + 511) // 512, size, -round(days * DAY_NS), days >= 1))
    return batch


def inode_of(batch, name):
    named = dict(zip(batch.names, batch.inodes, strict=True)) | {file.name: file.inode for file in batch.files}
    return named[name]


def a_space(free_bytes=0, free_inodes=0, total_bytes=1_000_000, inodes=1000):
    return Space(total_bytes, free_bytes, inodes, free_inodes)
