#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_mongo_backup
short_description: Back up a MongoDB database to S3, of one moment, with a manifest that is written last
description:
  - Streams one database into an object of a bucket, without a copy on a disk and in little memory, in the format of
    C(mongodump --archive --gzip).
  - All collections are read as they were at one moment, from a secondary where there is one. A collection that is
    dropped, renamed or altered meanwhile makes the dump start again.
  - The manifest (C(KEY.manifest.json)) is written when all the rest is done, so a backup without one is not complete.
    Whatever fails before leaves no object; what a killed run leaves is removed by the next one.
options:
  database:
    description: Database that is backed up.
    type: str
    required: true
  bucket:
    description: Bucket that takes the backups.
    type: str
    required: true
  prefix:
    description:
      - Beginning of the key, such as V(daily/). Of two backups to the same prefix at the same time the second is
        refused.
    type: str
    default: ""
  key:
    description:
      - Key of the object, which must begin with O(prefix). Without it the key is made of the prefix, the database and
        the time, such as C(daily/estore-20261120T000000Z.archive.gz).
    type: str
  latest:
    description: Let the small object C(latest) under O(prefix) name this backup when it is complete.
    type: bool
    default: false
  consistency:
    description:
      - V(snapshot) reads all collections as they were at one moment, and is refused when that would take longer than
        the server keeps its history.
      - V(per_collection) reads each collection as it is when its turn comes. A standalone server can do nothing else.
    type: str
    choices: [snapshot, per_collection]
    default: snapshot
  users_and_roles:
    description: Put the users and roles of the database into the backup, with their credentials' hashes.
    type: bool
    default: false
  read_preference:
    description: Member of a replica set that is read, V(secondary_preferred) takes a secondary where there is one.
    type: str
    choices: [secondary_preferred, primary]
    default: secondary_preferred
  readers:
    description: Collections that are read at the same time.
    type: int
    default: 2
  max_bytes_per_second:
    description: The most bytes of documents that are read in a second, so that a busy server keeps its pace; 0 is none.
    type: int
    default: 0
  compression_level:
    description: How hard the archive is compressed, V(0) fastest to V(3) smallest.
    type: int
    choices: [0, 1, 2, 3]
    default: 1
  time_fields:
    description:
      - Name of a collection to the field that holds the time of its records. The manifest says the newest of them, from
        which the age of the data is computed.
      - Without it, the time inside C(_id), and that of a time-series.
    type: dict
    default: {}
  verify:
    description: Read every byte of the object back from S3 and compare its SHA-256, not only its size and version.
    type: bool
    default: false
extends_documentation_fragment:
  - mend_mongo
  - mend_s3
  - mend_s3.store
  - mend_change
author: mendbook developers (@mendbook)
"""

EXAMPLES = r"""
- name: Back up a database every night
  mend_mongo_backup:
    uri: env:MONGO_URI
    database: estore
    bucket: estore-backups
    prefix: daily/

- name: Back up before a migration, under a name of its own, and read it back
  mend_mongo_backup:
    uri: env:MONGO_URI
    database: estore
    bucket: estore-backups
    key: before-migration-42.archive.gz
    verify: true
"""

RETURN = r"""
plan:
  description: What will be written where, from which member, how large and how long it will probably be.
  returned: always
  type: dict
state:
  description: The result in one word, done, refused, failed (nothing changed), partial or UNKNOWN.
  returned: always
  type: str
done:
  description: The object with its documents and bytes, the unfinished uploads that were removed, the moved pointer.
  returned: when acting
  type: list
  elements: dict
skipped_objects:
  description: Unfinished uploads that were left, and why.
  returned: when acting
  type: list
  elements: dict
read_back:
  description: What S3 says of the object and of its manifest afterwards, key, version, size, SHA-256.
  returned: on success
  type: dict
figures:
  description: Seconds, documents, bytes of documents and of the object, how often the dump was started.
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
    **s3_options.STORE_SPEC,
    **change.CHANGE_SPEC,
    database={"type": "str", "required": True},
    bucket={"type": "str", "required": True},
    prefix={"type": "str", "default": ""},
    key={"type": "str", "no_log": False},
    latest={"type": "bool", "default": False},
    consistency={"type": "str", "choices": ["snapshot", "per_collection"], "default": "snapshot"},
    users_and_roles={"type": "bool", "default": False},
    read_preference={"type": "str", "choices": ["secondary_preferred", "primary"], "default": "secondary_preferred"},
    readers={"type": "int", "default": 2},
    max_bytes_per_second={"type": "int", "default": 0},
    compression_level={"type": "int", "choices": [0, 1, 2, 3], "default": 1},
    time_fields={"type": "dict", "default": {}},
    verify={"type": "bool", "default": False},
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    deps.require(module, "pymongo", "isal", "fastcrc", "xxhash", "boto3")
    from ansible.module_utils.mendbook.mongo_backup import Backup

    change.run_change(module, Backup(module.params))


if __name__ == "__main__":
    main()
