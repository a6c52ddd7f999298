"""tools/environments.sh on machines that lack something: it says what, and makes nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contract import content

SCRIPT = content.ROOT / "tools" / "environments.sh"
# what every machine has; no python3 and no uv among them
PROGRAMS = ("bash", "cat", "cut", "dirname", "env", "id", "ls", "mkdir", "rm", "sed", "sha256sum", "tr", "uname")


@pytest.fixture
def checkout(tmp_path) -> Path:
    (tmp_path / "tools").mkdir()
    shutil.copy(SCRIPT, tmp_path / "tools")
    shutil.copy(content.ROOT / "pyproject.toml", tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in PROGRAMS:
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    return tmp_path


def environments(checkout: Path, word: str, **more: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": str(checkout / "programs"), "HOME": str(checkout), **more}
    command = [str(checkout / "programs" / "bash"), str(checkout / "tools" / "environments.sh"), word]
    return subprocess.run(command, env=variables, cwd="/", capture_output=True, text=True, timeout=60)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_machine_without_python_is_told_what_it_needs(checkout):
    done = environments(checkout, "dev")
    assert done.returncode == 1
    assert "no Python 3.11 or newer found (name one with MENDBOOK_PYTHON=/path/to/python3)" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_shim_that_is_no_interpreter_is_passed_over(checkout):
    script(checkout / "programs" / "python3", "#!/bin/sh\necho 'command not found: python3'\nexit 127\n")
    assert environments(checkout, "sandbox").returncode == 1
    # an interpreter of a version manager, which is not on PATH
    script(
        checkout / ".pyenv/versions/3.12.0/bin/python3", "#!/bin/sh\ncase $2 in *ensurepip) exit 1;; esac\necho found\n"
    )
    done = environments(checkout, "sandbox")
    assert "making .venv with mendbook[sandbox]" in done.stderr


def test_a_version_manager_that_is_only_on_path_is_found(checkout):
    fake = "#!/bin/sh\ncase $2 in *ensurepip) exit 1;; esac\necho found\n"
    script(checkout / "manager/versions/3.13.0/bin/python3", fake)
    path = f"{checkout}/manager/shims:{checkout}/programs"
    assert "making .venv" in environments(checkout, "sandbox", PATH=path).stderr


def test_a_missing_package_is_named_and_not_installed(checkout):
    script(checkout / "programs" / "apt-get", f"#!/bin/sh\ntouch {checkout}/installed\n")
    script(checkout / "python3", f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    script(checkout / "programs" / "python3", '#!/bin/sh\necho "${0%/programs/*}/python3"\n')
    done = environments(checkout, "dev")
    assert done.returncode == 1
    assert "missing on this machine: python3-venv. Install: " in done.stderr
    assert "apt-get install python3-venv" in done.stderr
    assert not (checkout / "installed").exists()


def test_a_folder_that_is_no_environment_is_left_alone(checkout):
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "thesis.txt").write_text("x")
    done = environments(checkout, "dev", MENDBOOK_PYTHON=sys.executable)
    assert (done.returncode, (checkout / ".venv" / "thesis.txt").exists()) == (1, True)
    assert ".venv is in the way and is not an environment" in done.stderr


@pytest.mark.parametrize("word", ["", "tests", "--help"])
def test_an_unknown_word_gets_the_usage(checkout, word):
    done = environments(checkout, word)
    assert (done.returncode, done.stdout) == (1, "")
    assert "usage: tools/environments.sh sandbox|dev|other-core|collections" in done.stderr
