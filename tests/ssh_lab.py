"""SSH hosts on this machine: each a network, a process space and a root file system of its own; a plugin of tests.

Nothing of a lab has a name outside: its mounts, networks and processes live in namespaces that end with the process
that started them, however that ends. Start a lab from the main thread: Linux ends children with the thread.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from requirement import missing
from ssh_network import ENDS_WITH_US, Networks, in_network
from ssh_tree import HOST_KEY, USER, host_tree, key_pair
from waiting import until

_NUMBERS = itertools.count()
# a network for documentation, that no machine has
_BEHIND = "192.0.2."
_HOST = """set -eu
name=$1 root=$2 size=$3; shift 3
mount -t tmpfs -o "mode=755,$size" "$name" "$root"
tar -x -C "$root"
mount --bind -o ro /usr "$root/usr"
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
echo "$name" > /proc/sys/kernel/hostname
ip link set lo up
while [ $# -gt 0 ]; do
    ip link add "$2" type veth peer name "$name" netns "$1"
    nsenter --net="/proc/$1/ns/net" ip link set "$name" master switch up
    ip address add "$3" dev "$2"
    ip link set "$2" up
    [ -z "$4" ] || ip route add default via "$4"
    shift 4
done
exec unshare --pid --fork --kill-child --root="$root" --mount-proc=/proc /usr/sbin/sshd -D -e -f /etc/ssh/lab_config
"""


@dataclass
class SshHost:
    """One host. ``pid`` is its first process and ``root`` its file system, both as this machine sees them."""

    name: str
    address: str
    host_key: str
    process: subprocess.Popen[bytes]
    switch: int
    port: int = 22
    pid: int = 0

    @property
    def root(self) -> Path:
        return Path(f"/proc/{self.pid}/root")

    @property
    def in_network(self) -> list[str]:
        """What stands before a command of this machine that shall run in the host's network only."""
        return [*ENDS_WITH_US, "nsenter", f"--net=/proc/{self.pid}/ns/net"]

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in the host, past sshd; its output. For looking at what mendbook did."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        done = subprocess.run([*enter, *command], capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"{command} on {self.name}: {done.returncode}: {done.stderr}"
        return done.stdout


@dataclass
class SshHosts:
    """Hosts of these names; with ``behind`` that one, too, and the others are reached by nobody else, save ``near``.

    ``size`` are the mount options of each root file system (``size=64m,nr_inodes=2k``), ``aliases`` more names that the
    hosts know: ``{"db.inside": "127.0.0.1"}``.
    """

    folder: Path
    names: Sequence[str]
    behind: str | None = None
    near: Sequence[str] = ()
    size: str = "size=512m"
    aliases: Mapping[str, str] = field(default_factory=dict)
    user: str = USER
    hosts: dict[str, SshHost] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        self._networks = Networks()

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """For ``ssh -F``: every host by its name and by its address, through the bastion if need be."""
        return self.folder / "ssh_config"

    def __getitem__(self, name: str) -> SshHost:
        return self.hosts[name]

    def __enter__(self) -> SshHosts:
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self._start()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        private, self._authorized = key_pair()
        _write_private(self.key, private)
        front = self._networks.new()
        back = self._networks.new() if self.behind else front
        prefix = self._networks.join_this_machine(front)
        far = [name for name in self.names if name not in self.near] if self.behind else []
        near = [name for name in (self.behind, *self.names) if name and name not in far]
        addresses = {name: f"{prefix}{number}" for number, name in enumerate(near, 10)}
        addresses |= {name: f"{_BEHIND}{number}" for number, name in enumerate(far, 10)}
        names = {"localhost": "127.0.0.1", **addresses, **self.aliases}
        known = "".join(f"{address} {name}\n" for name, address in names.items())
        for name, address in addresses.items():
            plugs = [str(front), "eth0", f"{address}/24", f"{prefix}1"]
            if name in far:
                plugs = [str(back), "eth0", f"{address}/24", f"{_BEHIND}1"]
            elif name == self.behind:
                plugs += [str(back), "eth1", f"{_BEHIND}1/24", ""]
            self._start_host(name, address, known, plugs)
        self._wait_until_ready()
        self._write_files()

    def _start_host(self, name: str, address: str, known: str, plugs: list[str]) -> None:
        private, public = key_pair()
        root = self.folder / f"root-{name}"
        root.mkdir()
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*ENDS_WITH_US, "unshare", "--net", "--mount", "--uts", "--ipc", "sh", "-c", _HOST, "sh",
                 name, str(root), self.size, *plugs],
                stdin=subprocess.PIPE, stdout=log, stderr=log,
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            )  # fmt: skip
        self.hosts[name] = SshHost(name, address, public, process, int(plugs[0]))
        assert process.stdin
        with contextlib.suppress(BrokenPipeError), process.stdin as tree:  # it ended early: the wait says why
            tree.write(host_tree(name, known, self._authorized, private))

    def _wait_until_ready(self) -> None:
        for host in self.hosts.values():
            until(lambda host=host: self._is_ready(host), f"{host.name} is up: {self.folder / host.name}.log")

    def _is_ready(self, host: SshHost) -> bool:
        log = self.folder / f"{host.name}.log"
        assert host.process.poll() is None, f"{host.name} ended while it was started: {log.read_text()}"
        # the shell that makes the host has other children before; one that is over is not to be looked at
        with contextlib.suppress(OSError):
            for child in Path(f"/proc/{host.process.pid}/task/{host.process.pid}/children").read_text().split():
                root = Path(f"/proc/{child}/root")
                # written after sshd listens; who is not yet in its own root has this machine's
                if not os.path.samefile(root, "/") and (root / "run" / "sshd.pid").exists():
                    host.pid = int(child)
        return host.pid > 0

    def _write_files(self) -> None:
        hosts = self.hosts.values()
        self.known_hosts.write_text("".join(f"{host.name},{host.address} {host.host_key}\n" for host in hosts))
        text = "".join(
            f"Host {host.name} {host.address}\n  HostName {host.address}\n"
            + (f"  ProxyJump {self.behind}\n" if host.address.startswith(_BEHIND) else "")
            for host in hosts
        )
        text += f"Host *\n  User {self.user}\n  IdentityFile {self.key}\n  IdentitiesOnly yes\n"
        text += f"  UserKnownHostsFile {self.known_hosts}\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n"
        self.ssh_config.write_text(text)

    def inventory(self, **variables: Any) -> Path:
        """The path of an inventory whose group ``hosts`` holds the hosts, as their user ``ops``."""
        entries = {name: {"ansible_host": self.hosts[name].address} for name in self.names}
        group = {
            "ansible_user": self.user,
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": f"-F {self.ssh_config}",
            **variables,
        }
        path = self.folder / "inventory.yml"
        path.write_text(yaml.safe_dump({"hosts": {"hosts": entries, "vars": group}}))
        return path

    def cut(self, name: str) -> None:
        """Pull the host's cable: nothing that is sent to it or by it arrives, and nobody is told."""
        in_network(self.hosts[name].switch, "ip", "link", "set", name, "down")

    def heal(self, name: str) -> None:
        in_network(self.hosts[name].switch, "ip", "link", "set", name, "up")

    def kill(self, name: str) -> None:
        """End every process of the host at once."""
        os.kill(self.hosts[name].pid, signal.SIGKILL)
        self.hosts[name].process.wait()

    def new_host_key(self, name: str) -> None:
        """Let the host show another key than the one in ``known_hosts``."""
        host = self.hosts[name]
        private, host.host_key = key_pair()
        (host.root / HOST_KEY[1:]).write_text(private)
        os.kill(host.pid, signal.SIGHUP)
        until(lambda: _shown_key(self, host) == host.host_key, f"{name} shows its new key")

    def close(self) -> None:
        """End the hosts first and their network last, so that clients are told."""
        for host in self.hosts.values():
            with contextlib.suppress(subprocess.CalledProcessError):
                self.heal(host.name)
            if host.process.poll() is None:
                os.kill(host.pid or host.process.pid, signal.SIGKILL)
        for host in self.hosts.values():
            host.process.wait()
        self._networks.close()


def _shown_key(lab: SshHosts, host: SshHost) -> str | None:
    command = [*host.in_network, "ssh-keyscan", "-t", "ed25519", host.address]
    words = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.split()
    return " ".join(words[1:3]) if words else None


def _write_private(path: Path, text: str) -> None:
    path.touch(0o600)
    path.write_text(text)


@pytest.fixture(scope="session")
def can_host() -> None:
    """Skip where this machine cannot start SSH hosts; fail in CI."""
    lacking = [program for program in ("sshd", "sudo", "ip", "setpriv", "nsenter") if not _program(program)]
    if os.geteuid() != 0 or lacking:
        missing(f"SSH hosts need root and {', '.join(lacking) or 'nothing else'}: apt-get install openssh-server sudo")


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@pytest.fixture
def ssh_hosts(can_host: None, tmp_path: Path) -> Iterator[Callable[..., SshHosts]]:
    """``ssh_hosts(["web1", "web2"], behind="bastion")`` starts hosts that end with the test."""
    with contextlib.ExitStack() as labs:

        def start(names: Sequence[str] = ("web1",), **options: Any) -> SshHosts:
            return labs.enter_context(SshHosts(tmp_path / f"ssh{next(_NUMBERS)}", names, **options))

        yield start
