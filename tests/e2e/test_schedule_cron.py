"""`mendbook schedule --format cron` under a real cron: it runs, is silent when all is well, and tells of failures."""

from __future__ import annotations

import hashlib
import json

import pytest
import yaml

from local_inventory import LOCAL
from notes import journal_in
from timer_machine import CRON, SRV, machine, needed
from waiting import until

pytestmark = pytest.mark.e2e
# what a shell or cron itself would change if it were not quoted
HOSTILE = ["50% and %d", "$HOME `id` $(id)", "\"double\" 'single'", "two  blanks", "ünï – 本", "; exit 7 #"]
SCHEDULES = {
    "well": ("-e", "note_write_texts=" + json.dumps(HOSTILE, ensure_ascii=False)),
    "held": ("-e", "note_write_fails=locked"),
    "secret": ("-e", "note_write_password=env:NOTE_PASSWORD", "--environment-file", "/srv/environment"),
}
_LOGGER = """#!/bin/sh
# in the place of logger(1), which needs a journal: what it is told, and with which words
{ echo "$@"; cat; } >>"/srv/heard-$3"
"""


@pytest.fixture
def box(tmp_path_factory):
    """A machine on which cron has run three schedules, each once, or twice on a slow machine, and runs no more."""
    needed("cron", "unshare", "nsenter")
    folder = tmp_path_factory.mktemp("srv")
    (folder / "cron.d").mkdir()
    (folder / "empty").touch()
    (folder / "logger").write_text(_LOGGER)
    (folder / "logger").chmod(0o755)
    (folder / "environment").write_text("NOTE_PASSWORD='geheim % $HOME'\n")
    (folder / "environment").chmod(0o600)
    hosts = {name: {"note_path": str(SRV / "state" / f"{name}.txt")} for name in SCHEDULES}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"notes": {"hosts": hosts, "vars": LOCAL}}))
    with machine(folder, CRON) as made:
        for name, words in SCHEDULES.items():
            written = made.mendbook(
                *("schedule", "write_note", "-i", "/srv/hosts.yml", "--limit", name, "--confirm", f"note:{name}.txt"),
                *("--on-calendar", "minutely", "--format", "cron", "--label", name, "--install", *words),
            )
            assert written.returncode == 0, written.stderr
        assert made.run("cron", "-L", "15").returncode == 0
        # it runs what is due at every full minute; when all of it has begun, no more is begun, and what runs ends
        until(lambda: {line["host"] for line in journal(made) if "host" in line} == set(SCHEDULES), seconds=150)
        assert made.run("sh", "-c", "kill $(cat /run/crond.pid)").returncode == 0
        # each run has a cron of its own, which waits for it and for the logger behind it
        until(lambda: made.run("pgrep", "--runstates", "DRS", "-x", "cron").returncode == 1)
        yield made


def journal(box):
    return journal_in(box.folder / "state")


def heard(box, label):
    file = box.folder / f"heard-mendbook-write_note-{label}"
    return file.read_text() if file.exists() else ""


# One test: the wait for cron's next minute is paid once, on whichever worker.
def test_cron_runs_what_is_due_is_silent_when_it_went_well_and_tells_of_what_failed(box):
    hostile_words_arrive_as_they_were_written(box)
    # what went well says nothing
    assert heard(box, "well") == heard(box, "secret") == ""
    a_failure_is_told_with_its_words_and_its_exit_code(box)
    a_secret_of_the_environment_file_reaches_the_run_and_no_crontab(box)


def hostile_words_arrive_as_they_were_written(box):
    assert (box.folder / "state" / "well.txt").read_text() == HOSTILE[-1]
    planned = [line["plan"]["changes"] for line in journal(box) if line.get("host") == "well" and line.get("plan")]
    assert [changes[0]["after"] for changes in planned[: len(HOSTILE)]] == HOSTILE


def a_failure_is_told_with_its_words_and_its_exit_code(box):
    said = heard(box, "held")
    assert said.startswith("-s -t mendbook-write_note-held -p cron.err\n")
    assert "as ordered" in said and "exit code 75\n" in said
    assert not (box.folder / "state" / "held.txt").exists()


def a_secret_of_the_environment_file_reaches_the_run_and_no_crontab(box):
    secret = hashlib.sha256(b"geheim % $HOME").hexdigest()
    assert (box.folder / "state" / "secret.txt").read_text() == "hello" + secret
    ends = [line["state"] for line in journal(box) if line["event"] == "end" and line["host"] == "secret"]
    assert ends[0] == "done"
    assert not [file for file in (box.folder / "cron.d").iterdir() if "geheim" in file.read_text()]
