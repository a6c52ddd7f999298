# SPDX-License-Identifier: MIT
"""Options that every module has that talks to S3, those that choose a backup there, and those of a new object."""


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  s3_endpoint_url:
    description:
      - URL of the S3 store, such as V(https://s3.example.com:9000). Without it, Amazon's store of O(s3_region).
    type: str
  s3_region:
    description: Region of the bucket. Without it, the one of O(s3_profile) or of the environment, else V(us-east-1).
    type: str
  s3_profile:
    description: Name of a profile in the AWS configuration of the user who runs the module.
    type: str
  s3_role_arn:
    description:
      - Role to assume with the other credentials; it is renewed while it is in use.
      - A store that is not Amazon's is asked for the role at O(s3_endpoint_url), unless the AWS configuration names
        another STS endpoint.
    type: str
  s3_ca_file:
    description: Absolute path of a file with the certificates of the authorities that may sign the store's certificate.
    type: path
  s3_path_style:
    description:
      - Put the bucket into the path of the URL instead of the host name. Most stores that are not Amazon's want it.
    type: bool
    default: false
  s3_access_key:
    description:
      - Access key, given as V(env:NAME), V(file:/absolute/path) or from a vault.
      - Without it, the credentials of O(s3_profile), of the environment or of the machine.
    type: str
  s3_secret_key:
    description: Secret key that belongs to O(s3_access_key), given as V(env:NAME) or V(file:/absolute/path).
    type: str
  s3_session_token:
    description:
      - Session token that belongs to O(s3_access_key) when the credentials are temporary, given as V(env:NAME) or
        V(file:/absolute/path).
    type: str
  s3_sse_customer_key:
    description:
      - Key of objects that are encrypted with a customer key (SSE-C), the base64 text of its 32 bytes, given as
        V(env:NAME) or V(file:/absolute/path).
    type: str
  s3_via:
    description: How to reach a store that this machine does not see, V(ssh://user@bastion:22).
    type: str
"""

    PICK = r"""
options:
  bucket:
    description: Bucket that holds the backups.
    type: str
  prefix:
    description:
      - Only keys that begin with this text. End it with V(/), or V(shop) also means V(shop-test/).
    type: str
    default: ""
  pattern:
    description: Only keys whose last part matches these shell wildcards, such as V(*.archive.gz).
    type: str
    default: "*"
  key:
    description: Key of the backup to take, instead of the newest complete one.
    type: str
  version_id:
    description: Version of O(key) to take, in a bucket with versions. Without it, the current one.
    type: str
  at:
    description:
      - Take the newest complete backup that was finished at or before this moment, in ISO 8601 with a time zone,
        such as V(2026-11-20T00:00:00Z).
    type: str
  latest:
    description:
      - Take what the key named V(latest) (with or without an ending) under O(prefix) stands for.
      - That is the object itself or, when the object is a small text, the backup whose key it names. A JSON object
        with C(key) and perhaps C(version_id) is understood, too.
    type: bool
    default: false
"""

    STORE = r"""
options:
  storage_class:
    description:
      - Storage class of the backup, such as V(STANDARD_IA). Without it, the bucket's default.
      - A backup in an archive class (V(GLACIER), V(DEEP_ARCHIVE)) must be brought back for hours before it can be
        restored. Manifests and pointers never get this class.
    type: str
  server_side_encryption:
    description:
      - How the store encrypts what is written, with its own key or with one of its KMS. Without it, as the bucket says.
    type: str
    choices: [AES256, aws:kms, aws:kms:dsse]
  sse_kms_key_id:
    description: KMS key for O(server_side_encryption). Without it, the store's default one.
    type: str
  object_lock_mode:
    description:
      - Nobody can delete the backup and its manifest for O(object_lock_days), V(GOVERNANCE) with exceptions,
        V(COMPLIANCE) without any. The bucket must have been made with object lock.
    type: str
    choices: [GOVERNANCE, COMPLIANCE]
  object_lock_days:
    description: Days for O(object_lock_mode), from the moment when the backup is written.
    type: int
"""
