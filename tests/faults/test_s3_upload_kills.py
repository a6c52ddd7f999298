"""An upload that dies by kill -9 at every of its steps leaves no object, and the next run removes its parts."""

from __future__ import annotations

import os
import signal

import pytest
from ansible.module_utils.mendbook import s3, s3_upload
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3_upload import Upload, put_small
from s3_proxy import Fault

pytestmark = pytest.mark.faults

PART_BYTES = 5 << 20
PREFIX = "killed/"


@pytest.fixture
def params(store):
    return {**store.params, "s3_endpoint_url": store.facts["endpoint_url"]}


def listed(store):
    return {found["Key"] for found in store.s3.list_objects_v2(Bucket=store.bucket, Prefix=PREFIX).get("Contents", [])}


def unfinished(store):
    answer = store.s3.list_multipart_uploads(Bucket=store.bucket, Prefix=PREFIX)
    return {found["Key"] for found in answer.get("Uploads", [])}


def remove_unfinished(store):
    """What the next backup does with the parts of killed ones; their keys, and notes on what it may not see."""
    found, notes = s3_upload.unfinished(store.client, store.bucket, PREFIX, lambda key: key.endswith(".archive.gz"))
    for one in found:
        s3_upload.abort(store.client, store.bucket, one["Key"], one["UploadId"])
    return [one["Key"] for one in found], notes


def child(params, bucket, key, data, last_step):
    """Upload and write a manifest in a process of its own that dies before its ``last_step``th request or answer.

    Return whether it came to its end.
    """
    pid = os.fork()
    if not pid:
        try:
            steps = iter(range(1, 1000))

            def step(**_facts):
                if next(steps) == last_step:
                    os.kill(os.getpid(), signal.SIGKILL)

            client = s3.client(params)
            client.meta.events.register("before-send.s3", step)
            client.meta.events.register("after-call.s3", step)
            with Upload(client, bucket, key, params) as upload:
                upload.write(data)
                upload.finish()
            put_small(client, bucket, f"{key}.manifest.json", b"{}", params, only_new=True)
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


def test_kill_9_at_every_step_leaves_no_half_object(store, params, noise, monkeypatch, record_fault):
    monkeypatch.setattr(s3_upload, "PART_BYTES", PART_BYTES)
    data, step, seen = noise(PART_BYTES + 5), 0, set()
    while True:
        step += 1
        key = f"{PREFIX}{step}.archive.gz"
        whole = child(params, store.bucket, key, data, step)
        there = {name for name in listed(store) if name.startswith(key)}
        assert there in (set(), {key}, {key, f"{key}.manifest.json"})
        if key in there:
            assert store.s3.get_object(Bucket=store.bucket, Key=key)["Body"].read() == data
        seen.add((len(there), bool(unfinished(store))))
        aborted, notes = remove_unfinished(store)
        assert set(aborted) <= {key} and notes == []
        assert unfinished(store) == set()
        if whole:
            break
    assert len(there) == 2 and step > 12
    assert {(0, False), (0, True), (1, False), (2, False)} <= seen, "a kind of step was never hit"
    record_fault(
        "kill -9 at every step of an upload", rounds=step, held="no half object, its parts removed by the next run"
    )


def test_only_what_looks_like_ours_is_removed(store):
    for key in (f"{PREFIX}ours.archive.gz", f"{PREFIX}theirs.iso"):
        store.s3.create_multipart_upload(Bucket=store.bucket, Key=key)
    assert remove_unfinished(store) == ([f"{PREFIX}ours.archive.gz"], [])
    (left,) = store.s3.list_multipart_uploads(Bucket=store.bucket, Prefix=PREFIX)["Uploads"]
    assert left["Key"] == f"{PREFIX}theirs.iso"
    store.s3.abort_multipart_upload(Bucket=store.bucket, Key=left["Key"], UploadId=left["UploadId"])


def test_what_may_not_be_listed_is_a_note_and_what_may_not_be_removed_an_error(store):
    key = f"{PREFIX}ours.archive.gz"
    store.s3.create_multipart_upload(Bucket=store.bucket, Key=key)
    store.proxy.faults = [Fault("GET .*uploads", times=1, status=403, code="AccessDenied")]
    removed, (note,) = remove_unfinished(store)
    assert removed == [] and "s3:ListBucketMultipartUploads" in note
    store.proxy.faults = [Fault("DELETE ", times=1, status=403, code="AccessDenied")]
    with pytest.raises(MendError, match="s3:AbortMultipartUpload"):
        remove_unfinished(store)
    assert remove_unfinished(store) == ([key], [])
