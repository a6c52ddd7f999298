# SPDX-License-Identifier: MIT
"""The way into a container's network, ``docker://CONTAINER[?host=ENGINE][&network=NAME][&config=PATH]``.

ENGINE is what DOCKER_HOST would say, and DOCKER_HOST where it is not given: a socket of this machine, or
``ssh://user@host`` (as reach_ssh goes there, with its ``config``), where the engine is asked through
``docker system dial-stdio`` and connections begin on that host. A name means what the container's own network means by
it, from the engine's data: localhost and its own names are the container, others are its neighbours.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import os
import socket
import threading
from urllib.parse import parse_qs, urlsplit

from .docker_engine import DEFAULT_HOST, Engine
from .docker_errors import ApiError, NoEngine
from .errors import MendError
from .plan_text import clean

# the host of the engine has no way into these, only its neighbours have
_CLOSED_TO_HOST = ("macvlan", "ipvlan")
_OPTIONS = {"host", "network", "config"}


@contextlib.contextmanager
def carrier(parts, seconds):
    """Find the container that a split URL names; give what `reach` dials with."""
    container, given = parts.netloc, {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if not container or parts.path not in ("", "/") or set(given) - _OPTIONS:
        raise MendError("via must be like docker://container or docker://container?host=ssh://user@host", rule="via")
    host = given.get("host") or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
    if host.startswith("ssh://"):
        from . import reach_ssh

        config = f"?config={given['config']}" if "config" in given else ""
        with reach_ssh.carrier(urlsplit(host + config), seconds) as bastion:
            yield _Container(_EngineOverSsh(bastion, host, seconds), container, given.get("network"), bastion.dial)
    elif host.startswith("unix://"):
        yield _Container(Engine(host, seconds), container, given.get("network"), _Direct(container, seconds).dial)
    else:
        raise MendError(
            f"via: the networks of the engine at {host} are not reached from here: host=ssh://user@host goes by way of "
            "its host",
            rule="via",
        )


class _Container:
    """One container as it is when the way is opened; another one that takes its name later is not gone to."""

    def __init__(self, engine, name, network, connect):
        self.name = f"container {name}"
        self._engine = engine
        self._connect = connect
        # over ssh each question is a session, and sshd allows ten at a time
        self._lock = threading.Lock()
        seen = self._look(name, "there is none of this name: docker ps --all")
        self._id = seen["Id"]
        self._networks = self._usable(networks_of(self._of_network(seen)), network)

    def dial(self, host, port):
        with self._lock:
            address = self._address(host)
        return self._connect(address, port)

    def lost(self):
        try:
            with self._lock:
                self._look_again()
        except MendError as error:
            return error.msg
        return None

    def _look_again(self):
        return self._look(self._id, "it was removed or replaced after this run had begun")

    def _look(self, container, absent):
        try:
            seen = self._engine.get(f"/containers/{container}/json")
        except ApiError as error:
            if error.status == 404:
                raise MendError(f"{self.name}: {absent}", rule="via_container") from None
            raise
        if seen["State"]["Status"] != "running":
            words = f"{self.name} is {seen['State']['Status']}: docker logs says why, docker start or unpause helps"
            raise MendError(words, rule="via_container_state")
        return seen

    def _of_network(self, seen):
        """The container whose network this one is in: itself, or the one that it was started to share it with."""
        kind, _, other = seen["HostConfig"]["NetworkMode"].partition(":")
        return self._engine.get(f"/containers/{other}/json") if kind == "container" else seen

    def _usable(self, there, wanted):
        """Names of the networks in which the engine's host reaches the container."""
        if wanted is not None and wanted not in there:
            words = f"{self.name} is not in network {wanted}, but in: {', '.join(there) or 'none'}"
            raise MendError(words, rule="via_network")
        if not there:
            words = f"{self.name} has no network (none), so nothing reaches it: docker exec is the only way in"
            raise MendError(words, rule="via_network")
        asked = [wanted] if wanted else list(there)
        usable = [name for name in asked if self._engine.get(f"/networks/{name}")["Driver"] not in _CLOSED_TO_HOST]
        if not usable:
            words = f"{self.name} is only in {', '.join(asked)} (macvlan or ipvlan), which its engine's host is not in"
            raise MendError(f"{words}: use its address there without via", rule="via_network")
        return usable

    def _address(self, host):
        seen = self._look_again()
        shared = self._of_network(seen)
        if _is_address(host) and not ipaddress.ip_address(host).is_loopback:
            return host
        if _is_address(host) or host == "localhost" or host in names_of(seen) | names_of(shared):
            return self._first(networks_of(shared))
        extra = dict(entry.split(":", 1) for entry in shared["HostConfig"]["ExtraHosts"] or ())
        if _is_address(extra.get(host, "")):
            return extra[host]
        return self._neighbour(host)

    def _first(self, there):
        for name in self._networks:
            if name in there:
                return there[name]
        raise MendError(f"{self.name} has been taken out of {', '.join(self._networks)}", rule="via_network")

    def _neighbour(self, host):
        running = self._engine.get("/containers/json", filters={"network": self._networks})
        known = {}
        # most are called by the container's name, and one look is enough
        for entry in sorted(running, key=lambda entry: f"/{host}" not in entry["Names"]):
            # one that is removed just now is no neighbour any more
            with contextlib.suppress(ApiError):
                seen = self._engine.get(f"/containers/{entry['Id']}/json")
                known.update(dict.fromkeys(names_of(seen), networks_of(seen)))
            if host in known:
                return self._first(known[host])
        others = ", ".join(sorted(entry["Names"][0][1:] for entry in running)[:10])
        words = f"{self.name} does not know {clean(host)}: in {', '.join(self._networks)} there are {others}"
        raise MendError(f"{words}, and the names that --network-alias gives them", rule="via_name")


class _Direct:
    """Connections from this machine, which the engine runs on."""

    def __init__(self, container, seconds):
        self._container = container
        self._seconds = seconds

    def dial(self, address, port):
        # not by getaddrinfo, which leads back into the way
        wire = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        wire.settimeout(self._seconds)
        try:
            wire.connect((address, port))
        except OSError as error:
            wire.close()
            raise MendError(self._words(error, f"{address}:{port}"), rule="via_forward") from None
        wire.settimeout(None)
        return wire

    def _words(self, error, where):
        if isinstance(error, ConnectionRefusedError):
            return (
                f"nothing listens on {where} in the network of container {self._container}: a server that listens on "
                "127.0.0.1 only is not heard outside of its container"
            )
        return (
            f"{where} in the network of container {self._container} is not reached from here ({error}). An engine in a "
            "virtual machine or without root (Docker Desktop, rootless) has networks that its host is not in: publish "
            "the port, and go there without via"
        )


def networks_of(seen):
    """Return the address of an inspected container by the name of each network, in the order of these names."""
    there = seen["NetworkSettings"]["Networks"]
    if "host" in there:
        return {"host": "127.0.0.1"}
    found = {name: there[name]["IPAddress"] or there[name]["GlobalIPv6Address"] for name in sorted(there)}
    return {name: address for name, address in found.items() if address}


def names_of(seen):
    """Return every name by which an inspected container is known in its networks."""
    names = {seen["Name"].lstrip("/"), seen["Config"]["Hostname"], seen["Id"][:12]}
    return names.union(*(there.get("Aliases") or () for there in seen["NetworkSettings"]["Networks"].values()))


def _is_address(text):
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


class _EngineOverSsh(Engine):
    """The engine of another machine, each request through a `docker system dial-stdio` there."""

    def __init__(self, bastion, docker_host, seconds):
        super().__init__(timeout_seconds=seconds)
        self.docker_host, self.is_local = docker_host, False
        self._bastion = bastion
        self._channel = None

    def _connection(self):
        self._channel = self._bastion.run("docker system dial-stdio")
        connection = http.client.HTTPConnection("docker")
        connection.connect = lambda: None
        connection.sock = _Wire(self._channel)
        return connection

    def _lost(self, error, method, path):
        said = b""
        with contextlib.suppress(OSError):
            said = self._channel.makefile_stderr("rb").read()
        if not said:
            return super()._lost(error, method, path)
        words = clean(said.decode("utf-8", "replace").strip(), 500)
        return NoEngine(
            f"`docker system dial-stdio` on the {self._bastion.name} gives no way to its engine: {words}",
            rule="docker_unreachable",
            details={"docker_host": self.docker_host},
        )


class _Wire:
    """A channel of ssh as http.client wants its socket."""

    def __init__(self, channel):
        self.sendall, self.settimeout, self.close = channel.sendall, channel.settimeout, channel.close
        self._channel = channel

    def makefile(self, mode):
        return io.BufferedReader(_Answer(self._channel))


class _Answer(io.RawIOBase):
    def __init__(self, channel):
        super().__init__()
        self._channel = channel

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self._channel.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)
