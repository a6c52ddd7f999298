#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_s3_backup_prune
short_description: Remove old backups from an S3 bucket, and never one that is still needed
description:
  - Removes backups that are older than O(max_age_seconds), as long as O(keep_complete) newer complete ones stay. Keys
    of one database that differ only in their date are one row, and each row keeps its own; where keys have no date, the
    manifests say which database each backup is of.
  - Never removes the newest complete backup, the last one that a drill has verified, one that a run reads now, one that
    C(latest) names, one that S3 keeps by object lock, or an unfinished one that is younger than a day.
  - A backup is an object with a manifest beside it, or with a name that M(mend_mongo_backup) gives. Other objects are
    never touched.
  - Looks at each object again at the moment when it deletes it. The object goes before its manifest, so that what a run
    leaves that was killed is taken for a backup by nobody.
  - The credentials need C(s3:ListBucket), C(s3:GetObject), C(s3:DeleteObject) and C(s3:PutObject) for the lock; with
    O(versions) also C(s3:ListBucketVersions), C(s3:GetObjectVersion) and C(s3:DeleteObjectVersion).
extends_documentation_fragment:
  - mend_s3
  - mend_change
  - mend_change.confirm
options:
  bucket:
    description: Bucket that holds the backups.
    type: str
    required: true
  prefix:
    description:
      - Only keys that begin with this text. Give the prefix that the backups are made with, which is what the lock is
        for.
      - It may be empty only when O(pattern) says which backups are meant.
    type: str
    required: true
  pattern:
    description: Only backups whose last part matches these shell wildcards, such as V(estore-*.archive.gz).
    type: str
    default: "*"
  max_age_seconds:
    description: Remove what was finished longer ago than this. At least a day.
    type: int
    default: 2592000
  keep_complete:
    description: Keep at least this many complete backups of each row, whatever their age.
    type: int
    default: 7
  unfinished_age_seconds:
    description:
      - Remove what was begun longer ago than this and never finished, once a later backup is complete. At least a day.
    type: int
    default: 86400
  versions:
    description:
      - In a bucket that keeps versions, delete them for good, older and deleted ones, too, by the same rules. Without
        it
        such a bucket only gets delete markers, and nothing is freed.
    type: bool
    default: false
  max_delete:
    description: Remove at most this many backups at once, or refuse.
    type: int
    default: 100
  max_share:
    description: Remove at most this share of the backups at once, or refuse.
    type: float
    default: 0.5
author: mendbook (@mendbook)
"""

EXAMPLES = r"""
- name: Remove backups that are older than 30 days
  mend_s3_backup_prune:
    bucket: estore-backups
    prefix: daily/
    confirm: s3@s3.us-east-1.amazonaws.com/estore-backups/daily/

- name: Free the space in a bucket that keeps versions, too
  mend_s3_backup_prune:
    s3_endpoint_url: https://s3.example.com:9000
    s3_path_style: true
    s3_access_key: env:BACKUP_ACCESS_KEY
    s3_secret_key: env:BACKUP_SECRET_KEY
    bucket: estore-backups
    prefix: daily/
    versions: true
    confirm: s3@s3.example.com:9000/estore-backups/daily/
"""

RETURN = r"""
plan:
  description:
    - What would be removed (schema 1), each with its size and the reason; C(bytes) are what the store really has back.
      C(remains) says what stays, and C(notes) what stays although it is old, and why.
  returned: when the bucket could be read
  type: dict
state:
  description: The result in a word, such as C(done), C(nothing to do), C(planned), C(refused), C(partial) or
    C(UNKNOWN).
  returned: always
  type: str
done:
  description: Each backup that was removed, with its bytes; C(left) says what of it could not be.
  returned: when acting
  type: list
  elements: dict
skipped_objects:
  description: What was left at the last moment, and why.
  returned: when acting
  type: list
  elements: dict
read_back:
  description: How many were removed, and number, size and newest of the complete backups that a new listing shows.
  returned: on success, when acting
  type: dict
figures:
  description: Seconds that it took.
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
from ansible.module_utils.mendbook import change, deps, s3_options

ARGUMENT_SPEC = dict(
    s3_options.CONNECTION_SPEC,
    **change.CONFIRM_SPEC,
    bucket={"type": "str", "required": True},
    prefix={"type": "str", "required": True},
    pattern={"type": "str", "default": "*"},
    max_age_seconds={"type": "int", "default": 2592000},
    keep_complete={"type": "int", "default": 7},
    unfinished_age_seconds={"type": "int", "default": 86400},
    versions={"type": "bool", "default": False},
    max_delete={"type": "int", "default": 100},
    max_share={"type": "float", "default": 0.5},
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    deps.require(module, "boto3")
    from ansible.module_utils.mendbook.s3_prune import Prune

    change.run_change(module, Prune(module.params))


if __name__ == "__main__":
    main()
