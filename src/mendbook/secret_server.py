# SPDX-License-Identifier: MIT
"""Answers the gate's ``env:NAME`` over a UNIX socket, so that no secret enters the environment or a file of a run.

One connection for each question: ``{"name": "X"}\\n`` is answered by ``{"value": "..."}\\n`` or
``{"missing": true}\\n``, and only for processes of the same user.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import threading
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

_QUESTION_BYTES = 4096
# Shorter values would be found in every sentence, and no secret is that short.
_HIDE_FROM_LENGTH = 4


class SecretServer:
    """Listens from the start, answers once ``serve`` was called, knows afterwards what must not be printed."""

    def __init__(self, path: Path, values: Mapping[str, str]) -> None:
        self.path = path
        self._values = values
        self._told: set[str] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(os.fspath(path))
        os.chmod(path, 0o600)
        # as many may wait as the kernel lets: one too many would be turned away at once, whatever its patience
        self._socket.listen(socket.SOMAXCONN)
        self._thread: threading.Thread | None = None

    def serve(self) -> None:
        """Begin to answer; earlier questions wait. Called after ansible is forked: forking threads is fragile."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._answer_all, name="mendbook-secrets", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop answering and remove the socket."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> SecretServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def hide(self, value: Any) -> Any:
        """The same text, list or dict with every secret that was handed out, and the password inside it, as ``***``."""
        told = sorted(self._told, key=len, reverse=True)
        return _hide(value, told) if told else value

    def hide_in(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The same of an event of ansible-runner; its kind and the names of its fields are no secrets, and are read."""
        data = event.get("event_data")
        fields = {name: self.hide(value) for name, value in event.items() if name != "event"}
        if isinstance(data, dict):
            fields["event_data"] = {name: self.hide(value) for name, value in data.items()}
        return {**fields, "event": event.get("event")}

    def remember(self, value: str) -> None:
        """Hide this value from now on, also the password inside it when it is a URI."""
        for part in (value, *_passwords_in(value)):
            if len(part) >= _HIDE_FROM_LENGTH:
                self._told.add(part)

    def _answer_all(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            # one client that says nothing must not keep the others waiting for ever
            connection.settimeout(5)
            with connection:
                try:
                    self._answer(connection)
                except (OSError, ValueError, AttributeError):
                    continue

    def _answer(self, connection: socket.socket) -> None:
        if not _same_user(connection):
            return
        question = b""
        while not question.endswith(b"\n"):
            piece = connection.recv(_QUESTION_BYTES)
            question += piece
            if not piece or len(question) > _QUESTION_BYTES:
                return
        name = json.loads(question).get("name")
        value = self._values.get(name) if isinstance(name, str) else None
        if value is None:
            answer: dict[str, Any] = {"missing": True}
        else:
            self.remember(value)
            answer = {"value": value}
        connection.sendall(json.dumps(answer).encode() + b"\n")


def _same_user(connection: socket.socket) -> bool:
    if not hasattr(socket, "SO_PEERCRED"):
        # elsewhere the 0700 folder around the socket is the door
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[1] == os.getuid())


def _passwords_in(value: str) -> list[str]:
    found = re.match(r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/@\s]*?:([^/\s]+)@", value)
    return [found[1], urllib.parse.unquote(found[1])] if found else []


def _hide(value: Any, told: list[str]) -> Any:
    if isinstance(value, str):
        for secret in told:
            value = value.replace(secret, "***")
        return value
    if isinstance(value, dict):
        return {_hide(key, told): _hide(each, told) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_hide(each, told) for each in value)
    return value
