#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_disk_reclaim
short_description: Remove old logs, caches, temporary files and backups until enough space is free
description:
  - Removes files by rules, each of a folder, names and an age, the largest first, and stops when the wanted space is
    free. Rotated and compressed logs are found by the name of the log. Of backups the newest of each row always stay.
  - Each file is looked at again immediately before, through the folder that is held open, and stays when it is another
    one now, was written, was opened, or has got a second name. No link is followed, no other file system is entered.
  - Files that a process has open stay, because removing them frees nothing; large open logs can be emptied in place.
  - Works on a host without a free byte and without a free inode.
options:
  rules:
    description: What may be removed besides backups. At least one of O(rules) and O(backups) is needed.
    type: list
    elements: dict
    default: []
    suboptions:
      root:
        description:
          - Folder whose files are meant; absolute, without links in it, and below one of O(allowed_roots). A folder
            below it that has a rule of its own is left to that rule.
        type: str
        required: true
      patterns:
        description:
          - Shell wildcards for names. For logs C(*.log) also means C(a.log.1), C(a.log-20260101) and C(a.log.2.gz).
        type: list
        elements: str
        required: true
      kind:
        description:
          - V(logs) and what becomes of them when they are rotated; or a V(cache) or V(temporary) files, of which all
            may go, and whose age counts from when they came here.
        type: str
        choices: [logs, cache, temporary]
        default: logs
      min_age_seconds:
        description: How long ago a file must have been written last. Less than 60 is refused.
        type: int
        default: 2592000
      recurse:
        description: Whether folders below are meant, too.
        type: bool
        default: true
  backups:
    description: Backups that may be removed; the plan then needs O(confirm).
    type: list
    elements: dict
    default: []
    suboptions:
      root:
        description: Folder of backups, as in O(rules).
        type: str
        required: true
      patterns:
        description: Shell wildcards for names.
        type: list
        elements: str
        required: true
      min_age_seconds:
        description: How long ago a backup must have been written last. Less than 60 is refused.
        type: int
        default: 2592000
      keep_newest:
        description:
          - So many of each row stay, however old they are; a row is what differs in nothing but a date. What is empty
            or unfinished does not count.
        type: int
        default: 7
      recurse:
        description: Whether folders below are meant, too.
        type: bool
        default: true
  allowed_roots:
    description: Folders in which and below which a root may be. Folders of the system are refused all the same.
    type: list
    elements: str
    default: [/var/log, /var/backups, /var/cache, /var/tmp, /tmp]
  target_free_bytes:
    description: Remove no more than is needed for so many free bytes.
    type: int
  target_free_share:
    description: Remove no more than is needed for such a share (0 to 1) of free bytes and of free inodes.
    type: float
  truncate_bytes:
    description:
      - Empty open logs of O(rules) that take so many bytes or more, however young they are; what they say is lost, so
        the plan then needs O(confirm). Without it open files stay.
    type: int
  remove_empty_folders:
    description: Remove the folders that become empty by it, too; never a root.
    type: bool
    default: false
  max_files:
    description: The most files that may be removed; with more it refuses.
    type: int
    default: 100000
  max_bytes:
    description: The most bytes that may be removed; with more it refuses.
    type: int
    default: 107374182400
  max_share:
    description:
      - The largest share of the files below a root that may be removed, of logs and backups; it counts from 11 files
        on.
    type: float
    default: 0.95
  max_entries:
    description: Look at so many entries of folders at most; what was seen until then may go.
    type: int
    default: 2000000
  max_seconds:
    description: Look for so many seconds at most.
    type: int
    default: 300
extends_documentation_fragment:
  - mend_change
  - mend_change.confirm
author: mendbook (@mendbook)
"""

EXAMPLES = r"""
- name: Remove logs that are older than 30 days until a fifth of the disk is free
  mend_disk_reclaim:
    rules:
      - root: /var/log
        patterns: ["*.log"]
        min_age_seconds: 2592000
    target_free_share: 0.2
  become: true

- name: Remove old dumps, and keep the last week
  mend_disk_reclaim:
    backups:
      - root: /var/backups/shop
        patterns: ["*.sql.gz"]
        keep_newest: 7
    confirm: host:db1
  become: true
"""

RETURN = r"""
plan:
  description: What would be removed (schema 1), the largest files one by one, with caps, notes and refusals.
  returned: when the roots could be opened
  type: dict
state:
  description: The result in a word, such as C(done), C(nothing to do), C(planned), C(refused) or C(partial).
  returned: always
  type: str
done:
  description: The files that were removed or emptied, the largest one by one, the others as one entry for each rule.
  returned: when acting
  type: list
  elements: dict
skipped_objects:
  description: Files of the plan that stayed, and why.
  returned: when acting
  type: list
  elements: dict
read_back:
  description: How many are gone, and what is free on each file system, before and now.
  returned: on success, when acting
  type: dict
figures:
  description: Seconds that it took, and how many files were removed or emptied.
  returned: always
  type: dict
diff:
  description: The changes of the plan, a line each.
  returned: with --diff
  type: dict
mend:
  description: Why it was refused or failed, with reason, rule and details.
  returned: on failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import change
from ansible.module_utils.mendbook.disk_reclaim import Reclaim

_MONTH = 30 * 86400
_WHERE = {
    "root": {"type": "str", "required": True},
    "patterns": {"type": "list", "elements": "str", "required": True},
    "min_age_seconds": {"type": "int", "default": _MONTH},
    "recurse": {"type": "bool", "default": True},
}
_RULE = dict(_WHERE, kind={"type": "str", "choices": ["logs", "cache", "temporary"], "default": "logs"})
_BACKUP = dict(_WHERE, keep_newest={"type": "int", "default": 7})
ARGUMENT_SPEC = dict(
    change.CONFIRM_SPEC,
    rules={"type": "list", "elements": "dict", "options": _RULE, "default": []},
    backups={"type": "list", "elements": "dict", "options": _BACKUP, "default": []},
    allowed_roots={
        "type": "list",
        "elements": "str",
        "default": ["/var/log", "/var/backups", "/var/cache", "/var/tmp", "/tmp"],  # noqa: S108
    },
    target_free_bytes={"type": "int"},
    target_free_share={"type": "float"},
    truncate_bytes={"type": "int"},
    remove_empty_folders={"type": "bool", "default": False},
    max_files={"type": "int", "default": 100_000},
    max_bytes={"type": "int", "default": 100 << 30},
    max_share={"type": "float", "default": 0.95},
    max_entries={"type": "int", "default": 2_000_000},
    max_seconds={"type": "int", "default": 300},
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    change.run_change(module, Reclaim(module.params))


if __name__ == "__main__":
    main()
