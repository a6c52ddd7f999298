"""`mendbook schedule`: what it prints and writes, and what it refuses before anything would fail at night."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from schedule_lab import LOOK, WRITE, scheduler

from mendbook import content
from mendbook.schedule import cron
from mendbook.schedule.job import Job

ROOT = Path(__file__).resolve().parents[2]
ME = pwd.getpwuid(os.geteuid()).pw_name
BACKUP = ("--backup", "s3://backups/p", "--database", "shop")
KEYS = ("--s3-access-key", "A", "--s3-secret-key")


@pytest.fixture
def schedule(monkeypatch, tmp_path, capsys):
    return scheduler(monkeypatch, tmp_path, capsys)


def test_a_service_and_a_timer_are_printed_with_the_path_where_each_belongs(schedule):
    code, out, err = schedule(*WRITE, "--user", "--label", "nightly", "--timeout", "90m")
    assert code == 0 and "nothing was written" in err
    paths = re.findall(r"^# (/.*)$", out, re.MULTILINE)
    assert [Path(path).name for path in paths] == [
        "mendbook-write_note-nightly.service",
        "mendbook-write_note-nightly.timer",
    ]
    assert not any(os.path.exists(path) for path in paths)
    assert "run write_note -i a, --confirm note:a.txt --timeout 5400s\n" in out
    assert "TimeoutStartSec=5520" in out and "OnCalendar=daily" in out
    # nobody is there to look when what destroys is done at an hour that nobody chose
    assert "Persistent=false" in out and "Persistent=true" in schedule(*LOOK, "--user")[1]


def test_a_machine_unit_is_hardened_and_writes_only_its_state(schedule, monkeypatch):
    monkeypatch.delenv("MENDBOOK_CONTENT")
    out = schedule("verify_mongo", "-i", "a,", "--on-calendar", "daily")[1]
    for line in (f"User={ME}", "ProtectSystem=strict", "NoNewPrivileges=yes", "Type=oneshot", "SendSIGKILL=no"):
        assert f"\n{line}\n" in out
    own = "mendbook" if ME == "root" else f"mendbook-{ME}"
    assert f"StateDirectory={own}\n" in out and f"Environment=MENDBOOK_STATE=/var/lib/{own}\n" in out
    assert "ReadWritePaths" not in out
    assert (
        "\nReadWritePaths=/usr\n"
        in schedule("verify_mongo", "-i", "a,", "--on-calendar", "daily", "--writable", "/usr")[1]
    )
    assert "SuccessExitStatus" not in out and "Restart=" not in out


def test_secrets_are_credentials_or_an_environment_file_and_never_in_the_unit(schedule, tmp_path):
    environment = tmp_path / "environment"
    environment.write_text("NOTE_PASSWORD=x\n")
    environment.chmod(0o600)
    secret = ("-e", "note_write_password=file:/etc/mendbook/a 50% word")
    out = schedule(*WRITE, *secret)[1]
    assert "LoadCredential=note_write_password:/etc/mendbook/a 50%% word\n" in out
    assert "-e note_write_password=file:%d/note_write_password " in out
    # the manager of a user has no root that could read more than the user
    assert "LoadCredential" not in schedule(*WRITE, *secret, "--user")[1]
    out = schedule(*WRITE, "-e", "note_write_password=env:NOTE_PASSWORD", "--environment-file", environment)[1]
    assert f"EnvironmentFile={environment}\n" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("write_nite", "-i", "a,"), "did you mean write_note"),
        (("../write_note", "-i", "a,"), "no procedure is called"),
        (("drill:restore_mong",), "did you mean restore_mongo"),
        (("drill:restore_mongo", "-i", "a,"), "a drill makes its own servers"),
        (("drill:restore_mongo", "--", "--no-such"), "No such option"),
        (("drill:restore_mongo", "--", "--backup", "s3://b/p"), "--backup needs --database"),
        (("drill:restore_mongo", "--", "--backup", "b", "--database", "x"), "takes s3://bucket"),
        (("drill:restore_mongo", "--", *BACKUP, "--time-field", "a"), "takes COLLECTION=FIELD"),
        (("drill:restore_mongo", "--", "--database", "x"), "belongs to --backup"),
        (("drill:restore_mongo", "--", "--history"), "only shows the drills before"),
        (("drill:restore_mongo", "--", "--help"), "No such option"),
        (("drill:restore_mongo", "--", "--junit", "drill.xml"), "--junit drill.xml: a timer starts in another folder"),
        (("drill:restore_mongo", "--", "--history-file", "~/x"), "give an absolute path"),
        (("drill:restore_mongo", "--", *BACKUP, "--s3-ca-file", "ca.pem"), "give an absolute path"),
        (("drill:restore_mongo", "--", *BACKUP, *KEYS, "file:key"), "give an absolute path"),
        (("drill:restore_mongo", "--", *BACKUP, *KEYS, "file:/no/such"), "file:/no/such: No such file"),
        (("drill:restore_mongo", "--", *BACKUP, *KEYS, "env:KEY"), "KEY would be missing"),
        (("drill:restore_mongo", "--", "--junit", "/usr/drill.xml"), "could not write it: --writable /usr"),
        (("drill:restore_mongo", "--", "--s3-secret-key", "geheim"), "give env:NAME or file:/path"),
        (("look_around", "-i", "a,"), "has no usual time"),
        ((*LOOK[:3], "--on-calendar", "25:00"), "for example"),
        ((*LOOK[:1], "--on-calendar", "daily"), "no inventory is given"),
        (("look_around", "-i", "/no/such", "--on-calendar", "daily"), "/no/such does not exist"),
        ((*WRITE, "-e", "note_write_second=1"), "did you mean note_write_seconds"),
        ((*WRITE, "-e", "note_write_seconds=soon"), "takes a number"),
        ((*WRITE, "-e", "note_write_password=geheim"), "is a secret"),
        ((*WRITE, "-e", "@/no/such.yml"), "cannot be read"),
        ((*WRITE, "-e", "note_write_path=/tmp/a"), "has a /tmp of its own"),
        ((*WRITE, "--environment-file", "/no/such"), "cannot be read"),
        ((*WRITE, "--limit", ""), "the limit is empty"),
        ((*WRITE, "--timeout", "never"), "is not a time"),
        ((*WRITE, "--label", "Ü"), "the label"),
        ((*WRITE, "--label", "a/../b"), "the label"),
        ((*WRITE, "--run-as", "roots"), "this machine has no user 'roots' - did you mean root"),
        ((*WRITE, "--run-as", "root", "--user"), "leave --run-as out"),
        ((*WRITE, "--install", "--remove"), "opposites"),
        ((*WRITE, "--writable", "/no/such"), "does not exist"),
        ((*WRITE, "--on-failure", "notify"), "is no name of a unit"),
        ((*WRITE, "--on-failure", "a.service\nExecStartPre=/bin/sh"), "is no name of a unit"),
        ((*WRITE, "--image", "x"), "--image is for --format kubernetes"),
        ((*WRITE, "--user", "--format", "cron"), "--user is for --format systemd"),
        ((*WRITE, "--", "--json"), "only a drill takes words after its name"),
        ((*LOOK, "--confirm", "x"), "asks for no confirmation"),
        ((*WRITE, "--format", "at"), "Invalid value for '--format'"),
        ((*WRITE, "--format", "kubernetes"), "needs --image"),
        ((*WRITE, "--format", "cron", "-e", "note_write_texts=a\\\\b"), "cron cannot hold"),
        ((*WRITE, "--format", "cron", "-e", "note_write_texts=a\nb"), "cron cannot hold"),
        ((*WRITE, "--format", "cron", "-e", "note_write_texts=" + "%" * 600), "at most 998 bytes"),
    ],
)
def test_what_could_not_work_is_64_with_words_and_nothing_is_printed(schedule, words, said):
    code, out, err = schedule(*words)
    assert (code, out) == (64, "") and said in err
    assert "geheim" not in err


def test_what_destroys_is_not_scheduled_without_its_confirmation(schedule, monkeypatch):
    code, out, err = schedule(*WRITE[:-2])
    assert (code, out) == (6, "") and "nobody is there at night to confirm it" in err and "--check" in err
    # given as the role's own variable it is one, too
    assert schedule(*WRITE[:-2], "-e", "note_write_confirm=note:a.txt")[0] == 0
    monkeypatch.delenv("MENDBOOK_CONTENT")
    undo = ("undo_restore_mongo", "-i", "a,", "--on-calendar", "daily")
    assert schedule(*undo, "-e", "mongo_undo_action=drop_expired")[0] == 0
    code, _, err = schedule(*undo, "-e", "mongo_undo_action=drop")
    assert code == 6 and "It needs none only with mongo_undo_action=drop_expired" in err
    idle = ("kill_idle_postgres", "-i", "a,", "--on-calendar", "*:0/5")
    assert schedule(*idle)[0] == 0
    code, _, err = schedule(*idle, "-e", "postgres_terminate_in_transaction_seconds=900")
    assert code == 6 and "only without postgres_terminate_in_transaction_seconds" in err


def test_what_needs_no_confirmation_is_said_in_names_that_exist(monkeypatch):
    monkeypatch.delenv("MENDBOOK_CONTENT", raising=False)
    said = {
        each.name: (each.header["unconfirmed"], each) for each in content.procedures() if "unconfirmed" in each.header
    }
    assert "undo_restore_mongo" in said
    for harmless, procedure in said.values():
        assert procedure.risk == "destroys" and set(harmless) <= set(procedure.options)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660])
def test_a_file_of_secrets_that_others_can_read_is_refused(schedule, tmp_path, mode):
    environment = tmp_path / "environment"
    environment.touch()
    environment.chmod(mode)
    code, _, err = schedule(*WRITE, "--environment-file", environment)
    assert code == 6 and "chmod 600" in err


def test_paths_are_those_of_the_folder_one_stands_in(schedule, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("hosts.yml", "more.yml"):
        Path(name).write_text("{}")
    words = ("-e", "@more.yml", "-e", "note_write_password=file:key", "-e", "note_write_path=a note")
    out = schedule("write_note", "-i", "hosts.yml", *WRITE[3:], *words, "--user")[1]
    for part in (f"-i {tmp_path}/hosts.yml", f"@{tmp_path}/more.yml", f"file:{tmp_path}/key", f"={tmp_path}/a note"):
        assert part in out


def test_a_name_that_is_not_utf_8_is_refused(schedule, tmp_path):
    (tmp_path / os.fsdecode(b"\xff")).mkdir()
    code, _, err = schedule("look_around", "-i", tmp_path / os.fsdecode(b"\xff"), *LOOK[3:], "--user")
    assert code == 64 and "not UTF-8" in err


def test_a_machine_unit_refuses_a_state_folder_that_it_could_not_write_to(schedule, monkeypatch):
    monkeypatch.setenv("MENDBOOK_STATE", "/no/such")
    assert schedule(*LOOK, "--user")[0] == 0
    code, _, err = schedule(*LOOK)
    assert code == 64 and "/no/such is no folder" in err


def test_the_cron_line_does_what_was_asked_and_speaks_only_of_failures(schedule, tmp_path):
    """The shell's half of it; cron's own half is tested under a real cron."""
    trap = "50% $HOME `id` 'x' ünï"
    out = schedule(*WRITE, "--format", "cron", "--run-as", "root", "-e", f"note_write_texts={trap}")[1]
    line = out.splitlines()[-1]
    assert line.startswith("0 0 * * * root ") and "MAILTO=root" in out and "SHELL=/bin/sh" in out and "\nPATH=" in out
    assert re.search(r"(?<!\\)%", line) is None
    command = line.split(" root ", 1)[1].replace("\\%", "%")
    for name, text in {
        "logger": "#!/bin/sh\ncat >>$OUT.log\n",
        "python": "#!/bin/sh\nprintf '%s|' \"$@\" >$OUT\necho said; exit $CODE\n",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    command = command.replace("/opt/mendbook/bin/python", str(tmp_path / "python"))
    for code in ("0", "75"):
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "OUT": str(tmp_path / code), "CODE": code}
        done = subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("", "")
        words = f"-m|mendbook|run|write_note|-i|a,|-e|note_write_texts={trap}|--confirm|note:a.txt|--timeout|12h|"
        assert (tmp_path / code).read_text() == words
    assert not (tmp_path / "0.log").exists() and (tmp_path / "75.log").read_text() == "said\nexit code 75\n"


def test_a_zone_that_is_not_the_machines_is_warned_of(schedule):
    from datetime import datetime, timedelta, timezone

    berlin = datetime(2026, 7, 1, tzinfo=timezone(timedelta(hours=2)))
    job = Job("mendbook-x", "", (), "daily UTC", True, 60, "")
    assert "CRON_TZ" in cron.warnings(job, berlin)[0]
    assert cron.warnings(Job("mendbook-x", "", (), "daily Europe/Berlin", True, 60, ""), berlin) == []
    assert cron.warnings(Job("mendbook-x", "", (), "daily", True, 60, ""), berlin) == []
    assert "\nCRON_TZ=UTC\n" in schedule(*LOOK[:-1], "daily UTC", "--format", "cron")[1]


def test_a_drill_takes_its_own_options_and_has_a_time_limit_under_cron_too(schedule):
    code, out, _ = schedule("drill:restore_mongo", "--format", "cron", "--timeout", "2h", "--", "--seed", "7", "--json")
    assert code == 0 and out.splitlines()[-1].startswith("0 4 * * * ")
    words = shlex.split(out.splitlines()[-1].split("said=$(")[1].split(" 2>&1)")[0])
    assert words[-7:] == ["-m", "mendbook", "drill", "restore_mongo", "--seed", "7", "--json"]
    assert words[words.index("timeout") + 1] == "7200"


@pytest.mark.parametrize(("page", "least"), [("README.md", 3), ("docs/schedule.md", 5)])
def test_the_examples_of_a_page_are_right(monkeypatch, tmp_path, capsys, page, least):
    schedule = scheduler(monkeypatch, tmp_path, capsys, reads=True)
    monkeypatch.delenv("MENDBOOK_CONTENT")
    environment = tmp_path / "environment"
    environment.write_text("MONGO_URI='mongodb://db1.example.com'\n")
    environment.chmod(0o600)
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", "")
    examples = re.findall(r"^mendbook schedule ([^|#\n]*)", text, re.MULTILINE)
    assert len(examples) >= least
    for example in examples:
        here = example.replace("/etc/mendbook/inventory", str(ROOT / "inventory" / "example")).replace("--install", "")
        here = here.replace("/etc/mendbook/environment", str(environment))
        code, _, err = schedule(*([] if "kubernetes" in here else ["--user"]), *shlex.split(here))
        assert code == 0, (example, err)
