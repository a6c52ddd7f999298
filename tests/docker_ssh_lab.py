"""The host of a Docker engine as another machine sees it: an sshd in the engine's network; a plugin of tests."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from docker_lab import DockerEngine
from ssh_tree import key_pair
from waiting import until

NAME = "build1"
_NUMBERS = itertools.count()
# the machine's own /run stays as it is, and root can log in with a key whatever its password is
_SSHD = """
mount -t tmpfs tmpfs /run && mkdir /run/sshd && mount --bind "$1" /etc/shadow
exec /usr/sbin/sshd -D -e -f "$2"
"""


@dataclass
class EngineHost:
    """``via(container)`` leads into the engine's networks by ssh; ``ssh_config`` is for ``ssh -F``."""

    engine: DockerEngine
    folder: Path
    address: str

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def via(self, container: str, **options: str) -> str:
        given = {"host": f"ssh://root@{NAME}", "config": str(self.ssh_config), **options}
        return f"docker://{container}?" + "&".join(f"{name}={value}" for name, value in given.items())

    def write(self, docker_host: str) -> None:
        """Keys and configuration; who logs in is told that the engine is at ``docker_host``."""
        (host_private, host_public), (private, public) = key_pair(), key_pair()
        for name, text in {"host_key": host_private, "key": private, "authorized": public}.items():
            (self.folder / name).touch(0o600)
            (self.folder / name).write_text(text)
        (self.folder / "shadow").write_text("root:*:19000::::::\n")
        self.known_hosts.write_text(f"{self.address} {host_public}\n")
        # a shell that believes to be an inner one reads no start files
        settings = [f"ListenAddress {self.address}", f"HostKey {self.folder}/host_key", "PidFile none", "UsePAM no"]
        settings += [f"AuthorizedKeysFile {self.folder}/authorized", "StrictModes no", "UseDNS no", "MaxStartups 200"]
        settings += ["PermitRootLogin prohibit-password", f"SetEnv SHLVL=5 DOCKER_HOST={docker_host}"]
        (self.folder / "sshd_config").write_text("\n".join(settings) + "\n")
        self.ssh_config.write_text(
            f"Host {NAME}\n  HostName {self.address}\n  User root\n  IdentityFile {self.folder}/key\n"
            f"  IdentitiesOnly yes\n  UserKnownHostsFile {self.known_hosts}\n  GlobalKnownHostsFile none\n"
        )


@contextlib.contextmanager
def engine_host(engine: DockerEngine, folder: Path, docker_host: str | None = None) -> Iterator[EngineHost]:
    """Plug this machine into the engine's network, and start an sshd there."""
    with _plugged(engine) as address:
        host = EngineHost(engine, folder, address)
        host.write(docker_host or engine.docker_host)
        command = [*engine.enter, "unshare", "--mount", "sh", "-c", _SSHD, "sshd", f"{folder}/shadow"]
        with (folder / "sshd.log").open("wb") as log:
            sshd = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command, f"{folder}/sshd_config"], stdout=log, stderr=log
            )
        try:
            until(lambda: sshd.poll() is not None or _answers(address), f"sshd of {NAME} answers: {folder}/sshd.log")
            assert sshd.poll() is None, (folder / "sshd.log").read_text()
            yield host
        finally:
            sshd.kill()
            sshd.wait()


@contextlib.contextmanager
def _plugged(engine: DockerEngine) -> Iterator[str]:
    """A cable between this machine and the engine's network; the engine's address on it."""
    plug = f"md{os.getpid()}x{next(_NUMBERS)}"
    _ip("link", "add", plug, "type", "veth", "peer", "name", plug, "netns", str(engine.pid))
    try:
        # the number of an interface belongs to it alone as long as it is there
        (number,) = [link["ifindex"] for link in json.loads(_ip("-j", "link", "show", plug))]
        prefix = f"198.{18 + number // 256 % 2}.{number % 256}."
        for end, enter in (("1", []), ("2", engine.enter)):
            subprocess.run([*enter, "ip", "address", "add", f"{prefix}{end}/24", "dev", plug], check=True, timeout=60)
            subprocess.run([*enter, "ip", "link", "set", plug, "up"], check=True, timeout=60)
        yield f"{prefix}2"
    finally:
        _ip("link", "delete", plug)


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, 22), timeout=5) as wire:
        return wire.recv(4) == b"SSH-"
    return False


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(scope="module")
def engine_by_ssh(
    docker_engine: DockerEngine, can_host: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineHost]:
    """The host of the session's engine."""
    with engine_host(docker_engine, tmp_path_factory.mktemp("engine-host")) as host:
        yield host
