"""One new key in the store's bucket: uploads to it, and what there is of it, told by another client."""

from __future__ import annotations

import pytest
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3_upload import Upload
from botocore.exceptions import ClientError

# the least that stores take, but for the last part
PART_BYTES = 5 << 20


class Target:
    """One new key of the store's bucket, and what there is of it, told by another client."""

    def __init__(self, store, key):
        self.store, self.key = store, key

    def upload(self, **options):
        client = options.pop("client", self.store.client)
        return Upload(client, self.store.bucket, self.key, self.store.params, **options)

    def write(self, data, **options):
        """Upload the bytes in pieces of an odd size; Uploaded."""
        with self.upload(**options) as upload:
            for at in range(0, len(data), 300_007):
                upload.write(data[at : at + 300_007])
            result = upload.finish()
        self.resent = upload.resent
        return result

    def failure(self, data, kind=MendError, **options):
        """The error of an upload that must fail and leave nothing."""
        with pytest.raises(kind) as caught:
            self.write(data, **options)
        assert self.store.params["s3_secret_key"] not in caught.value.msg
        assert self.content() is None
        assert self.unfinished() == []
        return caught.value

    def head(self):
        return self.store.s3.head_object(Bucket=self.store.bucket, Key=self.key)

    def content(self):
        try:
            return self.store.s3.get_object(Bucket=self.store.bucket, Key=self.key)["Body"].read()
        except ClientError as error:
            assert error.response["Error"]["Code"] == "NoSuchKey"
            return None

    def unfinished(self):
        listed = self.store.s3.list_multipart_uploads(Bucket=self.store.bucket, Prefix=self.key)
        return [upload["Key"] for upload in listed.get("Uploads", [])]

    def abort_unfinished(self):
        for upload in self.store.s3.list_multipart_uploads(Bucket=self.store.bucket, Prefix=self.key)["Uploads"]:
            names = {"Bucket": self.store.bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
            self.store.s3.abort_multipart_upload(**names)
