#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_s3_backup_check
short_description: Tell whether the backups in an S3 bucket are new enough, whole, as large as ever, and proven
description:
  - Looks at the backups under a prefix and gives a verdict on each row of them, which is keys of one database that
    differ only in their date. A verdict is V(ok), V(warning) or V(failed), with the value, the limit and a sentence.
  - Fails with reason C(verify) when a verdict is V(failed). All facts are then under C(mend.details). Warnings do not
    fail.
  - Every age is by the store's clock.
  - It only reads. The credentials need C(s3:ListBucket) and C(s3:GetObject); with C(s3:ListBucketMultipartUploads) it
    sees uploads, too, that nobody ended.
extends_documentation_fragment:
  - mend_s3
options:
  bucket:
    description: Bucket that holds the backups.
    type: str
    required: true
  prefix:
    description:
      - Only keys that begin with this text. End it with V(/), or V(shop) also means V(shop-test/).
    type: str
    default: ""
  pattern:
    description: Only backups whose last part matches these shell wildcards, such as V(estore-*.archive.gz).
    type: str
    default: "*"
  max_age_seconds:
    description: The oldest that the last finished backup may be, the recovery point objective.
    type: int
    default: 86400
  grace_seconds:
    description:
      - How long over O(max_age_seconds) is only a warning. With one backup a day and an objective of a day there is no
        slack at all - the last one is over a day old each time until the next is finished.
    type: int
    default: 7200
  interval_seconds:
    description: How often backups are made. Half as long again after the one before was finished, a run counts as
      missed; the one that is due now only after O(grace_seconds), too.
    type: int
    default: 86400
  gap_window_seconds:
    description: How far back missed runs are looked for, until now; a younger row begins with its first backup.
    type: int
    default: 604800
  min_size_share:
    description: Fail when the last backup has less than this share of the median size of the earlier ones.
    type: float
    default: 0.5
  max_size_share:
    description: Warn when the last backup has more than this share of the median size of the earlier ones.
    type: float
    default: 2.0
  drill_max_age_seconds:
    description: How long ago the last drill may have ended that restored a backup and proved its data.
    type: int
    default: 2678400
  without_drill:
    description: The verdict when there is no such drill, or only an older one, and when the last drill proved nothing.
    type: str
    choices: [warning, failed]
    default: warning
  prometheus:
    description: Also return the result as text for the textfile collector of Prometheus' node_exporter.
    type: bool
    default: false
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
- name: Fail when the last backup is too old or too small
  mend_s3_backup_check:
    bucket: estore-backups
    prefix: daily/
  register: __backups

- name: Backups every six hours, and a proof every week
  mend_s3_backup_check:
    s3_endpoint_url: https://s3.example.com:9000
    s3_path_style: true
    s3_access_key: env:BACKUP_ACCESS_KEY
    s3_secret_key: env:BACKUP_SECRET_KEY
    bucket: estore-backups
    prefix: hourly/
    max_age_seconds: 25200
    grace_seconds: 0
    interval_seconds: 21600
    drill_max_age_seconds: 691200
    without_drill: failed
"""

RETURN = r"""
bucket:
  description: The bucket that was looked at.
  returned: success
  type: str
prefix:
  description: The prefix that was looked at.
  returned: success
  type: str
checked:
  description: The moment of the check by the store's clock; C(checked_timestamp) is the same in seconds since 1970.
  returned: success
  type: str
checked_timestamp:
  description: The moment of the check in seconds since 1970.
  returned: success
  type: int
status:
  description: The worst of all verdicts, V(ok) or V(warning).
  returned: success
  type: str
checks:
  description:
    - The verdicts. Each has name (V(age), V(size), V(gaps), V(unfinished), V(drill) for each row; V(clock),
      V(uploads) and V(leftovers) for all), series, status, value, limit and words.
  returned: success
  type: list
  elements: dict
series:
  description:
    - What is known of each row - name, newest, last_finished_timestamp, age_seconds, size_bytes,
      median_size_bytes, complete, unfinished, missed_runs, last_verified_drill and its timestamp.
  returned: success
  type: list
  elements: dict
notes:
  description: What could not be seen, such as older versions.
  returned: success
  type: list
  elements: str
prometheus:
  description: The same as text for the textfile collector of Prometheus' node_exporter.
  returned: with O(prometheus)
  type: str
mend:
  description: On failure, reason and rule; C(details) holds all of the above.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import deps
from ansible.module_utils.mendbook.change import run_read
from ansible.module_utils.mendbook.s3_options import CONNECTION_SPEC

ARGUMENT_SPEC = dict(
    CONNECTION_SPEC,
    bucket={"type": "str", "required": True},
    prefix={"type": "str", "default": ""},
    pattern={"type": "str", "default": "*"},
    max_age_seconds={"type": "int", "default": 86400},
    grace_seconds={"type": "int", "default": 7200},
    interval_seconds={"type": "int", "default": 86400},
    gap_window_seconds={"type": "int", "default": 604800},
    min_size_share={"type": "float", "default": 0.5},
    max_size_share={"type": "float", "default": 2.0},
    drill_max_age_seconds={"type": "int", "default": 2678400},
    without_drill={"type": "str", "choices": ["warning", "failed"], "default": "warning"},
    prometheus={"type": "bool", "default": False},
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    deps.require(module, "boto3")
    from ansible.module_utils.mendbook.s3_check import BackupCheck

    run_read(module, BackupCheck(module.params))


if __name__ == "__main__":
    main()
