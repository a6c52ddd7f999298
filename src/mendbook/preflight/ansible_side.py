# SPDX-License-Identifier: MIT
"""A program of its own: how Ansible would reach each host of an inventory, and what hosts behind its plugins say.

A request (a line of JSON) comes in on stdin; one line for each host goes out. After that each line that comes in is a
command for a host that only Ansible's own plugin can reach (a container), and its answer goes out. The lines may hold
passwords: they go through pipes and nowhere else.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible import constants as C  # type: ignore[import-untyped]
from ansible.cli import CLI  # type: ignore[import-untyped]
from ansible.config.manager import ensure_type  # type: ignore[import-untyped]
from ansible.errors import AnsibleError  # type: ignore[import-untyped]
from ansible.inventory.manager import InventoryManager  # type: ignore[import-untyped]
from ansible.parsing.dataloader import DataLoader  # type: ignore[import-untyped]
from ansible.playbook.play_context import PlayContext  # type: ignore[import-untyped]
from ansible.plugins.loader import (  # type: ignore[import-untyped]
    become_loader,
    connection_loader,
    init_plugin_loader,
)
from ansible.template import Templar  # type: ignore[import-untyped]
from ansible.vars.manager import VariableManager  # type: ignore[import-untyped]

UNREADABLE, NOTHING = 64, 7
_ENDPOINT = re.compile(r"(mongo|postgres|redis|s3)_(\w+_)?(uri|endpoint_url)|\w+_s3_endpoint_url")
_WORKERS = 16


class Inventory:
    """The inventory with Ansible's own rules for groups, precedence, vault and templates."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        init_plugin_loader()
        loader = DataLoader()
        identities = list(C.DEFAULT_VAULT_IDENTITY_LIST or [])
        if C.DEFAULT_VAULT_PASSWORD_FILE:
            identities.insert(0, f"{C.DEFAULT_VAULT_IDENTITY}@{C.DEFAULT_VAULT_PASSWORD_FILE}")
        CLI.setup_vault_secrets(loader, vault_ids=identities, auto_prompt=False)
        self._loader = loader
        self._inventory = InventoryManager(loader=loader, sources=request["inventory"])
        self._inventory.subset(request["limit"])
        self._variables = VariableManager(loader=loader, inventory=self._inventory)
        if request["variables"]:
            self._variables._extra_vars = loader.load_from_file(request["variables"])
        self._become = request["become"]
        plain = Templar(loader=loader, variables={})
        self._patterns = [plain.template(_trusted(pattern)) for pattern in request["hosts"]] or ["all"]

    def hosts(self) -> list[Any]:
        """The chosen hosts in the order of the inventory, each once."""
        return list(dict.fromkeys(host for each in self._patterns for host in self._inventory.get_hosts(each)))

    def tasks(self, playbook: str, asked: list[str]) -> Any:
        """What the tasks of this playbook would take from here for each host."""
        from mendbook.preflight.ansible_tasks import Tasks

        return Tasks(playbook, asked, self._inventory, self._variables, self._loader)

    def target(self, host: Any) -> tuple[dict[str, Any], Any]:
        """What is told of a host, and the connection that Ansible would use when only a plugin can be asked."""
        known: dict[str, Any] = {"host": host.name, "groups": sorted(group.name for group in host.get_groups())}
        try:
            values = self._variables.get_vars(host=host)
            templar = Templar(loader=self._loader, variables=values)
            told, connection = self._told(values, templar)
            return known | told, connection
        except Exception as error:  # noqa: BLE001 - templates and plugins of anybody may raise anything
            return known | {"error": str(error)}, None

    def _told(self, values: Mapping[str, Any], templar: Any) -> tuple[dict[str, Any], Any]:
        def value(name: str, otherwise: Any = None) -> Any:
            return templar.template(values[name]) if values.get(name) is not None else otherwise

        kind = str(value("ansible_connection", C.DEFAULT_TRANSPORT)).removeprefix("ansible.builtin.")
        kind = {"smart": "ssh", "paramiko_ssh": "paramiko"}.get(kind, kind)
        # what this looks at by itself is asked for as Ansible's ssh knows it
        connection = connection_loader.get("ssh" if kind == "paramiko" else kind, PlayContext(), new_stdin=None)
        if connection is None:
            raise AnsibleError(f"the connection plugin {kind!r} was not found")
        connection.set_options(var_options=_options("connection", connection, values, templar))
        shell = connection._shell
        shell.set_options(var_options=_options("shell", shell, values, templar))
        interpreter = value("ansible_python_interpreter", C.config.get_config_value("INTERPRETER_PYTHON"))
        known = {
            "connection": kind,
            "become": self._escalation(values, templar, value, shell),
            "interpreter": None if str(interpreter).startswith("auto") else str(interpreter),
            "candidates": C.config.get_config_value("INTERPRETER_PYTHON_FALLBACK", variables=values),
            "remote_tmp": str(shell.get_option("remote_tmp")),
            "endpoints": {name: str(value(name, "")) for name in sorted(values) if _ENDPOINT.fullmatch(name)},
            # what is false is no way, as for the roles
            "via": str(value("mend_via") or ""),
            "s3_via": str(value("mend_s3_via") or ""),
        }
        if kind in ("ssh", "paramiko"):
            return known | _ssh(connection), None
        return known, None if kind == "local" else connection

    def _escalation(self, values: Mapping[str, Any], templar: Any, value: Any, shell: Any) -> dict[str, Any] | None:
        wanted = value("ansible_become")
        for name, default in self._become.items() if wanted is None else ():
            wanted = wanted or ensure_type(value(name, default), "bool")
        if not ensure_type(wanted or False, "bool"):
            return None
        method = str(value("ansible_become_method", C.DEFAULT_BECOME_METHOD))
        plugin = become_loader.get(method)
        if plugin is None:
            raise AnsibleError(f"the become plugin {method!r} was not found")
        plugin.set_options(var_options=_options("become", plugin, values, templar))
        password = plugin.get_option("become_pass")
        if not password and C.config.get_config_value("BECOME_PASSWORD_FILE"):
            password = CLI.get_password_from_file(C.config.get_config_value("BECOME_PASSWORD_FILE"))
            plugin.set_option("become_pass", password)
        # Behind it a shell skips what is left of the password, takes what script.py tells it, and reads on.
        behind = 'while IFS= read -r line; do [ "$line" = @@go ] && break; done; IFS= read -r mend_python; '
        behind += "IFS= read -r mend_tmp; export mend_python mend_tmp; exec /bin/sh"
        return {
            "method": plugin.name,
            "user": str(plugin.get_option("become_user") or "root"),
            "command": plugin.build_become_command(behind, shell),
            "password": None if password is None else str(password),
            "needs_terminal": bool(plugin.require_tty),
        }


def _options(kind: str, plugin: Any, values: Mapping[str, Any], templar: Any) -> dict[str, Any]:
    """The variables that this plugin takes its options from, rendered."""
    names = C.config.get_plugin_vars(kind, plugin._load_name)
    return {"_extras": {}} | {name: templar.template(values[name]) for name in names if name in values}


def _ssh(connection: Any) -> dict[str, Any]:
    """The arguments of ssh in the order in which Ansible gives them (the first that sets an option wins)."""
    option = connection.get_option
    words = shlex.split(option("ssh_args") or "")
    for name, given in (
        ("StrictHostKeyChecking", None if option("host_key_checking") else "no"),
        ("Port", option("port")),
        ("IdentityFile", (key := option("private_key_file")) and os.path.expanduser(key)),
        ("User", option("remote_user")),
        ("ConnectTimeout", option("timeout")),
    ):
        words += [] if given is None else ["-o", f'{name}="{given}"']
    for name in ("ssh_common_args", "ssh_extra_args"):
        words += shlex.split(option(name) or "")
    password = option("password")
    return {
        "address": str(option("host")),
        "ssh": [str(option("ssh_executable")), *words],
        "password": None if password is None else str(password),
    }


def _trusted(text: str) -> Any:
    from ansible.template import trust_as_template

    return trust_as_template(text)


def _ask(connection: Any, command: str, stdin: str) -> dict[str, Any]:
    """Run the command behind a plugin: its exit code and output, or the words of the plugin's error."""
    began = time.time()
    try:
        code, out, err = connection.exec_command(command, in_data=stdin.encode(), sudoable=False)
    except Exception as error:  # noqa: BLE001 - plugins of anybody
        return {"error": str(error) or type(error).__name__}
    texts = [text if isinstance(text, str) else text.decode("utf-8", "replace") for text in (out, err)]
    return {"code": code, "out": texts[0], "err": texts[1], "began": began, "ended": time.time()}


def main() -> int:
    """Answer the request; 64: the inventory cannot be read (why is on stderr), 7: no host matched."""
    request = json.loads(sys.stdin.readline())
    # warnings of plugins must not come between the lines
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lock = threading.Lock()

    def tell(line: dict[str, Any]) -> None:
        with lock:
            print(json.dumps(line), file=out, flush=True)

    try:
        inventory = Inventory(request)
        tasks = inventory.tasks(request["playbook"], request["asked"]) if request["playbook"] else None
        hosts = tasks.hosts if tasks else inventory.hosts()
    except AnsibleError as error:
        print(error, file=sys.stderr)
        return UNREADABLE
    if not hosts:
        return NOTHING
    connections: dict[str, Any] = {}
    for host in hosts:
        known, connections[host.name] = (tasks.target(host), None) if tasks else inventory.target(host)
        tell(known)
    tell({"told": len(hosts)})

    def answer(order: dict[str, Any]) -> None:
        tell({"host": order["host"]} | _ask(connections[order["host"]], order["command"], order["stdin"]))

    with ThreadPoolExecutor(_WORKERS) as pool:
        for line in sys.stdin:
            pool.submit(answer, json.loads(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
