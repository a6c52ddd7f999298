"""A proxy in front of an engine's socket that answers, cuts or waits in its place."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import tempfile
import threading
from collections.abc import Callable


class DockerProxy:
    """``on(pattern, do)``: for the next request whose first line matches, ``do(forward)`` gives the answer's bytes.

    ``forward()`` asks the engine and gives its whole answer. Without bytes the connection is closed.
    """

    def __init__(self, behind: str) -> None:
        self._behind = behind
        self._folder = tempfile.TemporaryDirectory(prefix="docker-proxy-")
        self.path = os.path.join(self._folder.name, "s")
        self.docker_host = f"unix://{self.path}"
        self.requests: list[str] = []
        self._rules: list[tuple[str, Callable[[Callable[[], bytes]], bytes]]] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        self._listening.listen(50)
        threading.Thread(target=self._serve, daemon=True).start()

    def on(self, pattern: str, do: Callable[[Callable[[], bytes]], bytes]) -> None:
        self._rules.append((pattern, do))

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                part = client.recv(65536)
                if not part:
                    return
                request += part
            line = request.partition(b"\r\n")[0].decode()
            self.requests.append(line)
            for rule in self._rules:
                if re.match(rule[0], line):
                    self._rules.remove(rule)
                    client.sendall(rule[1](lambda: self._forward(request)))
                    return
            client.sendall(self._forward(request))

    def _forward(self, request: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(self._behind)
            # then the end of the answer is the end of the connection
            engine.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            answer = b""
            while part := engine.recv(65536):
                answer += part
            return answer

    def close(self) -> None:
        # a close alone does not wake the thread that accepts
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._folder.cleanup()


def answer(status: str, body: bytes) -> bytes:
    """The bytes of an answer of HTTP."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
