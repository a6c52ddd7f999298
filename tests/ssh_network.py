"""The networks of SSH hosts: bridges in namespaces without a name, and this machine plugged into one of them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess

ENDS_WITH_US = ["setpriv", "--pdeathsig", "KILL"]
_NUMBERS = itertools.count()
_BRIDGE = "ip link add switch type bridge && ip link set switch up && echo && exec sleep infinity"


class Networks:
    """Each is kept by a process, whose pid is its name; with that process it is gone."""

    def __init__(self) -> None:
        self._keepers: list[subprocess.Popen[bytes]] = []
        self._plug = ""

    def new(self) -> int:
        """A network with nothing but a bridge in it, called switch."""
        keeper = subprocess.Popen([*ENDS_WITH_US, "unshare", "--net", "sh", "-c", _BRIDGE], stdout=subprocess.PIPE)
        self._keepers.append(keeper)
        assert keeper.stdout and keeper.stdout.readline() == b"\n", "this machine makes no network namespaces"
        return keeper.pid

    def join_this_machine(self, network: int) -> str:
        """Plug this machine in; the first three numbers of the network's addresses, ours ends with 1.

        198.18.0.0/15 is for benchmarks, so no machine has it.
        """
        plug = f"mb{os.getpid()}x{next(_NUMBERS)}"
        _ip("link", "add", plug, "type", "veth", "peer", "name", "uplink", "netns", str(network))
        self._plug = plug
        in_network(network, "ip", "link", "set", "uplink", "master", "switch", "up")
        # the number of an interface belongs to it alone as long as it is there
        (number,) = [link["ifindex"] for link in json.loads(_ip("-j", "link", "show", plug))]
        prefix = f"198.{18 + number // 256 % 2}.{number % 256}."
        _ip("address", "add", f"{prefix}1/24", "dev", plug)
        _ip("link", "set", plug, "up")
        return prefix

    def close(self) -> None:
        if self._plug:
            _ip("link", "delete", self._plug)
        for keeper in self._keepers:
            keeper.kill()
            keeper.communicate()


def in_network(pid: int, *command: str) -> None:
    """Run a command of this machine in the network of a process."""
    enter = ["nsenter", f"--net=/proc/{pid}/ns/net", *command]
    subprocess.run(enter, check=True, capture_output=True, timeout=60)


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout
