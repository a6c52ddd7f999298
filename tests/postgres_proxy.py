"""What may stand between a client and PostgreSQL: TLS, a pooler's answer, silence, or something that is no server."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104


class PostgresProxy:
    """Listens on a port of its own and passes everything on to a server.

    ``tls`` is the context of a server that wants TLS. ``pooled`` gives clients another process id than the one that
    serves them, as poolers do. After ``mute`` nothing comes back any more, and the connection stays open.
    """

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None, pooled: bool = False) -> None:
        self._target = port
        self._tls = tls
        self._pooled = pooled
        self._silent = threading.Event()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def mute(self) -> None:
        self._silent.set()

    def close(self) -> None:
        # a thread inside accept would keep the port open
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for each in [self._listener, *self._open]:
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.append(client)
        with contextlib.suppress(OSError):
            start = _exactly(client, 8)
            while struct.unpack("!ii", start)[1] in (SSL_REQUEST, GSS_REQUEST):
                wanted = struct.unpack("!ii", start)[1] == SSL_REQUEST and self._tls is not None
                client.sendall(b"S" if wanted else b"N")
                if wanted:
                    assert self._tls is not None
                    client = self._tls.wrap_socket(client, server_side=True)
                    self._open.append(client)
                start = _exactly(client, 8)
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open.append(server)
            server.sendall(start)
            threading.Thread(target=self._back, args=(server, client), daemon=True).start()
            while data := client.recv(1 << 16):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._pooled:
                self._login_of_a_pooler(server, client)
            while data := server.recv(1 << 16):
                if self._silent.is_set():
                    self._silent.wait(3600)
                    continue
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _login_of_a_pooler(server: socket.socket, client: socket.socket) -> None:
        """Pass on messages up to BackendKeyData, whose process id is another's."""
        while True:
            kind, length = struct.unpack("!ci", _exactly(server, 5))
            body = _exactly(server, length - 4)
            if kind == b"K":
                body = struct.pack("!i", 1) + body[4:]
            client.sendall(struct.pack("!ci", kind, length) + body)
            if kind == b"K":
                return


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = source.recv(count - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data


@contextlib.contextmanager
def answering(words: bytes | None) -> Iterator[int]:
    """A port of something that is no PostgreSQL: it says these words and hangs up, or says nothing at all."""
    listener = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                kept.append(client)
                if words is not None:
                    client.recv(1 << 10)
                    client.sendall(words)
                    client.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        for each in [listener, *kept]:
            each.close()
