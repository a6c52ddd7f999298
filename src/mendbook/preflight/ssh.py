# SPDX-License-Identifier: MIT
"""Connections to hosts by paramiko, along the route that OpenSSH would take; every error is told apart."""

from __future__ import annotations

import logging
import shlex
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import paramiko  # type: ignore[import-untyped]

from mendbook.preflight.reach import Deadline, Stopped, tcp
from mendbook.preflight.ssh_route import Hop

# what paramiko's threads complain of comes back as an exception, too
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False
_PROHIBITED = 1


class _Unknown(paramiko.SSHException):  # type: ignore[misc]
    """The server's key is not in known_hosts."""

    def __init__(self, key: paramiko.PKey) -> None:
        super().__init__("unknown")
        self.key = key


class _Refuse(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise _Unknown(key)


class _Accept(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """The inventory says to take any; nothing is written down."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        return None


class Connections:
    """Opens connections; a bastion is logged in to once, however many hosts are behind it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._known: dict[str, tuple[paramiko.HostKeys, str]] = {}
        self._bastions: dict[tuple[Hop, ...], _Bastion] = {}

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *_: object) -> None:
        for bastion in self._bastions.values():
            bastion.close()

    def open(self, hops: Sequence[Hop], password: str | None, deadline: Deadline) -> paramiko.SSHClient:
        """A client that is logged in at the last of the hops, or Stopped."""
        client = paramiko.SSHClient()
        self._prepare(client, hops[-1])
        return self._login(client, hops[-1], password, tuple(hops[:-1]), deadline)

    def enter(self, hops: Sequence[Hop]) -> None:
        """Be logged in at the last of the hops, or Stopped."""
        self._bastion(tuple(hops)).transport()

    def channel(self, hops: Sequence[Hop], host: str, port: int, deadline: Deadline) -> paramiko.Channel:
        """A TCP connection from the last of the hops to ``host``, a name that is looked up there."""
        where, over = f"{host}:{port}", hops[-1].where
        transport = self._bastion(tuple(hops)).transport()
        try:
            return transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=deadline.left())
        except paramiko.ChannelException as error:
            if error.code == _PROHIBITED:
                text = f"{over} forwards no connections: AllowTcpForwarding and PermitOpen in its sshd_config"
                raise Stopped("session", where, text) from None
            # sshd tells no more than that it failed
            text = f"{over} cannot reach {where} ({error.text}): nothing listens there, or it does not know the name"
            raise Stopped("network", where, text) from None
        except (paramiko.SSHException, OSError, EOFError):
            raise Stopped("no answer", where, f"{over} got no answer from {where} in time") from None

    def _bastion(self, hops: tuple[Hop, ...]) -> _Bastion:
        with self._lock:
            found = self._bastions.setdefault(hops, _Bastion())
        # the first who comes logs in, the others wait for the same answer
        found.login(lambda: self.open(hops, None, Deadline.after(self._seconds)))
        return found

    def _prepare(self, client: paramiko.SSHClient, hop: Hop) -> None:
        trusting = hop.accepts in ("no", "off", "false")
        client.set_missing_host_key_policy(_Accept() if trusting or hop.accepts == "accept-new" else _Refuse())
        if trusting:
            return
        keys = client.get_host_keys()
        for name in hop.known_hosts:
            for kind, key in (self._host_keys(name)[0].lookup(hop.known_as) or {}).items():
                keys.add(hop.known_as, kind, key)

    def _host_keys(self, name: str) -> tuple[paramiko.HostKeys, str]:
        """The keys of a known_hosts file and its text, read once."""
        with self._lock:
            if name not in self._known:
                keys, path, text = paramiko.HostKeys(), Path(name), ""
                if path.is_file():
                    keys.load(name)
                    text = path.read_text(encoding="utf-8", errors="replace")
                self._known[name] = keys, text
            return self._known[name]

    def _login(
        self, client: paramiko.SSHClient, hop: Hop, password: str | None, before: tuple[Hop, ...], deadline: Deadline
    ) -> paramiko.SSHClient:
        if hop.proxy_command:
            sock = paramiko.ProxyCommand(f"/bin/sh -c {shlex.quote('exec ' + hop.proxy_command)}")
        elif before:
            sock = self.channel(before, hop.host, hop.port, deadline)
        else:
            sock = tcp(hop.host, hop.port, deadline)
        where = hop.where
        try:
            client.connect(
                hop.alias or hop.host,
                port=22 if hop.alias else hop.port,
                username=hop.user,
                password=password,
                key_filename=list(hop.keys),
                allow_agent=hop.agent,
                look_for_keys=False,
                sock=sock,
                timeout=deadline.left(),
                banner_timeout=deadline.left(),
                auth_timeout=deadline.left(),
                channel_timeout=deadline.left(),
            )
            return client
        except _Unknown as error:
            raise self._unknown(hop, error.key) from None
        except paramiko.BadHostKeyException as error:
            shown, known = error.key.fingerprint, error.expected_key.fingerprint
            text = f"shows another host key than the known one: {shown} ({error.key.get_name()}), known is {known}"
            raise Stopped("key changed", where, text, command=_look(hop)) from None
        except paramiko.PasswordRequiredException:
            text = f"login refused: the key is locked by a passphrase and no agent holds it: {', '.join(hop.keys)}"
            raise Stopped("login", where, text, command=f"ssh-add {shlex.join(hop.keys)}") from None
        except paramiko.BadAuthenticationType as error:
            text = f"login refused: the server takes {', '.join(error.allowed_types)}; {_tried(hop, password)}"
            raise Stopped("login", where, text) from None
        except paramiko.AuthenticationException as error:
            timed = "no answer" if "timeout" in str(error).lower() else "login"
            raise Stopped(timed, where, f"login refused: {_tried(hop, password)}") from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            words = str(error) or type(error).__name__
            if "No authentication methods" in words:
                raise Stopped("login", where, f"nothing to log in with: {_tried(hop, password)}") from None
            if isinstance(error, paramiko.ProxyCommandFailure):
                text = f"the ProxyCommand did not get there: {hop.proxy_command}"
                raise Stopped("no answer", where, text, command=hop.proxy_command) from None
            raise Stopped("no answer", where, f"the port is open, and no ssh server answers in time: {words}") from None
        finally:
            transport = client.get_transport()
            if transport is None or not transport.is_authenticated():
                client.close()
                sock.close()

    def _unknown(self, hop: Hop, key: paramiko.PKey) -> Stopped:
        texts = [self._host_keys(name)[1] for name in hop.known_hosts]
        if any(
            line.startswith("@revoked") and key.get_base64() in line for text in texts for line in text.splitlines()
        ):
            return Stopped("key revoked", hop.where, f"the host key {key.fingerprint} is marked as @revoked")
        if any("@cert-authority" in text for text in texts):
            text = (
                f"the host key {key.fingerprint} is not known by itself; @cert-authority lines are not understood here"
            )
            return Stopped("key not checked", hop.where, text)
        text = f"the host key is not known: {key.fingerprint} ({key.get_name()})"
        return Stopped("key unknown", hop.where, text, command=_look(hop))


class _Bastion:
    """One login that many share, or the reason why there is none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: paramiko.SSHClient | None = None
        self._stopped: Stopped | None = None

    def login(self, how: Callable[[], paramiko.SSHClient]) -> None:
        with self._lock:
            if self._client is None and self._stopped is None:
                try:
                    self._client = how()
                except Stopped as stopped:
                    stopped.at_bastion = True
                    self._stopped = stopped

    def transport(self) -> paramiko.Transport:
        if self._stopped is not None or self._client is None:
            raise self._stopped or EOFError
        transport = self._client.get_transport()
        assert transport is not None  # noqa: S101 - it is logged in
        return transport

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _look(hop: Hop) -> str:
    """What is known of the host here."""
    files = [name for name in hop.known_hosts if Path(name).is_file()] or list(hop.known_hosts[:1])
    return "; ".join(f"ssh-keygen -l -F {shlex.quote(hop.known_as)} -f {shlex.quote(name)}" for name in files[:1])


def _tried(hop: Hop, password: str | None) -> str:
    tried = [*(f"key {name}" for name in hop.keys)]
    tried += ["keys of the agent"] if hop.agent else []
    tried += ["the password of the inventory"] if password else []
    return "tried " + ", ".join(tried) if tried else "no key, agent or password is given"
