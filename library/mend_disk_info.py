#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_disk_info
short_description: Tell how full a host's disks are, what takes the space, and who holds what is deleted
description:
  - Space and inodes of each file system, the largest folders and files of one of them, files that are deleted and still
    open with who holds them, and the logs that nobody rotates; a verdict for each threshold.
  - Works on a host and inside a container, with nothing but Python's own library.
  - A file system that does not answer (a dead NFS server, a dying disk) never holds it up. It is asked in a process of
    its own, which is given up, and what lies on a file system of another machine is never read.
  - It only reads; times of access stay as they are where this user may leave them so. What it could not see it says.
options:
  path:
    description:
      - Folder below which the largest folders and files are looked for, on its own file system only. Without it, the
        whole of the fullest disk.
    type: path
  walk_seconds:
    description: Seconds that looking for them may take; what was not seen until then is said. 0 looks for none.
    type: int
    default: 30
  timeout_seconds:
    description: Seconds until a file system that does not answer is given up.
    type: int
    default: 5
  max_used_share:
    description: Share of each file system that may be used, as df counts it.
    type: float
    default: 0.9
  min_free_bytes:
    description: Bytes that must be free on each file system; 0 asks for none.
    type: int
    default: 0
  max_inodes_share:
    description: Share of the inodes of each file system that may be used.
    type: float
    default: 0.9
  max_deleted_open_bytes:
    description: Bytes that may be deleted and still held open.
    type: int
    default: 1000000000
  max_read_only:
    description:
      - Disks that may be read-only without C(/etc/fstab) saying so, as they are after an error.
    type: int
    default: 0
  ignore:
    description: Mount points that no threshold is for, such as an archive that is full by design.
    type: list
    elements: path
    default: []
  min_log_bytes:
    description: A log from this size on is named when no older part of it lies beside it.
    type: int
    default: 100000000
  fail:
    description:
      - Fail when a threshold is exceeded, or when a file system does not answer, for jobs that are to be noticed. What
        this user may not see is no reason; file systems of ignore are none either.
    type: bool
    default: false
  limit:
    description: Return at most this many entries in each list, the largest first.
    type: int
    default: 20
attributes:
  check_mode:
    description: Only reads, so it does the same in check mode.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
author: mendbook (@mendbook)
"""

EXAMPLES = r"""
- name: See how full the disks are, and what fills the fullest
  mend_disk_info:
    limit: 10
  become: true
  register: __disks

- name: Fail when less than 5 GB are free somewhere, without looking for what fills it
  mend_disk_info:
    min_free_bytes: 5000000000
    walk_seconds: 0
    fail: true
"""

RETURN = r"""
summary:
  description: The whole in a few sentences.
  returned: success
  type: list
  elements: str
verdict:
  description: V(ok), V(exceeded) or V(unknown), for all thresholds together.
  returned: success
  type: str
culprit:
  description:
    - What is to blame for the first threshold that is exceeded. A folder with path, bytes and inodes, or a process with
      command, pid, unit, container, path and bytes. Empty when nothing is.
  returned: success
  type: dict
verdicts:
  description:
    - Each threshold with check, verdict, value, limit, says, culprit, and mount where it is for one. no_answer is true
      where it is unknown because nobody answered, and not because this user may not see it.
  returned: success
  type: list
  elements: dict
target:
  description: The host or container, with kind, id (V(host:<name>)), address and facts.
  returned: success
  type: dict
file_systems:
  description:
    - Each file system once, the fullest first, with mount, kind (V(disk), V(remote), V(memory), V(image) or
      V(overlay)), type, source, size_bytes, used_bytes, free_bytes (for anybody), reserved_bytes (for root),
      used_share, inodes, inodes_free, inodes_used_share, read_only, also_at (further mount points), mounts (their
      number), overlays (number of those that write to it), and problem when it did not answer. What is not known is
      null.
    - Overlays that write to a file system of the list, and what has no space of its own, are left out.
  returned: success
  type: list
  elements: dict
largest:
  description:
    - Below path, on the file system mounted at mount. bytes, inodes and folder_count of what was read; files, folders
      and most_files (folders by number of inodes below them), the largest first; hidden (folders with content under a
      mount point, which only root can see); unseen and unseen_count (what was not read, and why); unexplained_bytes
      (in use, and in no file; null unless all was read); is_complete, seconds.
    - Files with several names count once, sparse files with what they take. A folder of which one subfolder holds nine
      tenths is left out for that one. is_complete is false in a folder of which something was not seen.
  returned: success
  type: dict
deleted_open:
  description:
    - bytes and number of files that are deleted and still open; the largest with path, mount, bytes and holders (pid,
      command, fd, user_id, unit, container); by_mount; unseen_processes and is_complete.
  returned: success
  type: dict
logs:
  description:
    - places with path, kind (V(log), V(container), V(journal)), bytes and files; the largest logs that are written to,
      and not_rotated, those of min_log_bytes and more without an older part beside them.
  returned: success
  type: dict
unseen:
  description: What could not be seen, and what that needs.
  returned: success
  type: list
  elements: str
mend:
  description: On failure, reason, rule and details.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import change, disk_verdicts
from ansible.module_utils.mendbook.disk_info import DiskInfo

ARGUMENT_SPEC = dict(
    {
        name: {"type": "float" if name.endswith("_share") else "int", "default": limit}
        for name, limit in disk_verdicts.LIMITS.items()
    },
    path={"type": "path"},
    walk_seconds={"type": "int", "default": 30},
    timeout_seconds={"type": "int", "default": 5},
    ignore={"type": "list", "elements": "path", "default": []},
    min_log_bytes={"type": "int", "default": 100_000_000},
    fail={"type": "bool", "default": False},
    limit={"type": "int", "default": 20},
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    change.run_read(module, DiskInfo(module.params))


if __name__ == "__main__":
    main()
