# SPDX-License-Identifier: MIT
"""The script's conversation with a host: over a channel of ssh, with a process here, or through a plugin of Ansible."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import paramiko  # type: ignore[import-untyped]

from mendbook.preflight import facts, script
from mendbook.preflight.facts import MAX_ANSWER_BYTES, Facts
from mendbook.preflight.reach import Deadline, Stopped
from mendbook.preflight.target import Target

_CHUNK = 32768


class _Stream(Protocol):
    def send(self, data: bytes) -> None:
        """BrokenPipeError when nobody listens any more; what was said before that can still be received."""
        ...

    def receive(self) -> bytes:
        """What came, empty at the end; TimeoutError when the deadline is over."""
        ...


def over_ssh(client: paramiko.SSHClient, target: Target, drivers: Iterable[str], deadline: Deadline) -> Facts:
    """What the host behind this client says, as far as it came before the deadline."""
    transport = client.get_transport()
    assert transport is not None  # noqa: S101 - it is logged in
    text = script.text(target, drivers)
    try:
        channel = transport.open_session(timeout=deadline.left())
        channel.settimeout(deadline.left())
        channel.set_combine_stderr(True)
        channel.exec_command(script.command(text))
    except (paramiko.SSHException, OSError, EOFError) as error:
        where = f"{target.host} ({target.address})"
        raise Stopped("session", where, f"logged in, and no command is run: {str(error) or 'no answer'}") from None
    with channel:
        return _converse(_Channel(channel, deadline), target, text)


def here(target: Target, drivers: Iterable[str], deadline: Deadline) -> Facts:
    """The same of this machine."""
    text = script.text(target, drivers)
    with subprocess.Popen(  # noqa: S603 - this package's own script
        ["/bin/sh", "-c", script.command(text)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            return _converse(_Process(process, deadline), target, text)
        finally:
            # with what it has started: a df that hangs, too
            os.killpg(process.pid, signal.SIGKILL)


def behind_plugin(ask: Callable[[str, str], tuple[str, float, float]], target: Target, drivers: Iterable[str]) -> Facts:
    """The same of a container: everything is sent at once, so its clock is known less well."""
    text = script.text(target, drivers, rounds=1)
    answer, began, ended = ask(script.command(text), f"{text}{_secret(target)}\n\n")
    known = facts.read(answer)
    known.clock = facts.clock([(began, ended, _times(answer)[-1])] if _times(answer) else [])
    return known


def _converse(stream: _Stream, target: Target, text: str) -> Facts:
    rounds: list[tuple[float, float, str]] = []
    answer = b""
    # what comes up to an error still says something; facts.complete tells that it is not all
    with contextlib.suppress(OSError):
        with contextlib.suppress(BrokenPipeError):
            stream.send(f"{text}{_secret(target)}\n".encode())
            for _ in range(script.CLOCK_ROUNDS):
                sent = time.time()
                stream.send(b"\n")
                while len(said := _times(answer.decode("utf-8", "replace"))) == len(rounds):
                    if not (data := stream.receive()):
                        break
                    answer += data
                if len(said) == len(rounds):
                    break
                rounds.append((sent, time.time(), said[-1]))
        while len(answer) < MAX_ANSWER_BYTES and (data := stream.receive()):
            answer += data
    known = facts.read(answer.decode("utf-8", "replace"))
    known.clock = facts.clock(rounds)
    return known


def _times(answer: str) -> list[str]:
    whole = answer.splitlines(keepends=True)
    return [line[len("@@time\t") :] for line in whole if line.startswith("@@time\t") and line.endswith("\n")]


def _secret(target: Target) -> str:
    return (target.become.password or "") if target.become else ""


class _Channel:
    def __init__(self, channel: paramiko.Channel, deadline: Deadline) -> None:
        self._channel, self._deadline = channel, deadline

    def send(self, data: bytes) -> None:
        self._channel.settimeout(self._deadline.left())
        try:
            self._channel.sendall(data)
        except TimeoutError:
            raise
        except OSError as error:
            raise BrokenPipeError from error

    def receive(self) -> bytes:
        self._channel.settimeout(self._deadline.left())
        data: bytes = self._channel.recv(_CHUNK)
        return data


class _Process:
    def __init__(self, process: subprocess.Popen[bytes], deadline: Deadline) -> None:
        assert process.stdin and process.stdout  # noqa: S101 - both are pipes
        self._in, self._out, self._deadline = process.stdin.fileno(), process.stdout.fileno(), deadline

    def send(self, data: bytes) -> None:
        os.write(self._in, data)

    def receive(self) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            if not selector.select(self._deadline.left()):
                raise TimeoutError
        return os.read(self._out, _CHUNK)
