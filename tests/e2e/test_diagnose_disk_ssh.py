"""diagnose_disk on hosts over SSH, as an ordinary user and as root, against what df, du and find of the host say."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
pytest_plugins = ["ssh_lab"]
MODULE = "mend_disk_info"
# every fact of all that lies there but for the time of access, which find changes, and what else is on the host
LOOK = """find /srv -printf '%p %i %m %U %s %b %n %C@ %T@\\n' | sort; df -B1 /srv; df -i /srv; cat /proc/mounts
ls -aR /run /tmp /var"""


@pytest.fixture
def sandbox_secrets() -> dict[str, str]:
    return {}


@pytest.fixture
def hosts(ssh_hosts):
    return ssh_hosts(["web1", "web2"], size="size=48m")


@pytest.fixture
def inventory(hosts) -> Path:
    return hosts.inventory()


def fill(host):
    """A disk with logs that only root may see, and with a file that is deleted and held; the holder's pid."""
    script = """mount -t tmpfs -o size=60m,mode=755 srv /srv; mkdir -p /srv/shop/open; mkdir -m 700 /srv/shop/logs
        head -c 1000000 /dev/zero >/srv/shop/open/x; head -c 3000000 /dev/zero >/srv/shop/held
        head -c 54000000 /dev/zero >/srv/shop/logs/debug.log
        sh -c 'exec 9</srv/shop/held; rm /srv/shop/held; echo $$ >/run/holder; exec sleep infinity' >/dev/null 2>&1 &
        until [ -s /run/holder ]; do sleep 0.05; done; cat /run/holder"""
    return int(host.run("sh", "-ceu", script))


def df(host):
    """What df says is used and free."""
    return tuple(int(word) for word in host.run("df", "-B1", "--output=used,avail", "/srv").split()[-2:])


def row_of(facts):
    (row,) = [one for one in facts["file_systems"] if one["mount"] == "/srv"]
    return row


def test_root_sees_what_fills_a_host_and_who_holds_what_is_deleted(hosts, playbook):
    host = hosts["web1"]
    holder = fill(host)
    variables = {"disk_info_path": "/srv", "disk_info_max_deleted_open_bytes": 1_000_000}
    before = host.run("sh", "-c", LOOK)
    played = playbook("diagnose_disk", "--limit", "web1", variables=variables)
    assert played.rc == 0, played.stdout
    (facts,) = played.of(MODULE)
    assert facts["changed"] is False and facts["target"]["id"] == "host:web1" and facts["verdict"] == "exceeded"
    assert host.run("sh", "-c", LOOK) == before
    assert (row_of(facts)["used_bytes"], row_of(facts)["free_bytes"]) == df(host)
    first = facts["largest"]["folders"][0]
    assert first["path"] == "/srv/shop/logs"
    assert first["bytes"] == int(host.run("du", "-s", "-B1", "/srv/shop/logs").split()[0])
    (held,) = [one for one in facts["deleted_open"]["largest"] if one["mount"] == "/srv"]
    assert (held["path"], held["holders"][0]["pid"]) == ("/srv/shop/held", holder) and held["bytes"] >= 3_000_000
    assert facts["deleted_open"]["is_complete"] and facts["unseen"] == []
    (engine,) = played.of("mend_docker_info")
    assert engine["present"] is False


def test_an_ordinary_user_sees_less_and_is_told_what(hosts, playbook):
    fill(hosts["web1"])
    played = playbook(
        "diagnose_disk", "--limit", "web1", variables={"disk_info_path": "/srv", "disk_info_become": False}
    )
    assert played.rc == 0, played.stdout
    (facts,) = played.of(MODULE)
    assert facts["largest"]["unseen"] == [{"path": "/srv/shop/logs", "why": "Permission denied"}]
    assert facts["largest"]["folders"][0]["path"] == "/srv/shop/open"
    assert (row_of(facts)["used_bytes"], row_of(facts)["free_bytes"]) == df(hosts["web1"])
    assert facts["deleted_open"]["unseen_processes"] > 0 and any("become" in line for line in facts["summary"])


def test_a_full_host_is_named_a_job_fails_and_an_unreachable_one_does_not_hide_it(hosts, playbook):
    full = hosts["web2"]
    # every system has memory there, which a full disk leaves free
    full.run("sh", "-c", "mkdir -p /dev/shm && mount -t tmpfs -o mode=1777 shm /dev/shm")
    full.run("sh", "-c", "mkdir /srv/logs; head -c 90000000 /dev/zero >/srv/logs/x 2>/dev/null || true")
    assert full.run("df", "-B1", "--output=avail", "/").split()[-1] == "0"
    hosts.kill("web1")
    variables = {"disk_info_fail": True, "disk_info_path": "/srv"}
    played = playbook("diagnose_disk", variables=variables)
    # without a byte left the module comes and goes all the same
    (facts,) = [one for one in played.of(MODULE) if "mend" in one]
    assert facts["mend"]["rule"] == "thresholds" and "/: 100% used" in facts["msg"]
    assert facts["mend"]["details"]["culprit"]["path"] == "/srv/logs"
    assert played.rc and "UNREACHABLE" in played.stdout
