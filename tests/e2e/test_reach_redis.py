"""A Redis cluster that only a bastion sees: each node by the address that it announces there, through a real sshd."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading

import pytest

pytestmark = pytest.mark.e2e
pytest_plugins = ["ssh_lab", "redis_lab"]
_SERVERS = """
import json, sys
import mendbook.sandbox
from mendbook.sandbox.services.redis import Service

with mendbook.sandbox.start([Service(cluster=True)]) as box:
    print(json.dumps(box.status()["redis"]), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def behind(ssh_hosts):
    """A bastion and, on its own loopback, a cluster: ``(via, facts)``."""
    with contextlib.ExitStack() as stack:
        hosts = ssh_hosts(["bastion"])
        servers = subprocess.Popen(
            [*hosts["bastion"].in_network, sys.executable, "-c", _SERVERS],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        stack.callback(servers.wait)
        stack.enter_context(servers.stdout)
        stack.enter_context(servers.stdin)
        yield f"ssh://bastion?config={hosts.ssh_config}", json.loads(servers.stdout.readline())


def test_every_node_of_a_cluster_is_found_through_the_bastion(behind, redis_look):
    via, facts = behind
    threads = set(threading.enumerate())
    seen = redis_look(facts["uri"], via=via)
    assert seen["rc"] == 0, seen
    assert {node["address"] for node in seen["nodes"]} == {f"127.0.0.1:{port}" for port in facts["ports"]}
    assert seen["cluster"]["covered_slots"] == 16384 and not any(node["error"] for node in seen["nodes"])
    # the way there is gone with the run, and without it nothing answers here
    assert set(threading.enumerate()) <= threads
    # whoever else has this port on this machine does not know the password
    alone = redis_look(facts["uri"])
    assert alone["rc"] == 1 and not alone.get("nodes"), alone
    wrong = redis_look(facts["uri"].replace(facts["password"], "canary"), via=via)
    assert wrong["mend"]["rule"] == "redis_authentication" and "canary" not in json.dumps(wrong)
    nobody = redis_look("redis://:canary@127.0.0.1:9", via=via)
    assert (nobody["mend"]["rule"], nobody["mend"]["details"]["stage"]) == ("via_forward", "via")
