# SPDX-License-Identifier: MIT
"""Which of the files that rules mean are to go, which stay, and why. Pure: no disk and no clock."""

from __future__ import annotations

import heapq
import math
from itertools import chain

from .disk_in_use import KERNEL
from .disk_reclaim_walk import BLOCK
from .disk_rules import is_unfinished
from .s3_series import series


class Choice:
    """``removals`` and ``emptied`` are batches of files to remove and of open logs to empty (columns only).

    ``folders`` are the batches whose folder becomes empty and is to go, too; ``kept`` is {title: (rows, files)} of
    backups that stay although they are old; ``held`` lists (batch, name, inode, blocks) of old files that are open;
    ``enough`` are the devices that have their target already.
    """

    def __init__(self):
        self.removals = []
        self.emptied = []
        self.folders = []
        self.kept = {}
        self.held = []
        self.enough = set()

    @property
    def batches(self):
        return self.removals + self.emptied


def choose(batches, open_files, spaces, params):
    """Return the Choice of what was seen.

    ``open_files`` is {(device, inode): pid} of those that are open, ``spaces`` {device: Space}; of ``params`` count
    target_free_bytes, target_free_share, truncate_bytes and remove_empty_folders.
    """
    choice = Choice()
    staying = _staying(batches, choice)
    open_inodes = {}
    for (device, inode), pid in open_files.items():
        open_inodes.setdefault(device, {})[inode] = pid
    for batch in batches:
        _sort_out(batch, staying, open_inodes.get(batch.device, {}), params["truncate_bytes"], choice)
    for device in {batch.root.device for batch in choice.batches}:
        _stop_at_target(device, spaces[device], params, choice)
    choice.removals = [batch for batch in choice.removals if batch.names]
    choice.emptied = [batch for batch in choice.emptied if batch.names]
    if params["remove_empty_folders"]:
        choice.folders = _emptied_folders(choice.removals)
    return choice


def goal(space, params):
    """Return the (bytes, inodes) that shall be free, of a Space; 0 where there is no target."""
    share = params["target_free_share"] or 0
    return max(params["target_free_bytes"] or 0, math.ceil(share * space.bytes)), math.ceil(share * space.inodes)


def has_target(params):
    return params["target_free_bytes"] is not None or params["target_free_share"] is not None


def allocated(batches):
    """Return the bytes that these files take."""
    return sum(sum(batch.blocks) for batch in batches) * BLOCK


def largest(batches, count):
    """Yield (batch, position) of the ``count`` largest files; of equal ones those that come first."""
    sizes = heapq.nlargest(count, chain.from_iterable(batch.blocks for batch in batches))
    if not sizes:
        return
    least = sizes[-1]
    room = sizes.count(least)
    for batch in batches:
        for position, blocks in enumerate(batch.blocks):
            if blocks > least:
                yield batch, position
            elif blocks == least and room:
                room -= 1
                yield batch, position


def _sort_out(batch, staying, open_inodes, truncate_bytes, choice):
    removal, emptied = batch.empty_copy(), batch.empty_copy()
    if open_inodes.keys().isdisjoint(batch.inodes):
        removal.names, removal.inodes, removal.blocks = batch.names[:], batch.inodes[:], batch.blocks[:]
    else:
        for name, inode, blocks in zip(batch.names, batch.inodes, batch.blocks):
            if inode in open_inodes:
                choice.held.append((batch, name, inode, blocks))
            else:
                removal.add(name, inode, blocks)
    for file in batch.files:
        if (batch.device, file.inode) in staying:
            continue
        if file.inode not in open_inodes:
            if file.is_old:
                removal.add(file.name, file.inode, file.blocks)
        elif batch.rule.kind == "logs" and truncate_bytes is not None and open_inodes[file.inode] != KERNEL:
            emptied.add(file.name, file.inode, file.blocks)
        elif file.is_old:
            choice.held.append((batch, file.name, file.inode, file.blocks))
    choice.removals.append(removal)
    choice.emptied.append(emptied)


def _staying(batches, choice):
    """Return the (device, inode) of backups that stay: of each row the newest, whether old or not."""
    rows = {}
    for batch in batches:
        if batch.rule.keep_newest:
            for file in batch.files:
                path = f"{batch.folder}/{file.name}" if batch.folder else file.name
                rows.setdefault((batch.rule, series(path)), []).append((file.mtime_ns, path, file, batch))
    staying, counts = set(), {}
    for (rule, _row), files in rows.items():
        files.sort(key=lambda one: one[:2], reverse=True)
        whole = [one for one in files if one[2].size and not is_unfinished(one[2].name)]
        # what is empty or unfinished is no backup, and yet the newest may be the one that is being written
        kept = {(batch.device, file.inode): file for _, _, file, batch in whole[: rule.keep_newest] + files[:1]}
        staying |= set(kept)
        old = sum(file.is_old for file in kept.values())
        before = counts.get(rule.title, (0, 0))
        counts[rule.title] = before[0] + 1, before[1] + old
    choice.kept = {title: count for title, count in counts.items() if count[1]}
    return staying


def _stop_at_target(device, space, params, choice):
    """Leave only the largest that are needed for the target of free space; without a target all stay chosen."""
    if not has_target(params):
        return
    here = [batch for batch in choice.batches if batch.root.device == device]
    wanted_bytes, wanted_inodes = goal(space, params)
    missing_bytes, missing_inodes = wanted_bytes - space.free_bytes, wanted_inodes - space.free_inodes
    if missing_bytes <= 0 and missing_inodes <= 0:
        choice.enough.add(device)
    # one that is emptied gives no inode back
    removals = set(map(id, choice.removals))
    sizes = sorted(((blocks, id(batch) in removals) for batch in here for blocks in batch.blocks), reverse=True)
    count = 0
    for blocks, frees_inode in sizes:
        if missing_bytes <= 0 and missing_inodes <= 0:
            break
        missing_bytes -= blocks * BLOCK
        missing_inodes -= frees_inode
        count += 1
    wanted = {}
    for batch, position in largest(here, count):
        wanted.setdefault(id(batch), []).append(position)
    for batch in here:
        positions = wanted.get(id(batch), ())
        columns = [(batch.names[at], batch.inodes[at], batch.blocks[at]) for at in positions]
        batch.names, batch.inodes, batch.blocks = [], batch.inodes[:0], batch.blocks[:0]
        for column in columns:
            batch.add(*column)


def _emptied_folders(removals):
    going = {}
    for batch in removals:
        going.setdefault((batch.root.path, batch.folder), []).append(batch)
    return [
        batches[0]
        for (_, folder), batches in going.items()
        if folder and sum(len(batch.names) for batch in batches) == batches[0].entries
    ]
