"""`mendbook preflight` on many hosts at once: one that is gone holds nobody."""

from __future__ import annotations

import pytest

from preflight_lab import preflight
from ssh_lab import SshHosts

pytestmark = pytest.mark.e2e
pytest_plugins = ["ssh_lab"]


def test_of_five_hosts_the_third_is_gone_and_the_others_answer(ssh_hosts):
    lab = ssh_hosts([f"web{number}" for number in range(1, 6)])
    inventory = lab.inventory(ansible_become=True)
    lab.cut("web3")
    done = preflight("-i", inventory, "--timeout", "30s", "--json")
    assert done.code == 4
    assert [name for name, host in done.hosts.items() if host["findings"]] == ["web3"]
    assert all(host["facts"] for name, host in done.hosts.items() if name != "web3")
    lab.heal("web3")
    assert preflight("-i", inventory, "--timeout", "60s", "--json").code == 0


def test_sixty_hosts_are_looked_at_side_by_side(can_host, tmp_path):
    names = [f"host{number}" for number in range(60)]
    with SshHosts(tmp_path / "lab", names, size="size=8m") as lab:
        # on a machine that carries all sixty hosts at once, none may be late
        done = preflight("-i", lab.inventory(ansible_become=True), "--timeout", "150s", "--json")
    assert done.code == 0, done.stdout
    assert sorted(done.hosts) == sorted(names)
    # one after another would take the sum
    assert done.record["seconds"] < sum(host["seconds"] for host in done.hosts.values()) / 4
