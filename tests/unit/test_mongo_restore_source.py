"""The backup that a restore reads from a file or a folder: what pins it, its age, its manifest."""

import gzip
import hashlib
import json
import os

import pytest
from ansible.module_utils.mendbook.errors import MendError, VerifyFailed
from ansible.module_utils.mendbook.mongo_restore_source import data_bytes, open_backup

from dump_writer import archive, directory_files, made, tar_of

DUMP = archive({("estore", "orders"): made(50)})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "estore.archive"
    path.write_bytes(DUMP)
    return path


def opened(path):
    with open_backup({"path": str(path), "database": "estore", "source_database": None}) as source:
        return source


def write_manifest(path, **changes):
    data = path.read_bytes()
    described = {"key": path.name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), **changes}
    manifest = {
        "schema": 1,
        "finished": "2026-01-02T00:00:00Z",
        "object": described,
        "collections": {
            "estore.orders": {"type": "collection", "count": 50},
            "crm.x": {"type": "collection", "count": 1},
        },
    }
    (path.parent / f"{path.name}.manifest.json").write_text(json.dumps(manifest))


def test_a_file_is_as_old_as_its_last_change_and_that_is_said(file):
    os.utime(file, (1_700_000_000, 1_700_000_000))
    facts = opened(file).facts
    assert facts["finished"] == "2023-11-14T22:13:20Z"
    assert "modification time" in facts["age_from"]
    assert facts["complete"] is None


def test_a_manifest_beside_it_says_when_it_was_finished_and_what_is_in_it(file):
    write_manifest(file)
    source = opened(file)
    assert source.facts["complete"] is True
    assert source.facts["finished"] == "2026-01-02T00:00:00Z"
    assert source.expected("estore") == {"orders": {"type": "collection", "count": 50}}
    source.prove_bytes()


def test_a_manifest_of_another_size_makes_it_incomplete(file):
    write_manifest(file, size=7)
    source = opened(file)
    assert source.facts["complete"] is False
    assert "its manifest says 7" in source.facts["reason"]


def test_a_wrong_checksum_is_found_before_anything_is_loaded(file):
    write_manifest(file, sha256="0" * 64)
    with pytest.raises(VerifyFailed, match="nothing was changed"):
        opened(file).prove_bytes()


def test_a_manifest_that_is_no_manifest_is_an_error_and_not_ignored(file):
    (file.parent / f"{file.name}.manifest.json").write_text("{}")
    with pytest.raises(MendError, match="schema is missing"):
        opened(file)


@pytest.mark.parametrize(
    ("path", "words"), [("backups/x", "is relative"), ("/nowhere/x.archive", "there is no /nowhere")]
)
def test_a_path_that_cannot_be_meant_is_named(path, words):
    with pytest.raises(MendError, match=words):
        opened(path)


def test_an_empty_file_says_that_it_was_never_written(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(MendError, match="never written"):
        opened(tmp_path / "x")


def test_another_file_under_the_same_name_is_another_backup(file):
    before = opened(file).identity
    assert opened(file).identity == before
    replacement = file.parent / "new"
    replacement.write_bytes(DUMP)
    os.utime(replacement, ns=(0, file.stat().st_mtime_ns))
    replacement.replace(file)
    assert opened(file).identity != before


def test_a_folder_is_another_backup_when_one_file_changes(tmp_path):
    folder = tmp_path / "dump"
    for name, content in directory_files("estore", {"orders": made(5), "users": made(3)}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    before = opened(folder)
    assert before.dump.format == "directory"
    os.utime(folder / "estore" / "users.bson.gz", (1, 1))
    assert opened(folder).identity != before.identity


def test_the_length_of_the_data_is_exact_for_archives_and_estimated_for_packed_tars(tmp_path, file):
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(DUMP))
    tar = tmp_path / "tar"
    tar.write_bytes(tar_of(directory_files("estore", {"orders": made(50)})))
    assert data_bytes(opened(file)) == len(DUMP)
    assert data_bytes(opened(packed)) == len(DUMP)
    assert data_bytes(opened(tar)) == tar.stat().st_size * 6
