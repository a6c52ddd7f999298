"""Which network, which address and which words, from what an engine says of its containers."""

from __future__ import annotations

import socket

import pytest
from ansible.module_utils.mendbook import reach, reach_docker
from ansible.module_utils.mendbook.docker_errors import ApiError
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.reach_docker import names_of, networks_of


def inspected(name, networks, mode="default", status="running", extra=None):
    """What the engine says of a container; ``networks`` is ``{name: (address, IPv6 address, aliases)}``."""
    there = {
        network: {"IPAddress": address, "GlobalIPv6Address": six, "Aliases": aliases}
        for network, (address, six, aliases) in networks.items()
    }
    return {
        "Id": f"{name:0<64}",
        "Name": f"/{name}",
        "Config": {"Hostname": f"{name}-host"},
        "State": {"Status": status},
        "HostConfig": {"NetworkMode": mode, "ExtraHosts": extra},
        "NetworkSettings": {"Networks": there},
    }


class Engine:
    """An engine with these containers; networks whose name says so are macvlan."""

    def __init__(self, *containers):
        self.containers = {container["Name"][1:]: container for container in containers}

    def get(self, path, **query):
        _, kind, name, *_ = path.split("/")
        if kind == "networks":
            return {"Driver": name if name == "macvlan" else "bridge"}
        if name == "json":
            return [{"Id": each["Id"], "Names": [each["Name"]]} for each in self.containers.values()]
        for each in self.containers.values():
            if name in (each["Id"], each["Name"][1:]):
                if each["State"]["Status"] != "vanishing":
                    return each
        raise ApiError(404, "No such container", path)


@pytest.fixture
def way(monkeypatch):
    """``way(engine, "docker://web", "db")`` is the address that is connected to."""

    def found(engine, via, host, port=5432):
        ends = []

        class Direct:
            def __init__(self, container, seconds):
                pass

            def dial(self, *end):
                ends.append(end)
                raise MendError("seen", rule="seen")

        monkeypatch.setattr(reach_docker, "Engine", lambda docker_host, seconds: engine)
        monkeypatch.setattr(reach_docker, "_Direct", Direct)
        monkeypatch.delenv("DOCKER_HOST", raising=False)
        with pytest.raises(MendError) as failed, reach.route(via, 5):
            with socket.create_connection((host, port), timeout=30) as wire:
                assert wire.recv(1) == b""
            raise MendError("closed")
        assert failed.value.rule == "seen", failed.value.msg
        return ends[0][0]

    return found


def failure(monkeypatch, engine, via):
    monkeypatch.setattr(reach_docker, "Engine", lambda docker_host, seconds: engine)
    with pytest.raises(MendError) as failed, reach.route(via, 5):
        raise AssertionError("it was opened")
    return f"{failed.value.rule}: {failed.value.msg}"


WEB = inspected(
    "web", {"b": ("10.0.2.2", "", ["web.b"]), "a": ("10.0.1.2", "", None)}, extra=["old:192.0.2.1", "gw:no"]
)
DB = inspected("db", {"b": ("10.0.2.3", "", ["db.shop"])})


@pytest.mark.parametrize(
    ("via", "host", "address"),
    [
        ("docker://web", "localhost", "10.0.1.2"),
        ("docker://web?network=b", "localhost", "10.0.2.2"),
        ("docker://web", "127.0.0.53", "10.0.1.2"),
        ("docker://web", "::1", "10.0.1.2"),
        ("docker://web", "web", "10.0.1.2"),
        ("docker://web", "web-host", "10.0.1.2"),
        ("docker://web", "web.b", "10.0.1.2"),
        ("docker://web", "web000000000", "10.0.1.2"),
        ("docker://web", "db", "10.0.2.3"),
        ("docker://web", "db.shop", "10.0.2.3"),
        ("docker://web", "10.0.9.9", "10.0.9.9"),
        ("docker://web", "old", "192.0.2.1"),
    ],
)
def test_a_host_is_what_the_networks_of_the_container_call_so(way, via, host, address):
    assert way(Engine(WEB, DB), via, host) == address


def test_the_first_network_counts_that_the_engines_host_is_in(way):
    web = inspected("web", {"macvlan": ("10.0.0.2", "", None), "zone": ("10.0.3.2", "", None)})
    assert way(Engine(web), "docker://web", "localhost") == "10.0.3.2"


def test_a_container_that_shares_a_network_is_found_in_it(way):
    side = inspected("side", {}, mode=f"container:{WEB['Id']}")
    assert way(Engine(WEB, DB, side), "docker://side", "db.shop") == "10.0.2.3"
    assert way(Engine(WEB, DB, side), "docker://side", "side") == "10.0.1.2"


def test_a_neighbour_that_is_removed_just_now_is_passed_over(way):
    going = inspected("going", {"b": ("10.0.2.9", "", ["db.shop"])}, status="vanishing")
    assert way(Engine(WEB, going, DB), "docker://web", "db.shop") == "10.0.2.3"


def test_where_there_is_only_ipv6_it_is_used():
    assert networks_of(inspected("six", {"b": ("", "fd00::2", None), "down": ("", "", None)})) == {"b": "fd00::2"}


def test_the_network_of_the_host_is_the_hosts_own():
    assert networks_of(inspected("web", {"host": ("", "", None)})) == {"host": "127.0.0.1"}


def test_every_name_of_a_container_is_known():
    assert names_of(WEB) == {"web", "web-host", "web.b", "web000000000"}


@pytest.mark.parametrize(
    ("via", "words"),
    [
        ("docker://", "via: via must be like docker://container"),
        ("docker://web/db", "via: via must be like docker://container"),
        ("docker://web?newtork=b", "via: via must be like docker://container"),
        ("docker://web?host=tcp://build1:2376", "via: via: the networks of the engine at tcp://build1:2376 are not"),
        ("docker://web?host=build1", "via: via: the networks of the engine at build1 are not reached from here"),
        ("docker://nobody", "via_container: container nobody: there is none of this name"),
        ("docker://web?network=c", "via_network: container web is not in network c, but in: a, b"),
        ("docker://web?network=none", "via_network: container web is not in network none, but in: a, b"),
        ("docker://alone", "via_network: container alone has no network"),
        ("docker://outside", "via_network: container outside is only in macvlan (macvlan or ipvlan)"),
        ("docker://over", "via_container_state: container over is exited"),
    ],
)
def test_what_cannot_be_opened_is_said_at_once(monkeypatch, via, words):
    engine = Engine(
        WEB,
        inspected("alone", {"none": ("", "", None)}, mode="none"),
        inspected("outside", {"macvlan": ("10.0.0.2", "", None)}),
        inspected("over", {}, status="exited"),
    )
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert failure(monkeypatch, engine, via).startswith(words)
