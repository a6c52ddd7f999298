"""The module's own part: options, a missing library, and what a failure carries."""

from __future__ import annotations

import importlib
import json

import mend_s3_backup_info
import pytest
from ansible.module_utils import basic
from ansible.module_utils.mendbook import s3, s3_backup_info
from ansible.module_utils.mendbook.errors import Nothing
from ansible.module_utils.mendbook.s3_catalogue import Catalogue
from ansible.module_utils.testing import patch_module_args


def run(capsys, **arguments):
    """Return (exit code, result) of the module in this process."""
    with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        basic._load_params()
        mend_s3_backup_info.main()
    return ended.value.code, json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "missing required arguments: bucket"),
        ({"bucket": ""}, "bucket is empty"),
        ({"bucket": "b", "key": "k", "at": "2026-11-20T00:00:00Z"}, "mutually exclusive: key|at"),
        ({"bucket": "b", "version_id": "v"}, "required by 'version_id': key"),
        ({"bucket": "b", "latest": True, "key": "k"}, "latest excludes key and at"),
        ({"bucket": "b", "at": "yesterday"}, "at is not a moment with a time zone"),
        ({"bucket": "b", "s3_access_key": "k"}, "belong together"),
        ({"bucket": "b", "s3_endpoint_url": "nonsense"}, "s3_endpoint_url is not a URL"),
        ({"bucket": "b", "limit": 0}, "limit must be at least 1"),
        ({"bucket": "b", "keey": "k"}, "Unsupported parameters"),
    ],
)
def test_options_that_cannot_be_meant_fail_before_anything_is_contacted(capsys, monkeypatch, arguments, words):
    monkeypatch.setattr(s3, "_create", lambda *a: pytest.fail("contacted S3"))
    code, result = run(capsys, **arguments)
    assert code == 1 and result["failed"]
    assert words in result["msg"]


def test_a_missing_library_is_named(capsys, monkeypatch):
    real = importlib.import_module

    def without_boto3(name, *more):
        if name == "boto3":
            raise ImportError("No module named 'boto3'")
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", without_boto3)
    code, result = run(capsys, bucket="b")
    assert code == 1
    assert "boto3" in result["msg"] and "Python library" in result["msg"]


def test_a_failure_carries_the_catalogue_and_its_reason(capsys, monkeypatch):
    empty = Catalogue("b", "mongo/", [], [], ["a note"])
    monkeypatch.setattr(s3_backup_info, "catalogue", lambda *a, **k: empty)
    code, result = run(
        capsys, bucket="b", prefix="mongo/", s3_access_key="canary-access", s3_secret_key="canary-secret"
    )
    assert code == 1
    assert result["mend"]["reason"] == Nothing.reason
    assert result["mend"]["details"]["notes"] == ["a note"]
    assert result["mend"]["details"]["counts"] == {"complete": 0, "incomplete": 0, "unknown": 0, "deleted": 0}
    assert "canary-secret" not in json.dumps(result)
