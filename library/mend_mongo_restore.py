#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_mongo_restore
short_description: Restore a MongoDB database from its backup, all or nothing
description:
  - Finds the backup in S3 or in a file, loads it into side collections of the same database while it checks every
    byte and every document, then swaps old for new by renames that the server guards with collection UUIDs.
  - Whatever fails before the swap leaves the live data as it was. A crash during the swap leaves a marker that the
    next run of this module or M(mend_mongo_undo) ends. The old data stays beside the new for O(keep_seconds).
  - Time-series collections cannot be renamed by any MongoDB server; they are dropped, created and filled again, and
    the plan says so.
options:
  database:
    description: Database that is replaced.
    type: str
    required: true
  path:
    description: Backup in a local file or folder, an absolute path.
    type: path
  bucket:
    description: Bucket that holds the backups.
    type: str
  prefix:
    description: Only keys below this prefix are backups.
    type: str
    default: ""
  pattern:
    description: Only keys whose last part matches this shell pattern are backups.
    type: str
    default: "*"
  key:
    description: This object, instead of the newest complete backup; with a slash at its end the dump folder there.
    type: str
  version_id:
    description: This version of the object, in a versioned bucket.
    type: str
  at:
    description: The newest complete backup at or before this moment, ISO 8601 with its zone.
    type: str
  latest:
    description: What C(latest) means in the bucket, the object of that name or the one that it points to.
    type: bool
    default: false
  source_database:
    description: Database inside the backup, when it is not named as O(database) or there are several.
    type: str
  collections:
    description:
      - Only these collections of the backup; empty means all.
      - System collections come only when they are named here.
    type: list
    elements: str
    default: []
  exclude:
    description: All but these collections of the backup.
    type: list
    elements: str
    default: []
  rename:
    description: Collection in the backup to its name in the database.
    type: dict
    default: {}
  extra:
    description: Live collections that the backup does not have stay in place, or are moved aside with the old data.
    type: str
    choices: [keep, aside]
    default: keep
  users:
    description: Names of the database's users to bring back from the backup; none without being named.
    type: list
    elements: str
    default: []
  roles:
    description: Names of the database's roles to bring back from the backup; none without being named.
    type: list
    elements: str
    default: []
  max_age_seconds:
    description: Refuse a backup older than this, the recovery point objective.
    type: int
    default: 86400
  allow_writers:
    description: Restore although the database is being written; what is written meanwhile stays in the old data.
    type: bool
    default: false
  scratch:
    description:
      - The target says of itself that it is scratch, else it is refused; then no O(confirm) is needed.
      - For drills and tests. A marker in the target's database C(mendbook_scratch) names the server's own members.
    type: bool
    default: false
  ignore_oplog:
    description: Restore a backup made with C(--oplog) without replaying it, each collection whole, not of one moment.
    type: bool
    default: false
  ignore_space:
    description: Restore although the server has too little space for a second copy.
    type: bool
    default: false
  piecewise:
    description:
      - Restore one collection at a time, each loaded, proven and swapped and its old data dropped before the next, for
        a server that has no room for a second copy of all. Not atomic over collections and without undo.
      - Needs O(keep_seconds=0). What an interrupted run has restored is recognised by the next one.
    type: bool
    default: false
  proof:
    description:
      - How the loaded data is proven before the swap.
      - V(full) reads back and sums every document, V(sample) counts each collection and compares up to 1,000 documents
        of each byte by byte, evenly spread over it, V(count) only counts.
    type: str
    choices: [full, sample, count]
    default: full
  keep_seconds:
    description: How long the old data is kept for undo; at most ten years.
    type: int
    default: 86400
  workers:
    description: Connections that insert at the same time, 1 to 64.
    type: int
    default: 2
extends_documentation_fragment:
  - mend_mongo
  - mend_s3
  - mend_change
  - mend_change.confirm
author: mendbook developers (@mendbook)
"""

EXAMPLES = r"""
- name: Restore the newest complete backup
  mend_mongo_restore:
    uri: env:MONGO_URI
    database: estore
    bucket: estore-backups
    prefix: daily/
    confirm: rs0@db1.example.com:27017/estore

- name: Bring one collection back under another name, from a file
  mend_mongo_restore:
    uri: env:MONGO_URI
    database: estore
    path: /var/backups/estore.archive.gz
    collections: [orders]
    rename:
      orders: orders_yesterday
    confirm: rs0@db1.example.com:27017/estore
"""

RETURN = r"""
plan:
  description: What is replaced by what, from which backup, and how to undo it.
  returned: always
  type: dict
state:
  description: The result in one word, done, nothing to do, refused, failed (nothing changed), partial or UNKNOWN.
  returned: always
  type: str
done:
  description: One entry for each collection, view, user or role that was replaced, with its count.
  returned: when acting
  type: list
  elements: dict
skipped_objects:
  description: What was left as it is, and why.
  returned: when acting
  type: list
  elements: dict
read_back:
  description: What the target says after the swap; collections, documents, their proof and how many were compared.
  returned: on success
  type: dict
figures:
  description: Seconds of each phase, bytes read and documents loaded.
  returned: when acting
  type: dict
mend:
  description: Why it was refused or failed, with reason, rule and details.
  returned: on failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import change, deps, mongo_options, s3_options

ARGUMENT_SPEC = dict(
    mongo_options.CONNECTION_SPEC,
    **s3_options.CONNECTION_SPEC,
    **s3_options.PICK_SPEC,
    **change.CONFIRM_SPEC,
    database={"type": "str", "required": True},
    path={"type": "path"},
    source_database={"type": "str"},
    collections={"type": "list", "elements": "str", "default": []},
    exclude={"type": "list", "elements": "str", "default": []},
    rename={"type": "dict", "default": {}},
    extra={"type": "str", "choices": ["keep", "aside"], "default": "keep"},
    users={"type": "list", "elements": "str", "default": []},
    roles={"type": "list", "elements": "str", "default": []},
    max_age_seconds={"type": "int", "default": 86400},
    allow_writers={"type": "bool", "default": False},
    scratch={"type": "bool", "default": False},
    ignore_oplog={"type": "bool", "default": False},
    ignore_space={"type": "bool", "default": False},
    piecewise={"type": "bool", "default": False},
    proof={"type": "str", "choices": ["full", "sample", "count"], "default": "full"},
    keep_seconds={"type": "int", "default": 86400},
    workers={"type": "int", "default": 2},
)


def main():
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=s3_options.PICK_MUTUALLY_EXCLUSIVE,
        required_by=s3_options.PICK_REQUIRED_BY,
    )
    deps.require(module, "pymongo", "isal", "fastcrc", "xxhash", *([] if module.params["path"] else ["boto3"]))
    from ansible.module_utils.mendbook.mongo_restore import Restore

    change.run_change(module, Restore(module.params))


if __name__ == "__main__":
    main()
