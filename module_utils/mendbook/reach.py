# SPDX-License-Identifier: MIT
"""The way to an endpoint that this machine does not see: ``with route(via, seconds):`` around all that is done with it.

While a route is open, names and addresses that this process resolves lead to 127.0.0.1 and a port that is handed on,
from where ``via`` says; the real name is resolved there. So a driver needs to know nothing, TLS checks the real name,
and members of a replica set that the driver finds by itself go the same way. libpq resolves for itself: `Route.address`
is its hostaddr and port. A listening port takes connections of this user only, and is gone when the route is closed.

A scheme's module has ``carrier(parts, seconds)``, a context manager that gives an object with

``name``             what stands in the middle, for messages: ``bastion ops@b1``
``dial(host, port)`` a connection from there, with ``recv``, ``sendall``, ``shutdown`` and ``close`` as a socket has
                     them; raises MendError (rule ``via_forward``) within the given seconds
``lost()``           what became of the way itself, in words; None while it is there

and whose end leaves no thread behind. ``close`` of a connection wakes up a ``recv`` of another thread.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import socketserver
import sys
import threading
from urllib.parse import urlsplit

from .errors import MendError

_CHUNK_BYTES = 65536
_POLL_SECONDS = 0.05


@contextlib.contextmanager
def route(via, timeout_seconds, takes=lambda host, port: True):
    """Open the way ``via`` (``ssh://bastion``), or none when it is empty; gives a `Route` or None.

    ``takes(host, port)`` tells which endpoints are reached by it. A MendError that leaves the block says what became
    of the way, where that is the cause.
    """
    if not via:
        yield None
        return
    seconds = max(1.0, 0.8 * timeout_seconds)  # so that the reason is known before a driver's own patience ends
    with contextlib.ExitStack() as stack:
        with _unrouted():
            carrier = stack.enter_context(_carrier(via, seconds))
        way = Route(carrier)
        stack.callback(way.close)
        stack.enter_context(_resolved_by(way, takes))
        try:
            yield way
        except MendError as error:
            way.explain(error)
            raise


class Route:
    """An open way: where each endpoint is found on this machine, and what went wrong on it.

    ``on_lost`` is called, by another thread, when the way is lost: a driver would wait for it to come back.
    """

    def __init__(self, carrier):
        self.on_lost = lambda: None
        self._carrier = carrier
        self._lock = threading.Lock()
        self._doors = {}
        self._troubles = []

    def address(self, host, port):
        """Return ``("127.0.0.1", port)`` of what leads to ``host`` and ``port`` as they are called at the other end."""
        with self._lock:
            if (host, port) not in self._doors:
                self._doors[host, port] = _Door(lambda: self._dial(host, port), self._visited)
            return self._doors[host, port].server_address

    def require(self):
        """Raise OSError when the way is lost: nothing comes by it any more."""
        if self._carrier.lost():
            raise OSError(errno.ENETUNREACH, self._carrier.lost())

    def behind(self, port):
        """Return the ``(host, port)`` that one of our ports leads to."""
        return next(end for end, door in self._doors.items() if door.server_address[1] == port)

    def explain(self, error):
        """Let an error of the endpoint name its cause when that is the way there."""
        lost = self._carrier.lost()
        if lost:
            trouble = MendError(lost, rule="via_lost")
        elif self._troubles:
            trouble = self._troubles[-1]
        else:
            return
        if error.reason not in (None, "partial", "unknown"):
            return
        error.msg = f"{trouble.msg}. {error.msg}"
        error.args = (error.msg,)
        if type(error) is MendError:
            error.rule = trouble.rule
            error.details = dict(error.details, stage="via")

    def close(self):
        """Wake up and end all that runs; nothing listens afterwards."""
        with self._lock:
            doors, self._doors = list(self._doors.values()), {}
        for door in doors:
            door.end()

    def _visited(self):
        if self._carrier.lost():
            self.on_lost()

    def _dial(self, host, port):
        try:
            return self._carrier.dial(host, port)
        except MendError as error:
            self._troubles.append(error)
            return None


class _Door(socketserver.ThreadingTCPServer):
    """One listening port, and everything that comes in by it."""

    request_queue_size = 64

    def __init__(self, dial, visited):
        super().__init__(("127.0.0.1", 0), _Visit)
        self.dial = dial
        self.visited = visited
        self.visits = set()
        self.ended = False
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_SECONDS,), daemon=True)
        self._thread.start()

    def verify_request(self, request, client_address):
        return _is_mine(client_address, self.server_address)

    def handle_error(self, request, client_address):
        """A connection that breaks is the driver's to report."""

    def end(self):
        self.shutdown()
        self._thread.join()
        self.ended = True
        for visit in list(self.visits):
            visit.wake()
        # waits for the visits
        self.server_close()


class _Visit(socketserver.BaseRequestHandler):
    """One connection of a driver, and its other half from the far end."""

    far = None

    def handle(self):
        self.far = self.server.dial()
        if self.far is None:
            return
        self.server.visits.add(self)
        try:
            # whoever ends the door from now on sees this visit
            if self.server.ended:
                self.wake()
            back = threading.Thread(target=_pump, args=(self.far, self.request), daemon=True)
            back.start()
            _pump(self.request, self.far)
            back.join()
        finally:
            self.server.visits.discard(self)
            self.far.close()
            # to ask whether a way is lost may take a while, and nobody wants to know that at its end
            if not self.server.ended:
                self.server.visited()

    def wake(self):
        for connection in (self.request, self.far):
            with contextlib.suppress(OSError, EOFError):
                connection.shutdown(socket.SHUT_RDWR)
        self.far.close()


def _pump(source, sink):
    """Hand on what comes until no more comes, and then that no more comes."""
    with contextlib.suppress(OSError, EOFError):
        data = source.recv(_CHUNK_BYTES)
        while data:
            sink.sendall(data)
            data = source.recv(_CHUNK_BYTES)
    with contextlib.suppress(OSError, EOFError):
        sink.shutdown(socket.SHUT_WR)


def _is_mine(client, server):
    """Whether a connection comes from a process of this user, where the system tells."""
    wanted = [_as_in_table(client), _as_in_table(server)]
    try:
        with open("/proc/net/tcp", encoding="ascii") as table:
            rows = [line.split() for line in table]
    except FileNotFoundError:
        return True
    # a row may come twice while others go
    return {row[7] for row in rows if row[1:3] == wanted} == {str(os.getuid())}


def _as_in_table(address):
    return f"{int.from_bytes(socket.inet_aton(address[0]), sys.byteorder):08X}:{address[1]:04X}"


_local = threading.local()


@contextlib.contextmanager
def _unrouted():
    """What this thread resolves meanwhile is not for any route: the way to the bastion itself."""
    _local.unrouted = True
    try:
        yield
    finally:
        _local.unrouted = False


@contextlib.contextmanager
def _resolved_by(way, takes):
    before = socket.getaddrinfo

    def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
        if getattr(_local, "unrouted", False) or not _is_endpoint(host, port) or not takes(host, int(port)):
            return before(host, port, family, type, proto, flags)
        way.require()
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", way.address(host, int(port)))]

    socket.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        socket.getaddrinfo = before


def _is_endpoint(host, port):
    """Link-local addresses belong to this machine alone: a cloud gives it its credentials there."""
    if not isinstance(host, str) or not str(port or "").isdigit():
        return False
    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_link_local
    except ValueError:
        return True


def _carrier(via, seconds):
    try:
        parts = urlsplit(via)
        parts.port  # noqa: B018 (raises on what is no port)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme == "ssh":
        from .reach_ssh import carrier
    elif parts.scheme == "docker":
        from .reach_docker import carrier
    elif parts.scheme == "k8s":
        raise MendError(
            "via: k8s:// is not there yet; use ssh:// through a machine of the cluster's network, or kubectl "
            "port-forward and the address that it prints",
            rule="via",
        )
    else:
        raise MendError("via must be like ssh://user@bastion:22 or docker://container", rule="via")
    return carrier(parts, seconds)
