# SPDX-License-Identifier: MIT
"""What stopped us on the way, as a finding: pure."""

from __future__ import annotations

import re

from mendbook.preflight.endpoint import UNCHECKED, Answer
from mendbook.preflight.finding import Finding
from mendbook.preflight.reach import Stopped

# stage: (level, check, advice)
_STAGES = {
    "dns": ("unreachable", "dns", "set ansible_host to an address, or correct the name: {command}"),
    "port closed": ("unreachable", "tcp", "is sshd running there, and is ansible_port right?"),
    "no answer": ("unreachable", "tcp", "is the host up, and does a firewall let this machine through?"),
    "network": ("unreachable", "tcp", "look at the route from this machine: ip route get ADDRESS"),
    "key unknown": (
        "problem",
        "host_key",
        "compare it with ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub on the host's console, then log in once by ssh; "
        "what is known: {command}",
    ),
    "key changed": (
        "problem",
        "host_key",
        "do not log in before you know why: was it installed anew, or is it somebody else? What is known: {command}",
    ),
    "key revoked": ("problem", "host_key", "do not log in: whoever marked the key knows why"),
    "key not checked": ("not checked", "host_key", "ssh itself can check it: ssh ADDRESS true"),
    "login": ("problem", "login", "set ansible_user and ansible_ssh_private_key_file, or load the key: {command}"),
    "session": ("problem", "session", "log in by hand and look"),
    "settings": ("problem", "settings", "correct the inventory or ~/.ssh/config: {command}"),
}
# the inventory's variables are those of the host behind it
_BASTION_ADVICE = {
    "dns": "correct it where the bastion is named (mend_via, ProxyJump), or HostName in ~/.ssh/config: {command}",
    "port closed": "is sshd running there, and is its port right where it is named or in ~/.ssh/config?",
    "login": "set User and IdentityFile for it in ~/.ssh/config, or load the key: {command}",
}
_ENDPOINT_ADVICE = {
    "dns": "correct the name in {variable}, or say by mend_via from where it is known",
    "port closed": "does the service listen on that address and port?",
}
_NOT_FROM_HERE = "is it up, does a firewall let this machine through, or is it behind a bastion (mend_via)?"
# what the connection plugins for containers say, and what it means
_CONTAINER = (
    (r"(could not find|no such) container", "there is no container of this name", "docker ps --all"),
    (r"is not running", "the container does not run", "docker start, or take it out of the inventory"),
    (r"paused", "the container is paused, or stopped", "docker unpause or docker start"),
    (
        r"permission denied",
        "this user may not talk to the Docker engine",
        "add the user to the group docker, or become",
    ),
    (
        r'exec: "?/bin/sh|stat /bin/sh',
        "the container holds no shell",
        "modules cannot run in it; work from its host",
    ),
    (
        r"connection plugin .* was not found",
        "the connection plugin is not installed",
        "pip install 'mendbook[collections]'",
    ),
    (
        r"error while fetching server api|cannot connect|connection refused|connection aborted|no such file",
        "no Docker engine answers",
        "is docker_host (DOCKER_HOST) right, and does the engine run?",
    ),
)


def judge(stopped: Stopped) -> Finding:
    """One finding for the end of the way."""
    level, check, advice = _STAGES[stopped.stage]
    where = f"at the bastion {stopped.where}: " if stopped.at_bastion else ""
    advice = _BASTION_ADVICE.get(stopped.stage, advice) if stopped.at_bastion else advice
    advice = (
        re.sub(r"(; what is known|, or load the key)?:? ?\{command\}", "", advice) if not stopped.command else advice
    )
    advice = advice.replace("{command}", stopped.command).rstrip(" :")
    return Finding(level, "bastion" if stopped.at_bastion else check, where + stopped.text, advice)


def judge_endpoint(answer: Answer, via: str) -> Finding | None:
    """Nothing for an address that answers."""
    if not answer.stage:
        return None
    if answer.stage == UNCHECKED:
        return Finding("not checked", "endpoint", answer.text)
    advice = _ENDPOINT_ADVICE.get(answer.stage, "" if via else _NOT_FROM_HERE).replace("{variable}", answer.variable)
    return Finding("unreachable", "endpoint", f"{answer.variable}: {answer.text}", advice)


def judge_plugin(words: str) -> Finding:
    """The error of a connection plugin in our words, or in its own when we have none."""
    for pattern, text, advice in _CONTAINER:
        if re.search(pattern, words, re.IGNORECASE):
            return Finding("unreachable", "container", text, advice)
    return Finding("unreachable", "connection", words[:300], "try it: ansible -m raw -a id HOST")
