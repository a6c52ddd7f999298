# SPDX-License-Identifier: MIT
"""How far one gets towards a host, and the deadline that everything on the way shares."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass


class Stopped(Exception):
    """The way ended at ``where`` (user@address:port); ``stage`` is one of judge_reach, ``text`` says why.

    ``command`` shows a person more; ``at_bastion``: it was on the way to the host.
    """

    def __init__(self, stage: str, where: str, text: str, *, command: str = "", at_bastion: bool = False) -> None:
        super().__init__(text)
        self.stage, self.where, self.text, self.command, self.at_bastion = stage, where, text, command, at_bastion


@dataclass(frozen=True)
class Deadline:
    """A moment of time.monotonic()."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Seconds that are left, never quite none: 0 would mean "do not block" to a socket."""
        return max(self.at - time.monotonic(), 0.01)

    def share(self, among: int) -> Deadline:
        """The first of so many equal parts of what is left: whoever does not answer leaves the others theirs."""
        return Deadline.after(self.left() / among)


def tcp(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A TCP connection; Stopped says whether the name, the port or the network is to blame."""
    where = address(host, port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        words = error.strerror if isinstance(error, socket.gaierror) else "not a name"
        raise Stopped("dns", where, f"the name {host} is not known: {words}", command=f"getent hosts {host}") from None
    stopped = Stopped("dns", where, f"the name {host} has no address")
    for number, (family, kind, protocol, _, place) in enumerate(found):
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(deadline.share(len(found) - number).left())
        try:
            connection.connect(place)
            return connection
        except ConnectionRefusedError:
            stopped = Stopped("port closed", where, f"{place[0]} answers, and nothing listens on port {port}")
        except TimeoutError:
            stopped = Stopped("no answer", where, f"no answer from {place[0]} port {port}")
        except OSError as error:
            stopped = Stopped("network", where, f"{place[0]} cannot be reached: {error.strerror}")
        connection.close()
    raise stopped


def address(host: str, port: int) -> str:
    """``host:port``, also for an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
