# SPDX-License-Identifier: MIT
"""Free ports on loopback."""

from __future__ import annotations

import secrets
import socket

LOOPBACK = "127.0.0.1"
# below the range from which the kernel gives ports to outgoing connections (32768 and up): nobody takes one by chance
_LOWEST, _HIGHEST = 15000, 22000


def free_ports(count: int, *, partner: int = 0) -> list[int]:
    """`count` different ports that were free a moment ago; with `partner`, port + partner was free as well.

    Somebody may take one before the server does: whoever starts a server tries again with other ports.
    """
    found: list[int] = []
    for _ in range(5000):
        if len(found) == count:
            break
        port = _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST)
        if port not in found and is_free(port) and (not partner or is_free(port + partner)):
            found.append(port)
    if len(found) < count:
        raise OSError(f"no free port between {_LOWEST} and {_HIGHEST} on {LOOPBACK}")
    return found


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
