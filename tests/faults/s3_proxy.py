"""A proxy in front of a real S3 server that does to its answers what networks and stores do at the worst moment.

The client signs for the proxy's host and port and the proxy forwards the Host header unchanged; the server checks the
signature against the header that it receives, so signatures stay valid.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import socket
import ssl
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CHUNK = 16 << 10
MARKER = b"\r\n\r\n"


@dataclass
class Fault:
    """What happens to requests that ``match``, ``times`` times or for ever.

    ``match`` is a regular expression on "METHOD /path ", followed by "bytes=START-END" where a range is asked for.

    Byte numbers count from the beginning of the answer's body, ``flip_at`` from the beginning of the object. ``before``
    runs before the request is forwarded; ``status`` answers without forwarding. A fault at a byte that an answer does
    not have is not spent on it. ``sent_...`` happen to the body of the request, ``lose_answer`` after it has done its
    work.
    """

    match: str = "GET "
    times: int | None = None
    status: int | None = None
    code: str = "SlowDown"
    stall_at: int | None = None
    reset_at: int | None = None
    end_at: int | None = None
    flip_at: int | None = None
    bytes_per_second: int | None = None
    drop_header: str | None = None
    body: bytes | None = None
    before: Callable[[], None] | None = None
    sent_flip_at: int | None = None
    sent_reset_at: int | None = None
    sent_stall_at: int | None = None
    sent_per_second: int | None = None
    lose_answer: bool = False


@dataclass
class Request:
    """One request as the proxy saw it.

    ``sent`` is how many bytes of the body reached the client, ``taken`` how many of the request's body were read.
    """

    method: str
    path: str
    start: int | None
    end: int | None
    sent: int = 0
    taken: int = 0
    body: bytearray = field(default_factory=bytearray, repr=False)


class S3Proxy:
    """A listening proxy; ``faults`` may be changed at any time, ``requests`` tells what came."""

    def __init__(self, endpoint_url: str, tls: ssl.SSLContext | None = None) -> None:
        upstream = urlsplit(endpoint_url)
        self._upstream = (upstream.hostname, upstream.port)
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.closed = threading.Event()
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.port = self._listener.getsockname()[1]
        self.endpoint_url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self) -> None:
        """Forget every fault and request."""
        self.faults, self.requests = [], []

    def close(self) -> None:
        """Stop listening and break what is open."""
        self.closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone does not wake accept()
        self._listener.close()
        with self._lock:
            sockets = list(self._open)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self.closed.is_set():
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            if self._tls:
                client = self._tls.wrap_socket(client, server_side=True)
            with client, self._tracked(client):
                while self._one_request(client):
                    pass

    @contextlib.contextmanager
    def _tracked(self, sock: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open.add(sock)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(sock)

    def _one_request(self, client: socket.socket) -> bool:
        """Answer one request; False when the connection is at its end."""
        head, rest = _read_head(client)
        if not head:
            return False
        method, path = head.decode("latin-1").split(" ", 2)[:2]
        asked = re.search(rb"(?im)^range: bytes=(\d+)-(\d+)", head)
        request = Request(method, path, *((int(asked[1]), int(asked[2]) + 1) if asked else (None, None)))
        with self._lock:
            self.requests.append(request)
            fault = self._next_fault(f"{method} {path} {asked[0].decode().partition(' ')[2] if asked else ''}")
        # who uploads asks first; the server must not be asked again, its "go on" would be taken for the answer
        head, expected = re.subn(rb"(?im)^expect:.*\r\n", b"", head)
        if expected and not fault.status:
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not (expected and fault.status) and not self._take_body(client, rest, _content_length(head), request, fault):
            return False
        if fault.before:
            fault.before()
        if fault.status:
            client.sendall(_error_answer(fault))
            return True
        return self._forward(client, head, request, fault)

    def _take_body(self, client: socket.socket, rest: bytes, length: int, request: Request, fault: Fault) -> bool:
        """Read the body of the request; False when a fault ends the connection instead."""
        request.body = bytearray(rest)
        most = max(1, fault.sent_per_second // 10) if fault.sent_per_second else CHUNK
        stop = min(n for n in (length, fault.sent_reset_at, fault.sent_stall_at) if n is not None)
        while len(request.body) < stop:
            piece = client.recv(min(most, stop - len(request.body)))
            if not piece:
                return False
            request.body += piece
            request.taken = len(request.body)
            if fault.sent_per_second:
                self.closed.wait(len(piece) / fault.sent_per_second)
        if fault.sent_reset_at is not None:
            _reset(client)
            return False
        if fault.sent_stall_at is not None:
            self.closed.wait()
            return False
        if fault.sent_flip_at is not None and fault.sent_flip_at < length:
            request.body[fault.sent_flip_at] ^= 1
        return True

    def _next_fault(self, line: str) -> Fault:
        for fault in self.faults:
            if fault.times != 0 and re.search(fault.match, line):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return Fault()

    def _forward(self, client: socket.socket, head: bytes, request: Request, fault: Fault) -> bool:
        with socket.create_connection(self._upstream) as server, self._tracked(server):
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.sendall(head[: -len(MARKER)] + b"\r\nConnection: close" + MARKER + request.body)
            request.body.clear()
            answer, rest = _read_head(server)
            if fault.lose_answer:
                _reset(client)
                return False
            length = 0 if request.method == "HEAD" else _content_length(answer)
            answer = re.sub(rb"(?im)^connection:.*\r\n", b"", answer)
            if fault.drop_header:
                answer = re.sub(rb"(?im)^" + fault.drop_header.encode() + rb":.*\r\n", b"", answer)
            if fault.body is not None:
                answer = re.sub(rb"(?im)^content-length: \d+", b"Content-Length: %d" % len(fault.body), answer)
                client.sendall(answer + fault.body)
                return True
            if fault.stall_at != -1:
                client.sendall(answer)
            return self._send_body(client, server, rest, length, request, fault)

    def _send_body(
        self, client: socket.socket, server: socket.socket, rest: bytes, length: int, request: Request, fault: Fault
    ) -> bool:
        stops = [n for n in (fault.stall_at, fault.reset_at, fault.end_at) if n is not None]
        if stops and min(stops) > length and fault.times is not None:
            with self._lock:
                fault.times += 1
        stop = min([length, *stops])
        most = max(1, fault.bytes_per_second // 10) if fault.bytes_per_second else CHUNK
        while request.sent < stop:
            piece = rest[: min(most, stop - request.sent)] or server.recv(min(most, stop - request.sent))
            if not piece:
                return False
            rest = rest[len(piece) :]
            piece = _flipped(piece, (request.start or 0) + request.sent, fault.flip_at)
            request.sent += len(piece)
            client.sendall(piece)
            if fault.bytes_per_second:
                self.closed.wait(len(piece) / fault.bytes_per_second)
        if fault.reset_at is not None and fault.reset_at <= length:
            self._arrived(client)
            _reset(client)
            return False
        if fault.stall_at is not None and fault.stall_at <= length:
            with contextlib.suppress(OSError):
                client.recv(1)  # until the client gives up or the proxy is closed
            return False
        return fault.end_at is None or fault.end_at >= length

    def _arrived(self, client: socket.socket) -> None:
        """Wait until what was sent is at the other end: a reset overtakes what is still on its way."""
        while struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))[0] and not self.closed.wait(0.005):
            pass


def _read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while MARKER not in data:
        piece = sock.recv(CHUNK)
        if not piece:
            return b"", b""
        data += piece
    head, _marker, rest = data.partition(MARKER)
    return head + MARKER, rest


def _reset(client: socket.socket) -> None:
    """Let the closing of the connection break it."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _content_length(head: bytes) -> int:
    found = re.search(rb"(?im)^content-length: (\d+)", head)
    return int(found[1]) if found else 0


def _flipped(piece: bytes, start: int, position: int | None) -> bytes:
    if position is None or not start <= position < start + len(piece):
        return piece
    changed = bytearray(piece)
    changed[position - start] ^= 1
    return bytes(changed)


def _error_answer(fault: Fault) -> bytes:
    body = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>made up</Message></Error>" % fault.code.encode()
    return b"HTTP/1.1 %d Made Up\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s" % (
        fault.status or 500,
        len(body),
        body,
    )
