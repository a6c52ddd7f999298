"""The wheel carries exactly the content of the tree, and works where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from contract import content

CONTENT = ("ansible.cfg", "inventory/", "library/", "module_utils/", "playbooks/", "plugins/", "roles/")


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in ``folder`` without any variable that could lead back to the checkout."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "TMPDIR") if name in os.environ}
    kept = {**kept, **environment}
    return subprocess.run(arguments, cwd=folder, env=kept, capture_output=True, text=True, timeout=280)


@pytest.fixture(scope="module")
def packed(built_wheel) -> list[str]:
    with zipfile.ZipFile(built_wheel) as wheel:
        return sorted(name for name in wheel.namelist() if ".dist-info/" not in name)


def test_the_wheel_holds_exactly_the_content_of_the_tree(packed):
    tree = content.tracked_files()
    wanted = [f"mendbook/_content/{name}" for name in tree if name.startswith(CONTENT)]
    assert [name for name in packed if name.startswith("mendbook/_content/")] == sorted(wanted)


def test_the_wheel_holds_exactly_the_package(packed):
    wanted = [name.removeprefix("src/") for name in content.tracked_files() if name.startswith("src/mendbook/")]
    assert [name for name in packed if not name.startswith("mendbook/_content/")] == sorted(wanted)


def test_the_wheel_names_its_licence_and_its_type_marker(built_wheel):
    with zipfile.ZipFile(built_wheel) as wheel:
        names = wheel.namelist()
    assert [name for name in names if name.endswith("/licenses/LICENSE")] != []
    assert "mendbook/py.typed" in names


def test_the_installed_wheel_finds_its_own_content(installed_wheel, tmp_path):
    done = run(str(installed_wheel / "mendbook"), "path", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    path = Path(done.stdout.strip())
    assert path.name == "_content" and path.is_relative_to(installed_wheel.parent)
    assert (path / "ansible.cfg").is_file()


def test_the_installed_wheel_lists_every_procedure(installed_wheel, tmp_path):
    done = run(str(installed_wheel / "mendbook"), "list", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in content.playbook_names() if name not in done.stdout] == []


@pytest.mark.parametrize("name", content.playbook_names())
def test_a_playbook_of_the_installed_wheel_is_found_by_ansible_itself(installed_wheel, tmp_path, name):
    root = Path(run(str(installed_wheel / "mendbook"), "path", folder=tmp_path).stdout.strip())
    arguments = ["-i", str(root / "inventory" / "example"), str(root / "playbooks" / f"{name}.yml"), "--syntax-check"]
    program = str(installed_wheel / "ansible-playbook")
    done = run(program, *arguments, folder=tmp_path, ANSIBLE_CONFIG=str(root / "ansible.cfg"))
    assert (done.returncode, done.stderr) == (0, "")


def test_without_its_configuration_the_content_is_not_found(installed_wheel, tmp_path):
    """The check above must fail where the wiring is missing, or it would prove nothing."""
    root = Path(run(str(installed_wheel / "mendbook"), "path", folder=tmp_path).stdout.strip())
    arguments = [
        "-i",
        str(root / "inventory" / "example"),
        str(root / "playbooks" / "restore_mongo.yml"),
        "--syntax-check",
    ]
    done = run(str(installed_wheel / "ansible-playbook"), *arguments, folder=tmp_path)
    assert done.returncode != 0
    assert "mongo_restore" in done.stderr
