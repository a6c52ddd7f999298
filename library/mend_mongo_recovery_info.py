#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_mongo_recovery_info
short_description: Measure how long a recovery of a MongoDB database took and how much it lost
description:
  - The last step of a drill. RTO is the time from O(began) until this module starts, so it comes after the
    verification. RPO is the time from the newest record that is in the database now to O(last_write).
  - It fails when one of them is over its objective, or cannot be known. It only reads.
  - A beginning after the end, or a last write before the newest record, by more than the five minutes that clocks may
    differ, is no recovery of zero seconds. The figure is not known then.
options:
  database:
    description: Database that was restored.
    type: str
    required: true
  began:
    description:
      - When the disaster happened or the drill began, ISO 8601 with its zone. The name of a run stands for its start.
      - Without it the RTO is not known.
    type: str
  last_write:
    description: When the last write was made that should be there; without it O(began), else now.
    type: str
  restored:
    description: Whether anything was restored. What was there already says nothing about the time that it takes.
    type: bool
    default: true
  backup:
    description:
      - The backup as RV(mend_s3_backup_info#module:chosen) describes it. Its newest record, else the time when it was
        finished, counts where no record in the database has a time.
    type: dict
  time_fields:
    description:
      - Field that holds the time of a collection's records, by its name; the time inside C(_id) otherwise.
      - A collection that is not there and a field in which no record has a time are noted.
    type: dict
    default: {}
  rto_seconds:
    description: The recovery time objective, above 0.
    type: float
    default: 14400
  rpo_seconds:
    description: The recovery point objective, above 0.
    type: float
    default: 86400
extends_documentation_fragment:
  - mend_mongo
attributes:
  check_mode:
    description: A run in check mode is the same as any other, it only reads.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
author: mendbook developers (@mendbook)
"""

EXAMPLES = r"""
- name: Measure the recovery
  mend_mongo_recovery_info:
    uri: env:MONGO_SCRATCH_URI
    database: estore
    began: "2026-11-20T03:00:00Z"
    time_fields:
      orders: createdAt
"""

RETURN = r"""
rto_seconds:
  description: Seconds from O(began) to the start of this module, null when that is not known.
  returned: success
  type: float
rpo_seconds:
  description: Seconds from the newest record to O(last_write), null when no record and no backup has a time.
  returned: success
  type: float
rpo_from:
  description: What the RPO was measured by, V(data), V(manifest) or V(finished) (the end of the backup).
  returned: success
  type: str
newest:
  description: The newest record, its collection, field and time.
  returned: success
  type: dict
last_write:
  description: The moment that the RPO is counted to.
  returned: success
  type: str
objectives:
  description: Both objectives in seconds.
  returned: success
  type: dict
unknown:
  description: Why a figure is not known, by its name.
  returned: success
  type: dict
summary:
  description: The figures with their objectives, and the notes, in sentences.
  returned: success
  type: list
  elements: str
notes:
  description: What of O(time_fields) is not in the data.
  returned: success
  type: list
  elements: str
missed:
  description: Names of the figures that are over their objective or not known; then the module has failed.
  returned: success
  type: list
  elements: str
mend:
  description: On failure, reason, rule and in details all of the above.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import change, deps, mongo_options

ARGUMENT_SPEC = dict(
    mongo_options.CONNECTION_SPEC,
    database={"type": "str", "required": True},
    began={"type": "str"},
    last_write={"type": "str"},
    restored={"type": "bool", "default": True},
    backup={"type": "dict"},
    time_fields={"type": "dict", "default": {}},
    rto_seconds={"type": "float", "default": 14400},
    rpo_seconds={"type": "float", "default": 86400},
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    deps.require(module, "pymongo")
    from ansible.module_utils.mendbook.recovery import Recovery

    change.run_read(module, Recovery(module.params))


if __name__ == "__main__":
    main()
