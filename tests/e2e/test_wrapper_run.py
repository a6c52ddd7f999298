"""`mendbook run` and `mendbook.run` against real playbooks behind the real gate."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import mendbook
from mendbook.events import Ended, Planned, Progressed, Started, TaskEnded
from notes import CONTENT, ROOT, notes_in

pytestmark = pytest.mark.e2e
CONFIRM = ("--confirm", "note:a.txt")


@pytest.fixture
def notes(tmp_path):
    yield from notes_in(tmp_path)


@pytest.fixture
def run(notes, monkeypatch):
    """`mendbook.run` in this process."""
    for name, value in notes.environment.items():
        monkeypatch.setenv(name, value)

    def run(procedure="write_note", inventory=notes.inventory, **options):
        return mendbook.run(procedure, inventory=inventory, **options)

    return run


def test_a_run_plans_acts_reads_back_and_leaves_a_record_and_nothing_else(notes, run):
    heard = []
    outcome = run(confirm="note:a.txt", variables={"note_write_seconds": 1}, on_event=heard.append)
    host = outcome.hosts["a"]
    assert (outcome.word, outcome.exit_code, outcome.changed) == ("done", 0, True)
    assert notes.note().read_text() == "hello" == host.read_back["text"]
    assert host.plan.target.id == "note:a.txt" and host.done[0]["object"] == str(notes.note())
    assert host.figures["write_seconds"] >= 1
    assert outcome.raise_if_failed() is outcome

    kinds = [type(event) for event in heard]
    assert kinds[0] is Started and kinds.index(Planned) < kinds.index(Progressed) and kinds[-1] is TaskEnded
    amounts = [event.done for event in heard if isinstance(event, Progressed)]
    assert len(amounts) > 2 and amounts == sorted(amounts)

    assert [line["event"] for line in notes.journal()] == ["run_begin", "begin", "end", "run_end"]
    assert outcome.journal.is_file() and {line["run"] for line in notes.journal()} == {outcome.run}
    assert notes.left() == []

    again = run(confirm="note:a.txt")
    assert (again.word, again.changed) == ("nothing to do", False)


def test_a_check_shows_the_plan_and_changes_nothing(notes, run):
    outcome = run(check=True)
    assert (outcome.word, outcome.exit_code, outcome.check) == ("planned", 0, True)
    assert outcome.hosts["a"].plan.changes[0].after == "hello"
    assert not notes.note().exists()


@pytest.fixture
def held(tmp_path):
    yield from notes_in(tmp_path, hosts={"a": {"mend_hold": True}})


def test_a_plan_that_a_run_would_refuse_is_a_success_of_check_and_says_so(held):
    ran = held.run("--check", "--json")
    outcome = ran.events()[-1]["outcome"]
    assert (ran.code, outcome["word"]) == (0, "planned")
    assert [refusal["rule"] for refusal in outcome["hosts"]["a"]["plan"]["refusals"]] == ["hold"]
    assert held.run(*CONFIRM).code == 6


def test_without_the_confirmation_it_is_refused_and_nothing_is_changed(notes, run):
    for confirm in (None, "note:b.txt"):
        outcome = run(confirm=confirm)
        assert (outcome.word, outcome.exit_code, outcome.hosts["a"].rule) == ("refused", 6, "confirm")
        with pytest.raises(mendbook.Refused, match="note_write_confirm=note:a.txt"):
            outcome.raise_if_failed()
    assert not notes.note().exists()


CODES = {"refused": 6, "drift": 6, "nothing": 7, "locked": 75, "verify": 5, "partial": 3, "unknown": 70, "plain": 2}


@pytest.fixture
def many(tmp_path):
    hosts = {name: {"note_write_fails": name, "note_write_confirm": f"note:{name}.txt"} for name in [*CODES, "well"]}
    hosts["far"] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    yield from notes_in(tmp_path, hosts=hosts)


def test_every_reason_has_its_code_and_the_worst_target_decides(many, monkeypatch):
    for name, value in many.environment.items():
        monkeypatch.setenv(name, value)
    outcome = mendbook.run("write_note", inventory=many.inventory)
    assert {name: host.exit_code for name, host in outcome.hosts.items()} == CODES | {"well": 0, "far": 4}
    assert outcome.exit_code == 70 and outcome.hosts["well"].word == "done"
    assert outcome.hosts["plain"].word == "failed (nothing changed)"


@pytest.fixture
def careful(tmp_path):
    """Content with a procedure of two plays that ends at the first failure: a, b and c one by one, then d."""
    content = tmp_path / "careful"
    (content / "playbooks").mkdir(parents=True)
    for name in ("library", "roles"):
        (content / name).symlink_to(CONTENT / name)
    (content / "ansible.cfg").write_text((CONTENT / "ansible.cfg").read_text().replace("../../../", f"{ROOT}/"))
    common = {"gather_facts": False, "any_errors_fatal": True, "serial": 1, "roles": ["note_write"]}
    header = {"mend_procedure": {"risk": "destroys", "summary": "Write notes"}}
    plays = [
        {"name": "Write", "hosts": "{{ mend_hosts | default('notes:!d') }}", "vars": header, **common},
        {"name": "Write the last", "hosts": "{{ 'd' }}", **common},
    ]
    (content / "playbooks" / "write_notes.yml").write_text(yaml.safe_dump(plays))
    hosts = {name: {"note_write_confirm": f"note:{name}.txt"} for name in "abcd"}
    hosts["b"]["note_write_fails"] = "plain"
    yield from notes_in(tmp_path, hosts=hosts)


def test_hosts_that_a_failure_kept_from_beginning_are_said(careful):
    wanted = {"procedure": "write_notes", "MENDBOOK_CONTENT": str(careful.folder / "careful")}
    report = careful.folder / "report.xml"
    ran = careful.run("--junit", str(report), **wanted)
    assert ran.code == 2 and "\na: done\n" in ran.stdout, ran.stderr
    assert "\n\nc: not begun\n\nd: not begun\n\njournal " in ran.stdout
    assert report.read_text().count('<skipped message="not begun">') == 2
    assert not careful.note("c").exists()

    outcome = careful.run("--json", "--limit", "b,c", **wanted).events()[-1]["outcome"]
    assert {name: (host["word"], host["exit_code"]) for name, host in outcome["hosts"].items()} == {
        "b": ("failed (nothing changed)", 2),
        "c": ("not begun", 2),
    }


def test_a_failure_that_the_playbook_ignores_is_no_failure(run):
    outcome = run(confirm="note:a.txt", variables={"note_write_fails": "unknown", "note_write_ignores": True})
    assert outcome.exit_code == 0


def test_a_loop_is_judged_by_its_items(notes):
    ran = notes.run("-e", "note_write_texts=one,two", "-e", "note_write_fails=locked", *CONFIRM)
    assert ran.code == 75 and "as ordered" in ran.stdout


@pytest.mark.parametrize(
    ("inventory", "limit", "kind"),
    [
        ("all:\n  hosts: {a: {}}\n", None, mendbook.NothingMatched),
        ("notes:\n  hosts: {a: {}}\n", "zzz", mendbook.NothingMatched),
        ("notes: [broken", None, mendbook.InvalidInventory),
        ("", None, mendbook.NothingMatched),
    ],
)
def test_no_host_and_no_inventory_are_errors(notes, run, inventory, limit, kind):
    notes.inventory.write_text(inventory)
    with pytest.raises(kind):
        run(limit=limit)


def test_an_error_of_ansible_itself_is_failed_with_its_words(run, tmp_path, monkeypatch):
    content = tmp_path / "content"
    (content / "playbooks").mkdir(parents=True)
    (content / "ansible.cfg").write_text("")
    (content / "playbooks" / "mend_it.yml").write_text(
        "- name: Mend\n  hosts: all\n  vars: {mend_procedure: {risk: reads}}\n  roles: [not_there]\n"
    )
    monkeypatch.setenv("MENDBOOK_CONTENT", str(content))
    with pytest.raises(mendbook.Failed, match="(?s)ended early.*not_there.*was not found"):
        run("mend_it")


def test_text_that_looks_like_a_template_stays_text(notes, run):
    trap = "{{ lookup('pipe', 'touch %s') }}" % (notes.folder / "executed")
    outcome = run(confirm="note:a.txt", variables={"note_write_texts": [trap]})
    assert outcome.word == "done" and notes.note().read_text() == trap
    assert not (notes.folder / "executed").exists()


def test_a_relative_inventory_and_relative_paths_are_those_of_the_caller(notes):
    ran = notes.run("-e", "note_write_path=notes/here.txt", "--confirm", "note:here.txt", "-i", "inventory.yml")
    assert ran.code == 0, ran.stderr
    assert (notes.folder / "notes" / "here.txt").read_text() == "hello"


def test_a_person_reads_what_happened(notes):
    ran = notes.run(*CONFIRM, "-e", "note_write_seconds=1")
    assert ran.code == 0
    for part in (
        "write_note: done in",
        "target     note:a.txt",
        "read back  text: hello",
        "undo       mendbook run undo_",
    ):
        assert part in ran.stdout
    assert "acting on note:a.txt" in ran.stderr and "write 0 of 1 seconds" in ran.stderr
    assert str(notes.state / "journal") in ran.stdout


def test_json_is_one_object_each_line_and_the_outcome_last(notes):
    ran = notes.run(*CONFIRM, "--json", "--exit-code")
    events = ran.events()
    assert ran.code == 10 and ran.stderr == ""
    assert events[0]["event"] == "started" and events[-1]["event"] == "outcome"
    assert events[-1]["outcome"]["hosts"]["a"]["plan"]["target"]["id"] == "note:a.txt"
    assert notes.run(*CONFIRM, "--json", "--exit-code").code == 0


def test_json_ends_with_an_outcome_line_also_when_nothing_was_started(notes):
    ran = notes.run("--json", "-e", "note_write_second=1")
    (event,) = ran.events()
    assert ran.code == 64 == event["exit_code"] and "did you mean" in event["error"]
    assert event["event"] == "outcome" and Ended.__struct_config__.tag == "outcome"


def test_a_handler_that_fails_does_not_stop_the_run_and_is_heard_afterwards(notes, run):
    def fail(event):
        if isinstance(event, TaskEnded):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(confirm="note:a.txt", on_event=fail)
    assert notes.note().read_text() == "hello"


def test_a_reading_procedure_gives_facts(run):
    outcome = run("look_around")
    assert outcome.hosts["a"].facts["path"] == "/etc/hostname" and outcome.word == "done"


def test_a_long_tmpdir_does_not_hinder_the_socket(notes, run, monkeypatch):
    deep = notes.folder / ("x" * 100)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("NOTE_PASSWORD", "geheim-1234")
    assert run(confirm="note:a.txt", variables={"note_write_password": "env:NOTE_PASSWORD"}).word == "done"
    assert Path(notes.note()).read_text() != "hello"
