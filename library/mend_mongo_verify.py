#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_mongo_verify
short_description: Prove that a MongoDB database holds what it should
description:
  - Compares a database with the manifest beside its backup, with expectations that you state, or with both.
  - Against a manifest, every document is read raw and summed, so that a lost, doubled or changed document is found;
    indexes, options, validators and views are compared exactly. Capped collections are compared by count, time-series
    collections by the sum of their buckets. Nothing is locked and nothing is written.
  - A TTL index that a restore parked, and a restore that was interrupted, are failures.
  - Needs the role C(read) on the database, and C(backup) for the contents of time-series collections.
options:
  database:
    description: Database that is verified.
    type: str
    required: true
  bucket:
    description: Bucket that holds the backup and the manifest beside it.
    type: str
  key:
    description: The backup's key (its manifest is V(KEY.manifest.json)), or the key of the manifest itself.
    type: str
  manifest_file:
    description: Manifest in a local file, an absolute path.
    type: path
  source_database:
    description: Database inside the manifest, when it is not named as O(database).
    type: str
  collections:
    description: Only these collections of the manifest; empty means all.
    type: list
    elements: str
    default: []
  content:
    description:
      - How contents are compared. V(full) reads and sums every document, V(none) counts.
      - V(sample) counts, reads the backup beside the manifest once, and compares up to 1,000 documents of each
        collection, evenly spread over it, byte by byte. It finds what is wrong with many documents, not with one.
    type: str
    choices: [full, sample, none]
    default: full
  extra:
    description: What a collection means that the database has and the manifest does not, listed only or a failure.
    type: str
    choices: [allow, fail]
    default: allow
  critical:
    description: Collections that must exist and hold at least one document.
    type: list
    elements: str
    default: []
  min_counts:
    description: The fewest documents that a collection may hold, by its name.
    type: dict
    default: {}
  newest:
    description:
      - How old the newest record of a collection may be, C({max_age_seconds, field}) by the collection's name.
      - Without C(field) the time inside C(_id) counts. Records dated in the future do not count.
    type: dict
    default: {}
  indexes:
    description: Names of indexes that a collection must have, a list by the collection's name.
    type: dict
    default: {}
  time_fields:
    description: Field that holds the time of a collection's records, by its name; the time inside C(_id) otherwise.
    type: dict
    default: {}
  max_bytes_per_second:
    description: The most bytes of documents that are read in a second, 0 means no limit.
    type: int
    default: 0
  progress:
    description: Set by mendbook's gate, the file that tells how far it is; what a playbook sets is not used.
    type: path
extends_documentation_fragment:
  - mend_mongo
  - mend_s3
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
- name: Compare the database with the manifest of its backup
  mend_mongo_verify:
    uri: env:MONGO_URI
    database: estore
    bucket: estore-backups
    key: daily/estore.archive.gz

- name: Check the record counts of critical collections
  mend_mongo_verify:
    uri: env:MONGO_URI
    database: estore
    critical: [users, orders]
    min_counts:
      orders: 1000
    newest:
      orders:
        field: createdAt
        max_age_seconds: 86400
    indexes:
      orders: [orderNo_1]
"""

RETURN = r"""
verified:
  description: Whether every check passed; when it is false the module fails and this result is in RV(mend.details).
  returned: always
  type: bool
target:
  description: Identity of the database, as plans of a restore name it.
  returned: always
  type: str
manifest:
  description: Where the manifest came from and what it says about itself, RV(manifest.source), RV(manifest.finished).
  returned: when there is a manifest
  type: dict
checks:
  description: The comparisons, of a failure those that failed, as C({name, object, expected, found, ok}), at most 1000.
  returned: always
  type: list
  elements: dict
summary:
  description:
    - Numbers of checks, failed checks, collections and documents; C(content) is O(content) when there is a manifest.
  returned: always
  type: dict
extra:
  description: Collections of the database that the manifest does not have, at most 1000 of them.
  returned: always
  type: list
  elements: str
figures:
  description: Documents (of a sample those that were looked up) and bytes that were read, and the seconds it took.
  returned: always
  type: dict
mend:
  description: Why it failed, with reason (V(verify) when a check failed), rule and details.
  returned: on failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import change, deps, mongo_options, s3_options

ARGUMENT_SPEC = dict(
    mongo_options.CONNECTION_SPEC,
    **s3_options.CONNECTION_SPEC,
    database={"type": "str", "required": True},
    bucket={"type": "str"},
    key={"type": "str", "no_log": False},
    manifest_file={"type": "path"},
    source_database={"type": "str"},
    collections={"type": "list", "elements": "str", "default": []},
    content={"type": "str", "choices": ["full", "sample", "none"], "default": "full"},
    extra={"type": "str", "choices": ["allow", "fail"], "default": "allow"},
    critical={"type": "list", "elements": "str", "default": []},
    min_counts={"type": "dict", "default": {}},
    newest={"type": "dict", "default": {}},
    indexes={"type": "dict", "default": {}},
    time_fields={"type": "dict", "default": {}},
    max_bytes_per_second={"type": "int", "default": 0},
    progress={"type": "path"},
)


def main():
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_together=[("bucket", "key")],
        mutually_exclusive=[("bucket", "manifest_file")],
    )
    sample = ["isal", "fastcrc"] if module.params["content"] == "sample" else []
    deps.require(module, "pymongo", "xxhash", *sample, *(["boto3"] if module.params["bucket"] else []))
    from ansible.module_utils.mendbook.mongo_verify import Verify

    change.run_read(module, Verify(module.params))


if __name__ == "__main__":
    main()
