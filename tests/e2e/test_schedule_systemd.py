"""`mendbook schedule` under a real systemd: it reads the units, runs them as they say, and forgets them."""

from __future__ import annotations

import hashlib
import json

import pytest
import yaml

from local_inventory import LOCAL
from notes import ROOT, journal_in
from timer_machine import PROGRAMS, SRV, SYSTEMD, machine, needed
from waiting import until

pytestmark = pytest.mark.e2e
HOSTILE = [
    "two words",
    "50% of %h and %%",
    "$HOME ${HOME} $$",
    "\"double\" 'single'",
    "back\\slash \\n",
    "line\nend\ttab",
    "ünï – 本",
    ";",
    "#x",
    "",
]
SERVICE = "mendbook-write_note.service"
# not while a test runs
RARELY = "*-02-29 00:00:00"


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """One machine with a running systemd for the tests of this file."""
    needed("systemd", "systemctl", "unshare", "nsenter")
    folder = tmp_path_factory.mktemp("srv")
    hosts = {"notes": {"hosts": {"a": {"note_path": str(SRV / "state" / "a.txt")}}, "vars": LOCAL}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts))
    (folder / "password").write_text("geheim\n")
    (folder / "password").chmod(0o600)
    with machine(folder, SYSTEMD) as made:
        yield made


@pytest.fixture
def note(box):
    """The note of host a, and nothing installed."""
    path = box.folder / "state" / "a.txt"
    path.unlink(missing_ok=True)
    units = box.folder / "home" / ".config" / "systemd" / "user"
    units.mkdir(parents=True, exist_ok=True)
    yield path
    box.systemctl("stop", "mendbook-*")
    for unit in units.glob("*.*"):
        if unit.is_file():
            unit.unlink()
    box.systemctl("daemon-reload")


def schedule(box, *words, procedure="write_note", **environment):
    confirmed = ["--confirm", "note:a.txt"] if procedure == "write_note" else []
    words = ["-i", str(SRV / "hosts.yml"), *confirmed, "--on-calendar", RARELY, "--install", *words]
    return box.mendbook("schedule", procedure, *words, **environment)


def journal(box):
    return journal_in(box.folder / "state")


def as_machine_unit(box):
    """The units of the machine, put where the manager of this test looks."""
    if str(PROGRAMS).startswith(("/tmp/", "/var/tmp/")):
        pytest.skip(f"{PROGRAMS}: a unit has a /tmp of its own, and does not find a mendbook there")
    return ["--directory", str(SRV / "home/.config/systemd/user")]


def test_a_user_has_a_timer_that_counts_until_it_is_taken_away(box, note):
    first = schedule(box, "--user", procedure="look_around")
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("wrote ") == 2 and "systemd does not run" not in first.stderr
    timers = json.loads(box.systemctl("list-timers", "--output=json").stdout)
    assert [(each["unit"], each["activates"]) for each in timers] == [
        ("mendbook-look_around.timer", "mendbook-look_around.service")
    ]
    assert timers[0]["next"] is not None
    assert box.systemctl("is-enabled", "mendbook-look_around.timer").stdout.strip() == "enabled"

    again = schedule(box, "--user", procedure="look_around")
    assert again.returncode == 0 and again.stdout.startswith("nothing to do")

    removed = box.mendbook("schedule", "look_around", "--user", "--remove")
    assert removed.returncode == 0 and removed.stdout.count("removed ") == 2
    assert json.loads(box.systemctl("list-timers", "--output=json").stdout or "[]") == []
    assert box.systemctl("is-enabled", "mendbook-look_around.timer").returncode != 0
    assert box.mendbook("schedule", "look_around", "--user", "--remove").returncode == 7


def test_the_hardened_unit_works_and_hostile_words_arrive_as_they_were_written(box, note):
    texts = "note_write_texts=" + json.dumps(HOSTILE[:7])
    done = schedule(box, "-e", texts, "-e", "note_write_password=file:/srv/password", *as_machine_unit(box))
    assert done.returncode == 0, done.stderr
    unit = (box.folder / "home/.config/systemd/user" / SERVICE).read_text()
    assert "LoadCredential=note_write_password:/srv/password" in unit and "geheim" not in unit
    box.systemctl("daemon-reload")
    started = box.systemctl("start", SERVICE)
    assert started.returncode == 0, box.systemctl("status", SERVICE).stdout
    planned = [change["after"] for line in journal(box) for change in (line.get("plan") or {}).get("changes", ())]
    # the note's module puts the sum of the password behind each text
    secret = hashlib.sha256(b"geheim").hexdigest()
    assert planned == [text + secret for text in HOSTILE[:7]]


def test_a_backup_is_made_by_its_hardened_unit(box, note, inventory, sandbox_secrets, database, s3_client, sandbox):
    database["orders"].insert_many([{"_id": number} for number in range(100)])
    (box.folder / "mongo.yml").write_text(inventory.read_text())
    (box.folder / "environment").write_text("".join(f"{name}='{value}'\n" for name, value in sandbox_secrets.items()))
    (box.folder / "environment").chmod(0o600)
    store = sandbox.status()["s3"]
    given = {"database": database.name, "bucket": store["bucket"], "prefix": f"{database.name}/"}
    given |= {"s3_endpoint_url": store["endpoint_url"], "s3_region": store["region"], "s3_path_style": "true"}
    given |= {"s3_access_key": "env:SANDBOX_S3_ACCESS_KEY", "s3_secret_key": "env:SANDBOX_S3_SECRET_KEY"}
    words = [word for name, value in given.items() for word in ("-e", f"mongo_backup_{name}={value}")]
    words += ["-i", "/srv/mongo.yml", "--environment-file", "/srv/environment", "--install", *as_machine_unit(box)]
    made = box.mendbook("schedule", "backup_mongo", *words, MENDBOOK_CONTENT=str(ROOT))
    assert made.returncode == 0, made.stderr
    box.systemctl("daemon-reload")
    started = box.systemctl("start", "mendbook-backup_mongo.service")
    assert started.returncode == 0, box.systemctl("status", "mendbook-backup_mongo.service").stdout
    keys = [
        each["Key"] for each in s3_client.list_objects_v2(Bucket=store["bucket"], Prefix=given["prefix"])["Contents"]
    ]
    (manifest,) = [key for key in keys if key.endswith(".manifest.json")]
    assert manifest.removesuffix(".manifest.json") in keys
    body = json.loads(s3_client.get_object(Bucket=store["bucket"], Key=manifest)["Body"].read())
    assert body["collections"][f"{database.name}.orders"]["count"] == 100


def test_systemd_hands_over_each_word_as_it_was(box, tmp_path):
    """systemd's own reading of the quoting, without anything of mendbook between."""
    from mendbook.schedule.systemd import quoted

    got = box.folder / "got.json"
    program = box.folder / "a program"
    program.write_text("#!/usr/bin/python3\nimport json, sys\njson.dump(sys.argv[1:], open('/srv/got.json', 'w'))\n")
    program.chmod(0o755)
    unit = box.folder / "home/.config/systemd/user/words.service"
    unit.parent.mkdir(parents=True, exist_ok=True)
    words = [quoted(str(SRV / "a program"), dollars=False), *map(quoted, HOSTILE)]
    unit.write_text(f"[Service]\nType=oneshot\nExecStart={' '.join(words)}\n")
    box.systemctl("daemon-reload")
    assert box.systemctl("start", "words.service").returncode == 0
    assert json.loads(got.read_text()) == HOSTILE


def test_a_target_that_is_held_fails_the_unit_and_starts_what_was_asked_for(box, note):
    hook = box.folder / "home/.config/systemd/user/hook@.service"
    hook.write_text("[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo %i > /srv/heard'\n")
    words = ["-e", "note_write_fails=locked", "--on-failure", "hook@%n.service", "--user"]
    assert schedule(box, *words).returncode == 0
    assert box.systemctl("start", SERVICE).returncode == 1
    assert box.systemctl("show", "-p", "ExecMainStatus", SERVICE).stdout.strip() == "ExecMainStatus=75"
    assert until(lambda: (box.folder / "heard").exists() and (box.folder / "heard").read_text()).strip() == SERVICE
    assert not note.exists()


def test_a_unit_that_is_stopped_ends_its_run_in_order(box, note):
    assert schedule(box, "-e", "note_write_seconds=60", "--user").returncode == 0
    box.systemctl("start", "--no-block", SERVICE)
    # what is stopped before the module is at work ends as unknown
    progress = "mendbook-*/progress/a-1.jsonl"
    until(lambda: [path for path in (box.folder / "tmp").glob(progress) if b'"write"' in path.read_bytes()])
    box.systemctl("stop", SERVICE)
    assert box.systemctl("show", "-p", "ExecMainStatus", SERVICE).stdout.strip() == "ExecMainStatus=130"
    ends = [line for line in journal(box) if line["event"] == "end" and "cancelled" in line.get("msg", "")]
    assert [line["state"] for line in ends] == ["failed (nothing changed)"]
    assert not note.exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-i", "/srv/nowhere"], 64, "/srv/nowhere does not exist"),
        (["-e", "note_write_password=geheim"], 64, "is a secret"),
        (["-e", "note_write_password=env:NOTE_PASSWORD"], 64, "--environment-file"),
        (["-e", "note_write_path=/tmp/note"], 64, "a unit has a /tmp of its own"),
    ],
)
def test_what_could_not_work_at_night_is_refused_now(box, note, words, code, said):
    refused = schedule(box, *words, *as_machine_unit(box))
    assert (refused.returncode, refused.stdout) == (code, "")
    assert said in refused.stderr
    assert not list((box.folder / "home/.config/systemd/user").glob("mendbook-*"))


def test_a_failing_systemctl_is_heard(box, note, tmp_path):
    broken = box.folder / "programs"
    broken.mkdir()
    (broken / "systemctl").write_text("#!/bin/sh\necho no bus >&2\nexit 1\n")
    (broken / "systemctl").chmod(0o755)
    heard = schedule(box, "--user", procedure="look_around", PATH="/srv/programs:/usr/bin:/bin")
    assert heard.returncode == 2 and "systemctl --user daemon-reload failed: no bus" in heard.stderr


def test_every_unit_is_right_to_systemd_analyze(box, note):
    assert schedule(box, *as_machine_unit(box), "--label", "nightly").returncode == 0
    units = [f"/srv/home/.config/systemd/user/mendbook-write_note-nightly.{kind}" for kind in ("service", "timer")]
    verified = box.run("systemd-analyze", "verify", *units)
    assert (verified.returncode, verified.stderr) == (0, "")
    broken = box.folder / "home/.config/systemd/user/mendbook-write_note-nightly.timer"
    broken.write_text(broken.read_text().replace(f"OnCalendar={RARELY}", "OnCalendar=25:00"))
    assert "25:00" in box.run("systemd-analyze", "verify", units[1]).stderr
