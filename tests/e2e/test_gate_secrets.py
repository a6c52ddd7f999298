"""Secrets: canaries of every kind go through success, refusal, failure and death, and are looked for everywhere."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from contextlib import contextmanager

import pytest
from ansible.constants import DEFAULT_VAULT_ID_MATCH
from ansible.parsing.vault import VaultLib, VaultSecret
from gate_lab import Gate, command_lines, trial

from waiting import until

pytestmark = pytest.mark.e2e
CANARIES = {
    "env": "canary-env-5e1f",
    "file": "canary-file-77a0",
    "uri": "canary-uri-p%40ss-c3d4",
    "uri decoded": "canary-uri-p@ss-c3d4",
    "vault": "canary-vault-90b2",
}
URI = f"mongodb://user:{CANARIES['uri']}@db.example/estore"


@pytest.fixture
def gate(core_bins, tmp_path, short_folder):
    return Gate(core_bins, tmp_path, short_folder)


@contextmanager
def watched_processes(*words):
    """Look at the command line of every process about every 10 ms; yields the list of those that hold a word."""
    found, over = [], threading.Event()
    wanted = [word.encode() for word in words]

    def watch():
        while not over.wait(0.01):
            for _, line in command_lines():
                found.extend(line for word in wanted if word in line)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


@contextmanager
def wrapper_socket(path, secrets):
    """Answer like the wrapper does, one connection for each name; yields the names that were asked for."""
    asked = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    name = json.loads(connection.makefile("rb").readline())["name"]
                    asked.append(name)
                    answer = {"value": secrets[name]} if name in secrets else {"missing": True}
                    connection.sendall(json.dumps(answer).encode() + b"\n")

        threading.Thread(target=serve, daemon=True).start()
        yield asked
        server.shutdown(socket.SHUT_RDWR)


def found_below(folder, *but):
    """(file, kind of canary) of every canary in a file below the folder, apart from the files that are its source."""
    files = [path for path in folder.rglob("*") if path.is_file() and path not in but]
    return [
        (path.name, kind) for path in files for kind, canary in CANARIES.items() if canary.encode() in path.read_bytes()
    ]


def test_no_canary_is_left_anywhere_however_it_ends(gate):
    secret_file, vault_file = gate.folder / "secret.txt", gate.folder / "vault.json"
    secret_file.write_text(CANARIES["file"] + "\n")
    password = gate.folder / "vault-password"
    password.write_text("vault-password")
    vault = VaultLib([(DEFAULT_VAULT_ID_MATCH, VaultSecret(b"vault-password"))])
    vault_file.write_bytes(vault.encrypt(json.dumps({"from_vault": CANARIES["vault"]})))
    endings = {
        "success": None,
        "failure": "error",
        "bug": "bug",
        "term": "term",
        "kill": "kill",
        "refused": None,
        "crash": "crash",
    }
    tasks = []
    for how, fail in endings.items():
        (gate.of() / how).mkdir()
        options = {"fail": fail, "refuse": how == "refused", "leak": True, "task_ignore_errors": True}
        secrets = {"uri": "env:TRIAL_URI", "account": {"user": "u", "token": f"file:{secret_file}"}}
        tasks.append(trial(how, gate.of() / how, **secrets, secret="env:TRIAL_PASSWORD", **options))
    (gate.of() / "vaulted").mkdir()
    tasks.append(trial("vaulted", gate.of() / "vaulted", leak=True, password="{{ from_vault }}"))
    with wrapper_socket(gate.folder / "s", {"TRIAL_PASSWORD": CANARIES["env"], "TRIAL_URI": URI}) as asked:
        arguments = ["-vvvv", "--diff", "-e", f"@{vault_file}", "--vault-password-file", str(password)]
        with watched_processes(*CANARIES.values()) as in_processes:
            seen = gate.play(tasks, *arguments, env={"MENDBOOK_SECRETS": str(gate.folder / "s")})
    assert seen.rc == 0, seen.output
    assert set(asked) == {"TRIAL_PASSWORD", "TRIAL_URI"}
    states = [seen.results[name].get("state") for name in (*endings, "vaulted")]
    assert states == ["done", "partial", "partial", "partial", "UNKNOWN", "refused", None, "done"]
    # the module did get them, and said them: that is what was hidden
    assert "leaked ******** ********" in seen.results["success"]["plan"]["notes"][1]
    assert all("core dumped: ********" in str(seen.results[name]) for name in ("kill", "crash"))
    assert seen.output.count("leaked ********") > 10 and "a word of warning" in seen.output

    assert not [kind for kind, canary in CANARIES.items() if canary in seen.output]
    assert found_below(gate.folder, secret_file) == []
    assert in_processes == []


def test_a_secret_that_is_left_out_is_no_option_at_all(gate):
    tasks = [
        trial("left out", gate.of(), names=["1"], password="env?:TRIAL_NOT_SET"),
        trial("given", gate.of(), names=["2"], password="env?:TRIAL_SET"),
        # what is not a secret is not looked up
        trial("{{ 1 }}", gate.of(), names=["env:TRIAL_SET"]),
    ]
    seen = gate.play(tasks, env={"TRIAL_SET": "canary-set"}, module_defaults={"mend_trial": {"leak": True}})
    assert seen.rc == 0, seen.output
    assert gate.files() == ["1", "2", "env:TRIAL_SET"]
    notes = [result["plan"]["notes"][1] for result in seen.results.values()]
    assert notes == ["leaked ", "leaked ********", "leaked "]


def test_a_target_whose_name_holds_the_password_can_still_be_confirmed(gate):
    target = "standalone@db:27017/estore-password"
    options = {"risk": "destroys", "target": target, "password": "estore-password"}
    seen = gate.play([trial("act", gate.of(), confirm=target, **options)])
    assert seen.rc == 0 and seen.results["act"]["plan"]["target"]["id"] == "standalone@db:27017/********", seen.output
    other = gate.play([trial("act", gate.of(), names=["x"], confirm="standalone@db:27018/estore-password", **options)])
    assert other.rc == 2 and other.results["act"]["mend"]["rule"] == "confirm"


def test_a_canary_would_be_found(tmp_path):
    (tmp_path / "left").write_text(f"x{CANARIES['env']}x")
    assert found_below(tmp_path) == [("left", "env")]
    # one that the test above does not look for: another worker may be at it just now
    with watched_processes("canary-seen-2a6c") as found:
        process = subprocess.Popen(["sh", "-c", "read line", "canary-seen-2a6c"], stdin=subprocess.PIPE)
        until(lambda: found)
        process.communicate()
    assert set(found) == {b"sh\0-c\0read line\0canary-seen-2a6c\0"}
