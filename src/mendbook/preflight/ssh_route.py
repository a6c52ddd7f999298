# SPDX-License-Identifier: MIT
"""The way to a host as OpenSSH itself understands it: ``ssh -G`` reads every option and file that a run would read."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from mendbook.preflight.reach import Deadline, Stopped, address

_MOST_JUMPS = 8


@dataclass(frozen=True)
class Hop:
    """One ssh server on the way. ``accepts`` is StrictHostKeyChecking; ``unchecked`` names what only OpenSSH can do."""

    host: str
    port: int
    user: str
    alias: str
    known_hosts: tuple[str, ...]
    accepts: str
    keys: tuple[str, ...]
    agent: bool
    proxy_command: str
    unchecked: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        return f"{self.user}@{address(self.host, self.port)}"

    @property
    def known_as(self) -> str:
        """The name in known_hosts."""
        return self.alias or (self.host if self.port == 22 else f"[{self.host}]:{self.port}")


def route(words: Sequence[str], host: str, deadline: Deadline, jumps: int = 0) -> tuple[Hop, ...]:
    """The bastions in their order and then the host. ``words`` are ssh and its options."""
    said = _settings(words, host, deadline)
    hop = _hop(said)
    jump = said.get("proxyjump", ["none"])[0]
    if jump == "none" or hop.proxy_command:
        return (hop,)
    if jumps > _MOST_JUMPS:
        raise Stopped("settings", hop.where, f"ProxyJump leads in a circle: {jump}")
    hops: tuple[Hop, ...] = ()
    for place in jump.split(","):
        given = _jump_words(words, place)
        if not hops:
            # only the first is reached as its own settings say; the others through the one before
            hops = route(given[:-1], given[-1], deadline, jumps + 1)
        else:
            hops += (_hop(_settings(given[:-1], given[-1], deadline)),)
    return (*hops, hop)


def bastion(via: str, deadline: Deadline) -> tuple[Hop, ...]:
    """The hops of a ``mend_via`` that is ``ssh://[user@]host[:port][?config=/path]``."""
    try:
        parts, port = urlsplit(via), urlsplit(via).port
    except ValueError:
        parts, port = urlsplit(""), None
    given = parse_qs(parts.query)
    whole = parts.scheme == "ssh" and parts.hostname and not parts.password and parts.path in ("", "/")
    if not whole or set(given) - {"config"}:
        like = "ssh://user@bastion:22, ssh://bastion?config=/path/ssh_config or docker://container"
        raise Stopped("settings", "", f"mend_via (and mend_s3_via) must be like {like}")
    # no setting makes a run trust a bastion that is not known
    words = ["ssh", "-o", "StrictHostKeyChecking=yes"]
    for option, value in (
        ("-F", given.get("config", [""])[0]),
        ("-l", parts.username),
        ("-p", port),
    ):
        words += [option, str(value)] if value else []
    hops = route(words, parts.hostname or "", deadline)
    for hop in hops:
        if hop.proxy_command:
            raise Stopped("settings", hop.where, f"{hop.where} has a ProxyCommand, which mend_via does not support")
    return hops


def _jump_words(words: Sequence[str], place: str) -> list[str]:
    """OpenSSH passes on to a jump host the file of -F and nothing else."""
    found = re.fullmatch(r"(?:ssh://)?(?:(.+)@)?(\[[^\]]+\]|[^:]+)(?::(\d+))?/?", place)
    if not found:
        raise Stopped("settings", place, f"{place} is not [user@]host[:port]")
    given = [words[0]]
    for number, word in enumerate(words):
        if word.startswith("-F"):
            given += ["-F", word[2:] or words[number + 1]]
    given += ["-l", found[1]] if found[1] else []
    given += ["-p", found[3]] if found[3] else []
    return [*given, found[2].strip("[]")]


def _settings(words: Sequence[str], host: str, deadline: Deadline) -> dict[str, list[str]]:
    command = [*words, "-G", "--", host]
    try:
        done = subprocess.run(  # noqa: S603 - what ansible itself would run
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=deadline.left()
        )
    except FileNotFoundError:
        raise Stopped(
            "settings", host, f"Ansible's ssh connection needs the program {words[0]}: install openssh-client"
        ) from None
    except subprocess.TimeoutExpired:
        raise Stopped("settings", host, f"{words[0]} -G did not end in time", command=shlex.join(command)) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Stopped("settings", host, f"ssh does not take these options: {lines[0]}", command=shlex.join(command))
    said: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition(" ")
        said.setdefault(name.lower(), []).append(value)
    return said


def _hop(said: dict[str, list[str]]) -> Hop:
    def one(name: str, otherwise: str = "") -> str:
        value = said.get(name, [otherwise])[0]
        return otherwise if value == "none" else value

    host, port, user = one("hostname"), int(one("port", "22")), one("user")
    public_keys = one("pubkeyauthentication", "yes") not in ("no", "false")
    keys = [os.path.expanduser(_expanded(key, host, port, user)) for key in said.get("identityfile", []) if public_keys]
    agent = one("identityagent", "SSH_AUTH_SOCK" if "none" not in said.get("identityagent", []) else "")
    proxy = one("proxycommand")
    unchecked = [f"{name} is not used here" for name in ("pkcs11provider", "knownhostscommand") if one(name)]
    if agent not in ("", "SSH_AUTH_SOCK", os.environ.get("SSH_AUTH_SOCK")):
        unchecked.append(f"the agent at {agent} is not asked, only that of SSH_AUTH_SOCK")
    files = " ".join([one("userknownhostsfile"), one("globalknownhostsfile")])
    return Hop(
        host=host,
        port=port,
        user=user,
        alias=one("hostkeyalias"),
        known_hosts=tuple(os.path.expanduser(_expanded(name, host, port, user)) for name in shlex.split(files)),
        accepts=one("stricthostkeychecking", "ask"),
        keys=tuple(key for key in keys if os.path.exists(key)),
        agent=public_keys and bool(agent) and one("identitiesonly", "no") != "yes",
        proxy_command=_expanded(proxy, host, port, user),
        unchecked=tuple(unchecked),
    )


def _expanded(text: str, host: str, port: int, user: str) -> str:
    values = {"h": host, "n": host, "p": str(port), "r": user, "u": os.environ.get("USER", user), "%": "%"}
    values["d"] = os.path.expanduser("~")
    return re.sub(r"%(.)", lambda found: values.get(found[1], found[0]), text)
