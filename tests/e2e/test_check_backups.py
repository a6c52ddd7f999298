"""check_backups against a real store: what it finds, what it tells Prometheus, and what it leaves alone."""

from __future__ import annotations

import contextlib
import datetime
import re
import threading
import time

import pytest
from ansible.module_utils.mendbook import s3, s3_check, s3_new
from prometheus_client.parser import text_string_to_metric_families

import bucket_lab
import mendbook
from bucket_lab import CONNECTION, BucketLab, ago, lab_of, store_time

pytestmark = pytest.mark.e2e

CHECKS = ("age", "size", "gaps", "unfinished", "drill", "clock", "uploads", "leftovers")


@pytest.fixture
def lab(sandbox, s3_client, request) -> BucketLab:
    return lab_of(sandbox, s3_client, request.node.name)


@pytest.fixture
def check(playbook, lab):
    """Run the playbook; the Played, and the facts of the module, also when it failed."""

    def run(*arguments, **options):
        played = playbook("check_backups", *arguments, variables=lab.variables("s3_backup_check", **options))
        (result,) = played.of("mend_s3_backup_check")
        return played, {**result, **result.get("mend", {}).get("details", {})}

    return run


def healthy(lab):
    keys = [lab.backup(day, data=b"x" * 1000) for day in (0.1, 1.1, 2.1, 3.1, 4.1)]
    lab.drill(keys[1], days=3)
    return keys


def verdicts(result):
    return {entry["name"]: entry["status"] for entry in result["checks"]}


def samples(text):
    """{(metric, labels without bucket and prefix): value}, by the parser of Prometheus' own client."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge" and family.documentation
        for sample in family.samples:
            assert sample.timestamp is None  # node_exporter refuses a file that has one
            labels = tuple(sorted((n, v) for n, v in sample.labels.items() if n not in ("bucket", "prefix")))
            assert found.setdefault((sample.name, labels), sample.value) == sample.value
    return found


def test_healthy_backups_pass_and_prometheus_is_told(check, lab, tmp_path):
    began = time.time()
    keys = healthy(lab)
    file = tmp_path / "backups.prom"
    before = lab.everything()

    played, result = check("--check", textfile=str(file))
    assert played.rc == 0 and not file.exists()

    played, result = check(textfile=str(file))
    assert played.rc == 0 and result["status"] == "ok"
    assert verdicts(result) == dict.fromkeys(CHECKS, "ok")
    assert lab.everything() == before
    assert file.stat().st_mode & 0o777 == 0o644
    # a backup ages while the playbook runs, however long that takes here; what is written has whole seconds
    late = time.time() - began + 2
    told = samples(file.read_text())
    row = (("series", f"{lab.prefix}estore-*.archive.gz"),)
    manifest = lab.s3.head_object(Bucket=lab.bucket, Key=f"{keys[0]}.manifest.json")
    finished = told["mendbook_backup_last_finished_timestamp_seconds", row]
    assert finished == pytest.approx(manifest["LastModified"].timestamp() - 0.1 * 86400, abs=late)
    assert told["mendbook_backup_age_seconds", row] == pytest.approx(0.1 * 86400, abs=late)
    assert told["mendbook_backup_size_bytes", row] == 1000
    assert told["mendbook_backup_complete", row] == 5
    drilled = told["mendbook_backup_last_verified_drill_timestamp_seconds", row]
    assert drilled == pytest.approx(ago(3).timestamp(), abs=late)
    assert told["mendbook_backup_check_timestamp_seconds", ()] == pytest.approx(time.time(), abs=late)
    assert {value for (name, _), value in told.items() if name == "mendbook_backup_check_status"} == {0}


@contextlib.contextmanager
def read_over_and_over(folder):
    """Read every .prom file of the folder all the time; a set of (name, text) that a reader saw."""
    seen, over = set(), threading.Event()

    def read():
        while not over.is_set():
            seen.update((path.name, path.read_text()) for path in folder.glob("*.prom"))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen
    finally:
        over.set()
        reader.join()


def test_an_old_and_small_backup_fails_and_the_file_says_so_all_the_same(check, lab, tmp_path):
    for day in (2, 3.8, 4.8):
        lab.backup(day, data=b"x" * 1000)
    lab.backup(1.55, data=b"x" * 400)
    lab.unfinished(1)
    file = tmp_path / "backups.prom"
    file.write_text("x" * 100_000)

    with read_over_and_over(tmp_path) as seen:
        played, result = check(textfile=str(file))

    # the collector reads every file with this ending, at any moment
    assert seen <= {(file.name, "x" * 100_000), (file.name, file.read_text())}
    assert played.rc == 2
    assert result["mend"]["reason"] == "verify"
    expected = {"age": "failed", "size": "failed", "gaps": "warning", "drill": "warning", "unfinished": "ok"}
    assert verdicts(result) == {**dict.fromkeys(CHECKS, "ok"), **expected}
    # so many minutes more as the playbook takes until it looks
    assert re.search(r"the last backup was finished 37 h \d+ min ago", result["msg"]), result["msg"]
    told = samples(file.read_text())
    row = f"{lab.prefix}estore-*.archive.gz"
    assert told["mendbook_backup_check_status", (("check", "age"), ("series", row))] == 2
    assert told["mendbook_backup_check_status", (("check", "drill"), ("series", row))] == 1
    # one between two of them, and the one that is due since then
    assert told["mendbook_backup_missed_runs", (("series", row),)] == 2


def test_hostile_names_reach_prometheus_as_data(check, lab, tmp_path):
    owned = tmp_path / "owned"
    lab.prefix += 'a"b/'
    name = 'évil\n{{ lookup("pipe", "touch ' + str(owned) + '") }}'
    lab.backup(0.5, name=name)
    file = tmp_path / "backups.prom"
    played, result = check(textfile=str(file))
    assert played.rc == 0, result["msg"]
    assert not owned.exists()
    (family,) = [f for f in text_string_to_metric_families(file.read_text()) if f.name == "mendbook_backup_complete"]
    (sample,) = family.samples
    assert sample.labels["prefix"] == lab.prefix
    assert sample.labels["series"] == f"{lab.prefix}{name}-*.archive.gz"


def test_the_wrapper_says_with_5_that_a_check_has_failed(lab, inventory, state, sandbox_secrets, monkeypatch):
    for name, value in {**sandbox_secrets, "MENDBOOK_STATE": str(state)}.items():
        monkeypatch.setenv(name, value)
    lab.backup(3)
    variables = {"s3_backup_check_bucket": lab.bucket, "s3_backup_check_prefix": lab.prefix}
    variables |= {f"s3_backup_check_s3_{name}": lab.options[f"s3_{name}"] for name in CONNECTION[:3]}
    keys = {"access_key": "env:SANDBOX_S3_ACCESS_KEY", "secret_key": "env:SANDBOX_S3_SECRET_KEY"}
    variables |= {f"s3_backup_check_s3_{name}": value for name, value in keys.items()}
    outcome = mendbook.run("check_backups", inventory=inventory, variables=variables)
    assert (outcome.word, outcome.exit_code) == ("verify failed", 5)
    with pytest.raises(mendbook.VerifyFailed, match="the last backup was finished 3 d 0 h ago"):
        outcome.raise_if_failed()


def test_a_store_that_is_away_leaves_the_last_file_with_its_moment(check, lab, tmp_path):
    file = tmp_path / "backups.prom"
    file.write_text("as it was\n")
    played, result = check(s3_endpoint_url="http://127.0.0.1:9", textfile=str(file))
    assert played.rc == 2 and "nobody listens at" in result["msg"]
    assert file.read_text() == "as it was\n"


def test_a_path_that_the_collector_would_not_read_is_refused(playbook, lab):
    variables = {"s3_backup_check_bucket": lab.bucket, "s3_backup_check_textfile": "/tmp/backups.prom.txt"}
    played = playbook("check_backups", variables=variables)
    assert played.rc == 2
    assert "must be an absolute path that ends with .prom" in played.failed()[0]["msg"]
    assert not played.of("mend_s3_backup_check")


class TestInThisProcess:
    def test_an_empty_prefix_and_objects_without_manifests_fail_in_words(self, lab):
        empty = lab.check()
        assert empty["rc"] == 1 and "there is no backup under" in empty["msg"]
        lab.put(f"{lab.prefix}dump.gz")
        assert "none of 1 objects has a manifest" in lab.check()["msg"]

    def test_a_database_that_is_no_longer_backed_up_is_not_hidden_by_its_neighbour(self, lab):
        lab.backup(0.1)
        lab.backup(9, name="shop")
        result = lab.check()
        assert result["msg"].count("the last backup was finished") == 1
        assert f"{lab.prefix}shop-*.archive.gz: the last backup was finished 9 d 0 h ago" in result["msg"]
        assert lab.check(pattern="estore-*")["rc"] == 0

    def test_nor_is_it_hidden_under_keys_without_a_date_where_manifests_tell_them_apart(self, lab):
        lab.backup(0.1, key=f"{lab.prefix}new.gz", source="rs0@db1/estore")
        old = lab.backup(9, key=f"{lab.prefix}old.gz", source="rs0@db1/shop")
        lab.drill(old)
        broken = lab.backup(0.2, key=f"{lab.prefix}broken.gz")
        lab.put(f"{broken}.manifest.json", b"{")
        result = lab.check()
        assert result["msg"].count("the last backup was finished") == 1
        assert f"{lab.prefix}* (shop): the last backup was finished 9 d 0 h ago" in result["msg"]
        rows = {row["name"]: row for row in result["series"]}
        assert sorted(rows) == [f"{lab.prefix}* (estore)", f"{lab.prefix}* (shop)"]
        # nobody knows of which database the broken one is
        assert [row["unfinished"] for _name, row in sorted(rows.items())] == [1, 0]
        assert [bool(row["last_verified_drill"]) for _name, row in sorted(rows.items())] == [False, True]

    def test_a_deleted_backup_and_an_upload_that_nobody_ended_do_not_count(self, lab):
        key = lab.backup(0.1)
        lab.backup(2)
        lab.s3.delete_object(Bucket=lab.bucket, Key=key)
        lab.s3.create_multipart_upload(Bucket=lab.bucket, Key=key)
        result = lab.check()
        assert result["rc"] == 1 and "2 d 0 h ago" in result["msg"]
        assert verdicts(result)["unfinished"] == "warning" and verdicts(result)["uploads"] == "ok"
        with store_time(days=1.1):
            assert verdicts(lab.check())["uploads"] == "warning"

    def test_what_a_killed_backup_left_under_a_key_of_the_operators_own_is_seen(self, lab):
        healthy(lab)
        client = s3.client({**lab.options})
        keys = [f"{lab.prefix}{name}" for name in ("before-7.gz", "whole.gz", "folder/deep.gz", "copy.gz")]
        marks = [s3_new.NewObject(client, lab.bucket, key, lab.options).metadata for key in keys]
        lab.put(keys[0], Metadata=marks[0])
        lab.backup(0.1, key=keys[1], Metadata=marks[1])
        lab.put(keys[2], Metadata=marks[2])
        lab.s3.copy_object(Bucket=lab.bucket, Key=keys[3], CopySource={"Bucket": lab.bucket, "Key": keys[0]})
        lab.put(f"{lab.prefix}README.txt", b"not yours")
        assert verdicts(lab.check())["leftovers"] == "ok", "its manifest may be on its way"
        with store_time(days=0.1):
            result = lab.check(max_age_seconds=bucket_lab.DAY)
        assert result["rc"] == 0 and verdicts(result)["leftovers"] == "warning"
        (found,) = [entry for entry in result["checks"] if entry["name"] == "leftovers"]
        assert found["value"] == 1 and f"never finished, such as {keys[0]}, of 20" in found["words"]

    def test_of_many_objects_of_others_only_the_newest_are_asked(self, lab, monkeypatch):
        healthy(lab)
        for number in range(5):
            lab.put(f"{lab.prefix}{number}.txt")
        monkeypatch.setattr(s3_check, "MAX_STRANGERS", 3)
        asked = []
        monkeypatch.setattr(s3_check, "is_made_here", lambda _client, _bucket, key, _params: asked.append(key))
        with store_time(days=0.1):
            result = lab.check()
        assert len(asked) == 3 and "of 5 objects without a manifest only the newest 3 were looked at" in result["notes"]

    def test_the_clock_of_the_store_decides_and_that_of_this_machine_is_named(self, lab):
        began = time.time()
        lab.backup(0.5)
        with store_time(days=2, ahead_seconds=-2 * bucket_lab.DAY):
            result = lab.check()
        assert result["rc"] == 1 and "was finished 2 d 12 h ago" in result["msg"]
        assert any("the clock of this machine is 2 d 0 h behind the store's" in text for text in result["warnings"])
        checked = datetime.datetime.fromisoformat(result["checked"])
        assert checked.timestamp() == pytest.approx(ago(-2).timestamp(), abs=time.time() - began + 2)

    def test_without_a_drill_it_fails_where_that_is_wanted(self, lab):
        key = lab.backup(0.1)
        lab.drill(key, days=50, verified=False)
        assert lab.check(without_drill="failed")["rc"] == 1
        lab.drill(key, days=40, run="20260102T000000Z-0a1b2c")
        assert "ended 40 d 0 h ago: over 31 d 0 h" in lab.check(without_drill="failed")["msg"]
        lab.drill(key, days=1, run="20260103T000000Z-0a1b2c")
        assert lab.check(without_drill="failed")["rc"] == 0
        lab.drill(key, days=0.5, verified=False, run="20260104T000000Z-0a1b2c")
        result = lab.check()
        assert result["rc"] == 0 and verdicts(result)["drill"] == "warning"
        assert any("1 later proved nothing, the last one (run 20260104T" in text for text in result["warnings"])
        assert "1 later proved nothing" in lab.check(without_drill="failed")["msg"]

    def test_a_drill_of_other_bytes_and_a_record_that_is_none_are_no_proof(self, lab):
        key = lab.backup(0.1)
        lab.drill(key, sha256="0" * 64)
        lab.put(f"{key}.drill.20260102T000000Z-0a1b2c.json", b"[" * 100_000)
        result = lab.check()
        assert verdicts(result)["drill"] == "warning"
        assert any("is not the JSON that a drill writes" in note for note in result["notes"])

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"bucket": ""}, "bucket is empty"),
            ({"bucket": "no-such-bucket"}, "there is no bucket no-such-bucket"),
            ({"interval_seconds": 0}, "interval_seconds must be at least 1"),
            ({"grace_seconds": -1}, "grace_seconds must not be negative"),
            ({"min_size_share": 1.5}, "min_size_share is below 1"),
        ],
    )
    def test_options_that_cannot_be_meant_are_refused(self, lab, options, words):
        assert words in lab.check(**options)["msg"]
