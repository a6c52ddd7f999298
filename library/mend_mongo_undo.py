#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_mongo_undo
short_description: Take back a restore of a MongoDB database, or drop what it keeps for that
description:
  - A restore by M(mend_mongo_restore) leaves the old data beside the new until its time is over. This module makes the
    old data live again, ends a swap that was interrupted, or drops data that is kept.
  - Every rename and drop is guarded by the server with the collection's UUID. When somebody else has moved or replaced
    a collection since, nothing is touched, and the answer names both UUIDs.
options:
  database:
    description: Database that was restored.
    type: str
    required: true
  action:
    description:
      - V(undo) goes back to the data before the last restore, also when its swap was interrupted. What was written
        since the restore is not merged; it stays beside the old data with the restored data.
      - V(finish) brings a swap that was interrupted to its end, all new.
      - V(drop) drops everything that restores keep in the database, whatever their time.
      - V(drop_expired) drops only what is past its time and the ruins of runs that died; it needs no O(confirm).
    type: str
    choices: [undo, finish, drop, drop_expired]
    default: undo
  token:
    description:
      - The restore that is meant, by the token that plans and results print. Without it, the last one.
      - Needed to go back further than one restore, so that running V(undo) twice does not go back twice.
    type: str
extends_documentation_fragment:
  - mend_mongo
  - mend_change
  - mend_change.confirm
author: mendbook (@mendbook)
"""

EXAMPLES = r"""
- name: Go back to the data before the restore
  mend_mongo_undo:
    uri: env:MONGO_URI
    database: estore
    confirm: rs0@db1:27017/estore

- name: Drop what is past its time
  mend_mongo_undo:
    uri: env:MONGO_URI
    database: estore
    action: drop_expired
"""

RETURN = r"""
plan:
  description: What would be changed (schema 1), with target, changes, notes and refusals.
  returned: when the target could be read
  type: dict
state:
  description: The result in a word, such as C(done), C(nothing to do), C(planned), C(refused) or C(UNKNOWN).
  returned: always
  type: str
done:
  description: Each object that is live again or was dropped, with its count.
  returned: when acting
  type: list
  elements: dict
skipped_objects:
  description: Objects of the plan that were left as they are.
  returned: when acting
  type: list
  elements: dict
read_back:
  description:
    - After V(undo) and V(finish), phase, objects and documents as the target says afterwards.
    - After a drop, how many were dropped, and what restores still keep.
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
from ansible.module_utils.mendbook import change, deps, mongo_options

ARGUMENT_SPEC = dict(
    mongo_options.CONNECTION_SPEC,
    **change.CONFIRM_SPEC,
    database={"type": "str", "required": True},
    action={"type": "str", "choices": ["undo", "finish", "drop", "drop_expired"], "default": "undo"},
    token={"type": "str", "no_log": False},
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    deps.require(module, "pymongo", "xxhash")
    from ansible.module_utils.mendbook.mongo_undo import Undo

    change.run_change(module, Undo(module.params))


if __name__ == "__main__":
    main()
