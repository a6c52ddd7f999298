"""A canary that is given as a secret is found in no file, event, output, command line or environment of a run."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from mendbook import processes
from notes import Notes, Ran, notes_in
from waiting import until

pytestmark = pytest.mark.e2e
SAMPLE_SECONDS = 0.01
LARGEST_FILE = 4 << 20


class Hunt:
    """Looks for the canary every 10 ms in all processes but ``spared``, and all the time in the files of a test."""

    def __init__(self, canary: str, notes: Notes, spared: set[int]) -> None:
        self.hits: set[str] = set()
        self.samples = 0
        self.files = 0
        self._canary = canary.encode()
        self._folders = (notes.folder, notes.tmp)
        self._spared = spared | {os.getpid()}
        self._older = {entry.name for entry in os.scandir("/proc") if entry.name.isdigit()}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._often, args=(look,)) for look in (self._processes, self._files)]

    def __enter__(self) -> Hunt:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._files()

    def _often(self, look) -> None:
        try:
            while not self._over.wait(SAMPLE_SECONDS):
                look()
        except Exception as error:
            self.hits.add(f"the hunt itself failed: {error!r}")
            raise

    def _processes(self) -> None:
        self.samples += 1
        for entry in os.scandir("/proc"):
            # processes that were there before the run are looked at less often
            if not entry.name.isdigit() or (entry.name in self._older and self.samples % 20):
                continue
            if int(entry.name) not in self._spared:
                for part in ("cmdline", "environ"):
                    if not self._is_copy_of_a_spared(entry.path):
                        self._search(Path(entry.path) / part)

    def _is_copy_of_a_spared(self, process: str) -> bool:
        """A fork of mendbook has its environment until it becomes ansible-playbook, some milliseconds later."""
        try:
            parent = int(Path(process, "stat").read_text().rpartition(")")[2].split()[1])
            return parent in self._spared and (
                Path(process, "cmdline").read_bytes() == Path(f"/proc/{parent}/cmdline").read_bytes()
            )
        except OSError:
            return True

    def _files(self) -> None:
        # not Path.rglob: it stumbles over folders that go while it looks
        for folder in self._folders:
            for parent, folders, files in os.walk(folder):
                for name in [*folders, *files]:
                    self._match(f"name of {parent}/{name}", os.fsencode(name))
                for name in files:
                    self.files += 1
                    self._search(Path(parent, name))

    def _search(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._match(str(path), file.read(LARGEST_FILE))
        except OSError:
            pass

    def _match(self, where: str, text: bytes) -> None:
        if self._canary in text:
            self.hits.add(f"{where} of {_command(where)}" if where.startswith("/proc/") else where)


def _command(where: str) -> str:
    try:
        return Path(where).with_name("cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "a process that is gone"


def in_shared_folders(canary: str, since: float, own: Path) -> list[str]:
    """Files of /tmp and /dev/shm, written since the test began, that hold the canary."""
    command = ["find", "/tmp", "/dev/shm", "-xdev", "-type", "f", "-newermt", f"@{since}", "-size", "-8M"]
    # names that others give need not be text
    command += ["-not", "-path", f"{own}/*", "-print0"]
    found = map(os.fsdecode, subprocess.run(command, capture_output=True).stdout.split(b"\0")[:-1])
    return [path for path in found if canary.encode() in _content(Path(path))]


def _content(path: Path) -> bytes:
    """Nothing when others have removed it meanwhile."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture
def notes(tmp_path):
    yield from notes_in(tmp_path)


@pytest.fixture
def canary():
    return f"canary-{secrets.token_hex(8)}"


@pytest.fixture
def given(canary, notes):
    """The canary on every lawful way into a run at once: a variable of the environment, also inside a URI."""
    return {
        "NOTE_PASSWORD": f"mongodb://root:{canary}@db:27017/?x={canary}",
        "UNUSED": canary,
        "AWS_SECRET_ACCESS_KEY": canary,
    }


def arguments(*more: str) -> list[str]:
    return ["--confirm", "note:a.txt", "-e", "note_write_password=env:NOTE_PASSWORD", "--json", "--diff", *more]


def hunted(notes: Notes, canary: str, process: subprocess.Popen[str], meanwhile=lambda: None) -> Ran:
    """Let the run come to its end under observation, and let the test fail on any hit."""
    began = time.time()
    with Hunt(canary, notes, {process.pid}) as hunt:
        meanwhile()
        ran = Ran.of(process)
    assert hunt.hits == set() and hunt.samples > 10 and hunt.files > 10
    assert canary not in ran.stdout + ran.stderr
    assert in_shared_folders(canary, began, notes.folder) == []
    return ran


def test_success_leaves_no_trace_of_the_secret(notes, canary, given):
    ran = hunted(notes, canary, notes.start(*arguments("-e", "note_write_seconds=1.5"), **given))
    # the module did get it: the note ends with its hash
    assert ran.code == 0 and len(notes.note().read_text()) == len("hello") + 64


def test_failure_leaves_no_trace_of_the_secret_although_the_module_says_it(notes, canary, given):
    ran = hunted(notes, canary, notes.start(*arguments("-e", "note_write_fails=plain"), **given))
    assert ran.code == 2 and "as ordered, with ***" in ran.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_leaves_no_trace_of_the_secret(notes, canary, given, number):
    process = notes.start(*arguments("-e", "note_write_seconds=60"), **given)

    def kill():
        until(lambda: [path for path in notes.tmp.glob("*/progress/a-1.jsonl") if b'"write"' in path.read_bytes()])
        run = notes.run_id()
        process.send_signal(number)
        until(lambda: not processes.of_run(run))

    ran = hunted(notes, canary, process, kill)
    assert [line["state"] for line in notes.journal() if line["event"] == "end"] == ["failed (nothing changed)"]
    assert ran.code == (130 if number == signal.SIGTERM else -signal.SIGKILL)


def test_a_secret_in_a_file_leaves_no_other_trace(notes, canary, tmp_path_factory):
    key = tmp_path_factory.mktemp("key") / "password"
    key.write_text(canary)
    words = ["--confirm", "note:a.txt", "-e", f"note_write_password=file:{key}", "-e", "note_write_fails=plain"]
    began = time.time()
    with Hunt(canary, notes, set()) as hunt:
        ran = notes.run(*words)
    assert hunt.hits == set() and canary not in ran.stdout + ran.stderr and ran.code == 2
    assert in_shared_folders(canary, began, key.parent) == []


def test_a_plain_secret_of_a_variables_file_is_not_copied_anywhere(notes, canary, tmp_path_factory):
    values = tmp_path_factory.mktemp("values") / "values.yml"
    values.write_text(f"note_write_password: {canary}\n")
    process = notes.start("--confirm", "note:a.txt", "-e", f"@{values}", "--json")
    with Hunt(canary, notes, set()) as hunt:
        ran = Ran.of(process)
    assert hunt.hits == set() and canary not in ran.stdout + ran.stderr
    assert ran.code == 0 and len(notes.note().read_text()) == len("hello") + 64


def test_a_plain_secret_on_the_command_line_is_refused_without_being_repeated(notes, canary):
    ran = notes.run("-e", f"note_write_password={canary}")
    assert ran.code == 64 and canary not in ran.stdout + ran.stderr


def test_a_secret_that_is_not_set_is_refused_before_anything_is_done(notes):
    ran = notes.run("--confirm", "note:a.txt", "-e", "note_write_password=env:NOT_SET")
    assert ran.code == 2 and "NOT_SET is not set" in ran.stdout and not notes.note().exists()


def test_the_hunt_finds_what_is_there(notes, canary):
    """The hunter itself: a secret in a file, in an argument and in an environment is a hit."""
    leak = subprocess.Popen(["sleep", "5", f"--{canary}"], stderr=subprocess.DEVNULL)
    leak.wait()
    # each waits for its input, which never comes
    leaks = [
        subprocess.Popen(["sh", "-c", "read word", canary], stdin=subprocess.PIPE),
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, env={"X": canary, "PATH": os.environ["PATH"]}),
    ]
    try:
        with Hunt(canary, notes, set()) as hunt:
            (notes.folder / "notes" / "leak").write_text(canary)
            # a look at the hits while one is added would fail
            until(
                lambda: {Path(hit.split(" of ")[0]).name for hit in tuple(hunt.hits)} >= {"leak", "cmdline", "environ"}
            )
    finally:
        for each in leaks:
            each.kill()
            each.communicate()
