"""The linter looks inside our own modules: what it cannot import it would pass in silence."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from contract import content

MODULE = """#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook.errors import MendError

DOCUMENTATION = '''
module: mend_a_b
short_description: x
description: x
author: x (@x)
options:
  database: {type: str, required: true, description: x}
'''


def main():
    AnsibleModule(argument_spec={"database": {"required": True}})
"""
PLAYBOOK = """---
- name: Restore
  hosts: mongo
  gather_facts: false
  tasks:
    - name: Restore the database
      mend_a_b:
        database: estore
    - name: Make a folder
      ansible.builtin.file:
        path: /srv/x
        state: directory
        mode: "0755"
"""


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ("", "", ""),
        ("database: estore", "databse: estore", "missing required arguments: database"),
        ("state: directory", "stat: directory", "Unsupported parameters for (basic.py) module: stat"),
    ],
)
def test_a_mistake_beside_our_own_modules_is_found(tmp_path, good, bad, words):
    for name in (".ansible-lint", ".yamllint", "ansible.cfg"):
        shutil.copy(content.ROOT / name, tmp_path / name)
    for folder in ("library", "playbooks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "library" / "mend_a_b.py").write_text(MODULE)
    (tmp_path / "playbooks" / "restore_x.yml").write_text(PLAYBOOK.replace(good, bad))
    linter = [sys.executable, str(content.ROOT / "tools" / "lint_ansible.py"), "--nocolor"]
    environment = content.environment(tmp_path)
    done = subprocess.run(linter, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    assert (done.returncode == 0) is (good == bad), done.stdout + done.stderr
    assert words in done.stdout
