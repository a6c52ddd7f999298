"""`mendbook drill restore_mongo`: real servers of its own, and a failure whenever what comes back is not the backup."""

from __future__ import annotations

import json
import shutil

import pytest

from mendbook import cli, drill

pytestmark = pytest.mark.e2e


@pytest.fixture
def samples(tmp_path, monkeypatch):
    """A copy of the samples that a test may spoil."""
    folder = tmp_path / "samples"
    shutil.copytree(drill.SAMPLES, folder)
    monkeypatch.setattr(drill, "SAMPLES", folder)
    return folder


@pytest.fixture
def drilled(tmp_path, monkeypatch, capsys):
    """Run the drill as a command: its exit code and its JSON lines."""
    for name, folder in {"TMPDIR": "tmp", "MENDBOOK_STATE": "state"}.items():
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.delenv("MENDBOOK_CONTENT", raising=False)

    def run(*arguments):
        code = cli.command_line(["drill", "restore_mongo", *arguments])
        return code, capsys.readouterr()

    return run


def test_a_drill_restores_verifies_and_compares(drilled):
    code, said = drilled("--json")
    assert code == 0, said
    *phases, result = [json.loads(line) for line in said.out.splitlines()]
    names = ["sandbox", "backup", "live data", "plan", "restore", "verify", "compare"]
    assert [phase["phase"] for phase in phases] == names and all(phase["found"] for phase in phases)
    assert result["result"] == "passed" and result["seconds"] >= sum(phase["seconds"] for phase in phases)


@pytest.mark.parametrize(
    ("spoil", "phase", "code"),
    [
        # the manifest's checksum speaks before anything is swapped
        (lambda folder: _cut(folder / "estore.archive.gz"), "restore", {2, 5, 6}),
        # only the last phase, by plain pymongo, can see this
        (lambda folder: _swap_a_hash(folder / "estore.hashes.json"), "compare", {5}),
    ],
)
def test_a_drill_fails_in_the_phase_that_finds_the_fault(drilled, samples, spoil, phase, code):
    spoil(samples)
    ended, said = drilled()
    assert ended in code
    assert f"FAILED in the phase '{phase}'" in said.out and "mendbook: " in said.err
    assert "passed" not in said.out


def test_a_drill_that_does_not_exist_is_a_usage_error(capsys):
    assert cli.command_line(["drill", "restore_mongos"]) == 64
    assert "did you mean restore_mongo?" in capsys.readouterr().err


def _cut(path):
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def _swap_a_hash(path):
    hashes = json.loads(path.read_text())
    path.write_text(json.dumps(hashes | {"orders": hashes["users"]}))
