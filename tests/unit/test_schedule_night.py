"""`mendbook schedule` looks at the run as it will be: its hosts, its environment, its files, its user."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from schedule_lab import scheduler

from disk_places import mounted
from local_inventory import LOCAL, local_inventory
from mendbook.errors import UsageError
from mendbook.preflight import inventory as inventories
from mendbook.schedule import night, systemd
from mendbook.schedule.account import Account
from requirement import missing

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ("-i", str(ROOT / "inventory" / "example"))
BACKUP = ("backup_mongo", *EXAMPLE)
_ANSWERS = """#!/bin/sh
test "$ANSWER" && echo '{"mongo": {"hosts": ["estore"], "vars": {"ansible_connection": "local"}}}'
"""


@pytest.fixture
def schedule(monkeypatch, tmp_path, capsys):
    run = scheduler(monkeypatch, tmp_path, capsys, reads=True)
    monkeypatch.delenv("MENDBOOK_CONTENT")
    return run


@pytest.fixture
def environment(tmp_path):
    """A function that writes a private file of these lines and gives its path."""

    def write(*lines):
        path = tmp_path / "environment"
        path.write_text("".join(f"{line}\n" for line in lines))
        path.chmod(0o600)
        return path

    return write


def private(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_what_only_the_inventory_takes_from_the_environment_must_be_in_the_file(schedule, environment, monkeypatch):
    # what the shell has is not there at night
    monkeypatch.setenv("MONGO_URI", "mongodb://db1.example.com")
    code, out, err = schedule(*BACKUP)
    assert (code, out) == (64, "") and "MONGO_URI would be missing" in err and "--environment-file" in err
    # the keys of S3 are env?:NAME, which may be missing
    assert "AWS" not in err
    given = ("--environment-file", environment("# for backup_mongo", "MONGO_URI='mongodb://db1.example.com'"))
    assert schedule(*BACKUP, *given)[0] == 0
    for lines in (["MONGO_URL='mongodb://db1'"], ["MONGO_URI=''"], ["#MONGO_URI='x'"]):
        code, _, err = schedule(*BACKUP, "--environment-file", environment(*lines))
        assert code == 64 and "has no line NAME='value'" in err


def test_what_is_given_instead_of_the_inventorys_is_what_counts(schedule, tmp_path):
    code, _, err = schedule(*BACKUP, "-e", "mongo_backup_uri=env:OTHER")
    assert code == 64 and "OTHER would be missing" in err and "MONGO_URI" not in err
    secret = private(tmp_path / "uri", "mongodb://db1.example.com\n")
    # systemd reads it as root and hands it over, so it may lie where the unit itself sees nothing
    assert schedule(*BACKUP, "-e", f"mongo_backup_uri=file:{secret}")[0] == 0
    flush = ("flush_redis", *EXAMPLE, "-e", f"redis_flush_uri=file:{secret}", "-e", "redis_flush_whole_database=false")
    # no secret of any module, whatever it looks like
    code, _, err = schedule(*flush, "-e", "redis_flush_patterns=env:prod", "--on-calendar", "daily")
    assert code == 0, err


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: path.touch(), "the file is empty"),
    ],
)
def test_a_file_of_a_secret_that_is_none_is_refused(schedule, tmp_path, made, said):
    made(tmp_path / "uri")
    code, out, err = schedule(*BACKUP, "-e", f"mongo_backup_uri=file:{tmp_path}/uri", "--user")
    assert (code, out) == (64, "") and f"file:{tmp_path}/uri: {said}" in err


def _backup(uri):
    return {"mongo_uri": uri, "mongo_backup_database": "shop", "mongo_backup_bucket": "b"}


def test_a_secret_in_tmp_is_seen_by_a_unit_only_when_systemd_hands_it_over(tmp_path):
    path = str(private(tmp_path / "uri", "x"))
    path = path if path.startswith("/tmp/") else "/tmp/uri"  # noqa: S108
    unit = night.Night(("mendbook",), Account.of(None), {}, own_tmp=True)
    with pytest.raises(UsageError, match="has a /tmp of its own"):
        night._check_secret(path, unit)
    if path != "/tmp/uri":  # noqa: S108
        night._check_secret(path, replace(unit, own_tmp=False))
        night._check_secret(path, replace(unit, credentials=frozenset([path])))


@pytest.mark.parametrize("words", [("--limit", "nosuchhost"), ("-e", "mend_hosts=nosuchgroup"), ("--limit", "shop")])
def test_a_run_without_a_host_is_refused(schedule, words):
    code, out, err = schedule(*BACKUP, *words)
    assert (code, out) == (7, "") and "no host of the inventory matched" in err


def test_an_inventory_that_holds_nothing_is_refused(schedule, tmp_path):
    (tmp_path / "inventory").mkdir()
    code, out, err = schedule("backup_mongo", "-i", tmp_path / "inventory", "--user")
    assert (code, out) == (64, "") and "the inventory cannot be read" in err


def test_an_inventory_that_asks_somebody_is_asked_with_what_the_run_will_have(
    schedule, tmp_path, monkeypatch, environment
):
    monkeypatch.setenv("DOCKER_HOST", "unix:///of/this/shell")
    script = tmp_path / "asks"
    script.write_text(_ANSWERS.replace("ANSWER", "DOCKER_HOST"))
    script.chmod(0o755)
    given = [word for name, value in _backup("mongodb://db1").items() for word in ("-e", f"{name}={value}")]
    words = ("backup_mongo", "-i", script, *given, "--user")
    code, out, err = schedule(*words)
    assert (code, out) == (
        64,
        "",
    ) and "with no environment but --environment-file): the inventory cannot be read" in err
    assert schedule(*words, "--environment-file", environment("DOCKER_HOST='unix:///run/docker.sock'"))[0] == 0


def test_variables_of_the_inventory_that_a_role_refuses_are_refused_now(schedule, tmp_path):
    inventory = local_inventory(tmp_path / "hosts.yml", "a", "mongo", mongo_backup_database="shop")
    code, _, err = schedule("backup_mongo", "-i", inventory, "--user")
    assert code == 64 and "a: " in err and "mongo_backup_bucket" in err
    inventory = local_inventory(tmp_path / "hosts.yml", "a", "mongo", **_backup(""))
    code, _, err = schedule("backup_mongo", "-i", inventory, "--user")
    assert code == 64 and "a: mend_mongo_backup: its uri is empty" in err
    local_inventory(inventory, "a", "mongo", **_backup("x") | {"mongo_backup_bucket": "{{ nobody_says }}"})
    code, _, err = schedule("backup_mongo", "-i", inventory, "--user")
    assert code == 64 and "nobody_says" in err
    hosts = {name: _backup("x") for name in ("a", "b")}
    hosts["b"]["mongo_backup_readers"] = "many"
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"mongo": {"hosts": hosts, "vars": LOCAL}}))
    assert schedule("backup_mongo", "-i", inventory, "--user", "--limit", "a")[0] == 0
    code, _, err = schedule("backup_mongo", "-i", inventory, "--user")
    assert code == 64 and "b: " in err and "mongo_backup_readers" in err


def test_a_file_for_prometheus_lies_where_the_unit_may_write(schedule, tmp_path):
    words = ("check_backups", *EXAMPLE, "-e")
    code, out, err = schedule(*words, "s3_backup_check_textfile=/usr/shop.prom")
    assert (code, out) == (64, "") and err.endswith("--writable /usr\n")
    # the state is the unit's own
    own = "/var/lib/mendbook" + ("" if os.geteuid() == 0 else f"-{Account.of(None).name}")
    assert schedule(*words, f"s3_backup_check_textfile={own}/shop.prom")[0] == 0
    # these have no hardening, and still the user's own rights
    for kind in (("--user",), ("--format", "cron")):
        assert schedule(*words, f"s3_backup_check_textfile={tmp_path}/shop.prom", *kind)[0] == 0
        code, _, err = schedule(*words, f"s3_backup_check_textfile={tmp_path}/no/shop.prom", *kind)
        assert code == 64 and f"there is no folder {tmp_path}/no" in err


@pytest.fixture
def nobody():
    if os.geteuid() != 0:
        missing("only root can become somebody else")
    return Account.of("nobody")


@pytest.fixture
def seen(short_folder):
    """A folder that everybody may enter, with nothing in it; tmp_path lies in one that is our own."""
    short_folder.chmod(0o755)
    return short_folder


def test_what_another_user_may_do_is_asked_as_that_user(nobody, seen):
    secret = private(seen / "uri", "x")
    assert Account.of(None).unreadable(str(secret)) is None
    assert nobody.unreadable(str(secret)) == "Permission denied"
    assert "nobody may not write into" in nobody.unwritable(str(seen / "x.prom"))
    os.chown(secret, nobody.entry.pw_uid, -1)
    os.chown(seen, nobody.entry.pw_uid, -1)
    assert nobody.unreadable(str(secret)) is None and nobody.unwritable(str(seen / "x.prom")) is None
    # and we are who we were
    assert os.geteuid() == 0 and private(seen / "again", "x").owner() == "root"


def test_a_mendbook_that_the_user_cannot_start_is_refused(nobody, seen):
    program = seen / "mendbook"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o700)
    run = night.Night((str(program),), nobody, {})
    with pytest.raises(UsageError, match=r"nobody cannot start .*Permission denied.*--run-as"):
        night._start(run, {})
    program.chmod(0o755)
    night._start(run, {})
    program.write_text("#!/bin/sh\necho Traceback >&2; echo no module named mendbook >&2; exit 1\n")
    with pytest.raises(UsageError, match="no module named mendbook"):
        night._start(run, {})


def test_an_inventory_that_the_user_cannot_read_is_refused(nobody, seen, schedule, environment, monkeypatch):
    python = "/usr/bin/python3"
    asked = [python, "-c", "import sys; print(sys.version_info[:2])"]
    if not os.path.exists(python) or str(sys.version_info[:2]) != subprocess.check_output(asked, text=True).strip():
        missing("there is no Python of this version that everybody may start")
    (packages,) = {path for path in sys.path if path.endswith("site-packages") and path.startswith(sys.prefix)}
    inventory = local_inventory(seen / "hosts.yml", "a", "mongo", **_backup("x"))
    # the checkout and its environment may lie in a folder that is root's alone
    with (
        mounted(seen / "checkout", "bind,ro", str(ROOT)) as checkout,
        mounted(seen / "packages", "bind,ro", packages) as installed,
    ):
        given = environment(f"PYTHONPATH='{checkout / 'src'}:{installed}'")
        monkeypatch.setenv("MENDBOOK_CONTENT", str(checkout))
        monkeypatch.setattr(inventories, "_PROGRAM", checkout / inventories._PROGRAM.relative_to(ROOT))
        monkeypatch.setattr(sys, "executable", python)
        words = ("backup_mongo", "-i", inventory, "--run-as", "nobody", "--format", "cron", "--environment-file", given)
        code, _, err = schedule(*words)
        assert code == 0, err
        inventory.chmod(0o600)
        code, _, err = schedule(*words)
        assert code == 64 and "by nobody" in err and "the inventory cannot be read" in err


def test_a_disk_of_this_machine_is_cleaned_where_the_unit_may_write(schedule, tmp_path, monkeypatch):
    if os.geteuid():
        missing("only root cleans the folders of others")
    log = {"root": "/var/log", "patterns": ["*.log"]}
    rules = [log, {**log, "root": "/var/log/no-such-folder"}]
    inventory = local_inventory(tmp_path / "hosts.yml", "a", "hosts", disk_clean_rules=rules)
    # which is a test's, and lies in /tmp
    monkeypatch.setattr(systemd, "_UNSEEN", re.compile("(?!)"))
    words = ("clean_disk", "-i", inventory, "--on-calendar", "daily")
    code, out, err = schedule(*words)
    assert (code, out) == (64, "") and err.endswith("--writable /var/log\n")
    assert schedule(*words, "--writable", "/var/log")[0] == 0
    # its own /tmp would be cleaned instead
    code, _, err = schedule(*words, "-e", 'disk_clean_rules=[{"root": "/tmp", "patterns": ["*.log"]}]')
    assert code == 64 and "a unit has a /tmp of its own" in err
    # cron hardens nothing, and of another machine nothing is known
    assert schedule(*words, "--format", "cron")[0] == 0
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"hosts": {"hosts": {"a": None}}}))
    assert schedule(*words)[0] == 0


def test_what_the_inventory_says_decides_whether_a_run_must_be_confirmed(schedule, tmp_path):
    def clean(**variables):
        inventory = local_inventory(tmp_path / "hosts.yml", "a", "hosts", disk_clean_rules=[], **variables)
        return schedule("clean_disk", "-i", inventory, "--on-calendar", "daily", "--user")

    assert clean()[0] == 0
    old = [{"root": "/var/backups", "patterns": ["*.gz"], "keep_newest": 7}]
    code, out, err = clean(disk_clean_backups=old)
    assert (code, out) == (6, "") and "It needs none only without disk_clean_backups" in err
    # for a fleet it is confirmed where the hosts are named
    assert clean(disk_clean_backups=old, disk_clean_confirm="host:{{ inventory_hostname }}")[0] == 0
