# SPDX-License-Identifier: MIT
"""The mounts that this process can see, and which of them is a disk, may never answer, or is no disk at all. Pure."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

MOUNTINFO = "/proc/self/mountinfo"
# asked, each of these may wait for another machine or for a program; fuseblk is a local disk (NTFS, exFAT)
_REMOTE = re.compile(
    r"(nfs4?|cifs|smb3|smbfs|ncpfs|afs|ceph|9p|lustre|beegfs|gpfs|orangefs|glusterfs|davfs|coda|fuse(\..+)?)$"
)
# a look at these mounts something, or they have no space of their own
_NEVER_ASKED = re.compile(r"(autofs|fuse\.(lxcfs|portal|gvfsd-fuse|snapfuse|squashfuse))$")
# these are full by nature
_IMAGE = re.compile(r"(squashfs|iso9660|erofs|cramfs|romfs|udf)$")
_MEMORY = re.compile(r"(tmpfs|devtmpfs|ramfs)$")


class Mount(NamedTuple):
    """A line of mountinfo; ``device`` is st_dev, names are as os.fsdecode gives them."""

    id: int
    parent: int
    device: int
    root: str
    point: str
    options: tuple[str, ...]
    type: str
    source: str
    file_system_options: tuple[str, ...]


def parse(text):
    """Return the mounts in the bytes of a mountinfo, in its order."""
    mounts = []
    # a carriage return may be part of a name, so these are not splitlines(); who has changed its root may see none
    for line in filter(None, text.split(b"\n")):
        fields = line.split(b" ")
        # any number of optional fields stands before the dash
        dash = fields.index(b"-", 6)
        major, minor = fields[2].split(b":")
        root, point, options = map(unescaped, fields[3:6])
        kind, source, more = map(unescaped, fields[dash + 1 : dash + 4])
        device = os.makedev(int(major), int(minor))
        ids = int(fields[0]), int(fields[1])
        mounts.append(Mount(*ids, device, root, point, tuple(options.split(",")), kind, source, tuple(more.split(","))))
    return mounts


def unescaped(field):
    """Return a name in the bytes of a list of the kernel's: space, tab, newline, backslash and "#" are octal digits."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found.group(1), 8)]), field))


def kind(mount):
    """Return remote, image, memory, overlay or disk; what is not asked for its space is none of them (None)."""
    if _NEVER_ASKED.match(mount.type):
        return None
    for pattern, word in ((_REMOTE, "remote"), (_IMAGE, "image"), (_MEMORY, "memory")):
        if pattern.match(mount.type):
            return word
    return "overlay" if mount.type == "overlay" else "disk"


def visible(mounts):
    """Return the mounts that a path leads to: those that lie under no other mount at the same place or above it."""
    by_id = {mount.id: mount for mount in mounts}
    below = {}
    for mount in mounts:
        below.setdefault(mount.parent, []).append(mount)

    def is_seen(mount):
        # a mount at the same place has this one for its parent
        if any(other.point == mount.point for other in below.get(mount.id, ())):
            return False
        while mount.parent in by_id and mount.parent != mount.id:
            siblings = below[mount.parent]
            if any(is_below(mount.point, other.point) for other in siblings if other is not mount):
                return False
            mount = by_id[mount.parent]
        return True

    return [mount for mount in mounts if is_seen(mount)]


def is_below(path, folder):
    """Whether ``path`` lies in ``folder``, by name; a folder does not lie in itself."""
    return path != folder and path.startswith(folder if folder.endswith("/") else folder + "/")


def mount_of(path, mounts):
    """Return the mount, of these visible ones, that an absolute path without links leads to."""
    found = [mount for mount in mounts if path == mount.point or is_below(path, mount.point)]
    return max(found, key=lambda mount: len(mount.point), default=None)


def may_hang(mount, mounts):
    """Whether to look at this mount point may wait for another machine: it, or one on the way to it, is remote."""
    return any(kind(other) == "remote" for other in mounts if other is mount or is_below(mount.point, other.point))


def file_systems(mounts):
    """Return each file system once, as the list of its visible mounts, what stands for it first.

    That is a mount of the whole of it if there is one, and not of a folder in it (a bind mount), with the shortest
    path. What an overlay writes to lies on another file system (`upper_of`).
    """
    found = {}
    for mount in mounts:
        if kind(mount):
            found.setdefault(mount.device, []).append(mount)
    return [sorted(group, key=lambda one: (one.root != "/", len(one.point), one.point)) for group in found.values()]


def upper_of(mount):
    """Return the folder that an overlay writes to, as it was called where it was mounted; None for any other mount."""
    named = [option for option in mount.file_system_options if option.startswith("upperdir=")]
    return named[0].partition("=")[2] if mount.type == "overlay" and named else None


def points_below(path, mounts):
    """Return the mount points below a folder as nested dicts by name; one with the key "" is a mount point itself.

    A folder that is mounted onto itself hides nothing and is none.
    """
    tree, start = {}, mount_of(path, mounts)
    for mount in mounts:
        if is_below(mount.point, path) and not (start and _is_itself(mount, start)):
            node = tree
            for name in mount.point[len(path) :].strip("/").split("/"):
                node = node.setdefault(name, {})
            node[""] = {}
    return tree


def _is_itself(mount, start):
    place = os.path.join(start.root, mount.point[len(start.point) :].lstrip("/"))
    return mount.device == start.device and mount.root == place


def is_read_only(mount):
    """Whether the file system itself takes no writes; a mount alone that is read-only is somebody's wish."""
    # after an error ext4 says emergency_ro or shutdown, and goes on to call itself writable
    return bool({"ro", "emergency_ro", "shutdown"} & set(mount.file_system_options))


def wished_read_only(fstab):
    """Return the mount points that the text of an fstab mounts read-only."""
    rows = [line.split() for line in fstab.splitlines() if not line.lstrip().startswith("#")]
    return {unescaped(os.fsencode(row[1])) for row in rows if len(row) >= 4 and "ro" in row[3].split(",")}
