"""Inventories of endpoints: hosts that are reached over the network from here, with our own drivers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}


def local_inventory(path: Path, host: str, *groups: str, **variables: Any) -> Path:
    """Write an inventory whose one host is in each of `groups`, and return its path."""
    children = {group: {"hosts": {host: None}} for group in groups}
    path.write_text(yaml.safe_dump({"all": {"children": children, "vars": LOCAL | variables}}))
    return path
