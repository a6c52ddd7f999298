#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Tell which backups a bucket holds, which one would be taken, and whether its bytes are right."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mend_s3_backup_info
short_description: Tell which backups an S3 bucket holds, choose one, check its bytes
description:
  - Lists every backup under a prefix with key, version, time, size, checksum, age and whether it is complete.
  - Chooses the newest complete one, the newest at or before a moment, a named one, or what the key C(latest) means.
  - Reads every byte of the chosen one when asked, and says what it could compare them with.
  - A backup is complete when C(KEY.manifest.json) beside it agrees with it. Without a manifest that cannot be known,
    and the time of the backup is when the object was written.
  - It only reads. The credentials need C(s3:ListBucket) and C(s3:GetObject); with C(s3:ListBucketVersions) and
    C(s3:GetObjectVersion) it sees and reads older versions, too.
extends_documentation_fragment:
  - mend_s3
  - mend_s3.pick
options:
  bucket:
    required: true
  database:
    description:
      - The database that a backup is wanted of. Backups that their manifest says to be of other databases are not
        chosen; one that is named by O(key) or O(latest) is.
    type: str
  verify:
    description:
      - Read every byte of the chosen backup and compare it with the manifest's SHA-256, else with S3's own checksum,
        else with the ETag where that is an MD5. Without any of these it is read, and said to be without comparison.
    type: bool
    default: false
  limit:
    description: Return at most this many backups, the newest first. The choice looks at all of them.
    type: int
    default: 100
attributes:
  check_mode:
    description: Only reads, so it does the same in check mode.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
author:
  - mendbook contributors (@mendbook)
"""

EXAMPLES = r"""
- name: Look at the backups of the shop
  mend_s3_backup_info:
    bucket: estore-backups
    prefix: mongo/
  register: __backups

- name: Take the newest complete backup of before the bad deployment and check every byte
  mend_s3_backup_info:
    s3_endpoint_url: https://s3.example.com:9000
    s3_path_style: true
    s3_access_key: env:BACKUP_ACCESS_KEY
    s3_secret_key: env:BACKUP_SECRET_KEY
    bucket: estore-backups
    at: "2026-11-20T03:00:00Z"
    verify: true
"""

RETURN = r"""
bucket:
  description: The bucket that was read.
  returned: success
  type: str
prefix:
  description: The prefix that was read.
  returned: success
  type: str
counts:
  description: Number of backups that are complete, incomplete, unknown (no manifest) and deleted (delete marker).
  returned: success
  type: dict
backups:
  description:
    - The backups, newest first, at most O(limit). Each has bucket, key, version_id, size_bytes, etag, sha256 (what the
      manifest says), last_modified, finished, finished_from (V(manifest) or V(last_modified)), age_seconds, complete
      (true, false, or null when it cannot be known), reason, notes, current, deleted, storage_class and manifest.
  returned: success
  type: list
  elements: dict
pointers:
  description: The small objects named latest, with the key that each names or the problem with it.
  returned: success
  type: list
  elements: dict
notes:
  description: What could not be seen, such as older versions.
  returned: success
  type: list
  elements: str
chosen:
  description: The backup that would be taken, with the collections that its manifest names.
  returned: success
  type: dict
passed_over:
  description: Later backups that were not taken, each with the reason; empty when O(key) or O(latest) names one.
  returned: success
  type: list
  elements: dict
verified:
  description:
    - What reading every byte showed (null without O(verify)). It has result (V(matches) or V(nothing to compare with);
      V(differs) fails), compared_with, why_not, sha256 (of the bytes that were read), read_bytes and seconds.
  returned: success
  type: dict
mend:
  description: On failure, reason and rule; C(details) holds the newest backups, counts, and what else is known.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import deps
from ansible.module_utils.mendbook.change import run_read
from ansible.module_utils.mendbook.s3_options import (
    CONNECTION_SPEC,
    PICK_MUTUALLY_EXCLUSIVE,
    PICK_REQUIRED_BY,
    PICK_SPEC,
)

ARGUMENT_SPEC = dict(
    CONNECTION_SPEC,
    **dict(
        PICK_SPEC,
        bucket={"type": "str", "required": True},
        database={"type": "str"},
        verify={"type": "bool", "default": False},
        limit={"type": "int", "default": 100},
    ),
)


def main():
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        mutually_exclusive=PICK_MUTUALLY_EXCLUSIVE,
        required_by=PICK_REQUIRED_BY,
        supports_check_mode=True,
    )
    deps.require(module, "boto3")
    from ansible.module_utils.mendbook.s3_backup_info import BackupInfo

    run_read(module, BackupInfo(module.params))


if __name__ == "__main__":
    main()
