"""clean_disk over SSH and locally: what is gone and what is not, as find and df on the host see it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from waiting import until

pytestmark = pytest.mark.e2e
pytest_plugins = ["ssh_lab"]
MODULE = "mend_disk_reclaim"
MONTH = 30 * 86400


@pytest.fixture
def sandbox_secrets() -> dict[str, str]:
    return {}


@pytest.fixture
def inventory(host) -> Path:
    return host.lab.inventory()


class Cleaned:
    """An SSH host with logs of every age, and what its own find and df say."""

    def __init__(self, lab, name):
        self.lab = lab
        self.host = lab[name]

    def file(self, path, days=60, size=5000):
        made = self.host.root / path[1:]
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(b"x" * size)
        os.utime(made, (time.time() - days * 86400,) * 2)

    def find(self, folder="/var/log"):
        # a name that is no text would not come through
        found = self.host.run("sh", "-c", f"find {folder} -type f -printf '%P\\n' | cat -v").splitlines()
        return sorted(name for name in found if name not in ("lastlog", "wtmp", "btmp"))

    def free(self, what):
        """What df says is free below /: bytes (``avail``) or inodes (``iavail``)."""
        return int(self.host.run("df", "--block-size=1", f"--output={what}", "/").split()[-1])


@pytest.fixture
def host(ssh_hosts, request):
    lab = ssh_hosts(["web1"], **getattr(request, "param", {}))
    # every system has memory there, which a full disk leaves free
    lab["web1"].run("sh", "-c", "mkdir -p /dev/shm && mount -t tmpfs -o mode=1777 shm /dev/shm")
    return Cleaned(lab, "web1")


def test_the_playbook_removes_what_is_old_as_root_and_nothing_else(host, playbook):
    host.file("/var/log/shop/shop.log", days=1)
    host.file("/var/log/shop/shop.log.1", days=31, size=300_000)
    host.file("/var/log/shop/shop.log-20260101.gz", days=60)
    host.file("/var/log/shop/-rf.log")
    host.file("/var/log/shop/a\nb.log")
    host.file("/var/log/shop/\udcff.log")
    host.file("/var/log/syslog")
    host.file("/srv/shop.log")
    stays = ["shop/shop.log", "syslog"]
    before = host.find()

    played = playbook("clean_disk", "--check", "--diff")
    (result,) = played.of(MODULE)
    assert played.rc == 0 and result["changed"] and host.find() == before
    assert (result["plan"]["risk"], result["plan"]["totals"]["objects"]) == ("changes", 5)
    assert result["plan"]["target"]["id"] == "host:web1" and result["plan"]["target"]["facts"]["user"] == "ops"
    assert "/var/log/shop/shop.log.1" in result["plan"]["changes"][0]["object"]
    assert not (host.host.root / "run/mendbook").exists() and not played.journal()

    played = playbook("clean_disk")
    (result,) = played.of(MODULE)
    assert (played.rc, result["state"]) == (0, "done"), played.stdout
    assert host.find() == stays and host.find("/srv") == ["shop.log"]
    (disk,) = result["read_back"]["file_systems"]
    assert disk["free_bytes"] > disk["free_before_bytes"] and disk["free_inodes"] > disk["free_before_inodes"]
    (end,) = [line for line in played.journal() if line["event"] == "end"]
    assert (end["state"], len(end["done"]), end["host"]) == ("done", 5, "web1")
    # the names that could harm a terminal are shown as text
    assert {r"/var/log/shop/a\nb.log", r"/var/log/shop/\xff.log"} <= {one["object"] for one in result["done"]}

    played = playbook("clean_disk")
    assert (played.rc, played.of(MODULE)[0]["state"]) == (0, "nothing to do")


@pytest.mark.parametrize("host", [{"size": "size=24m"}], indirect=True)
def test_without_a_free_byte_it_frees_what_the_target_wants(host, playbook):
    for number in range(8):
        host.file(f"/var/log/app{number}.log", size=(number + 1) << 18)
    with (host.host.root / "tmp/ballast").open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
        while True:
            file.write(bytes(4096))
    assert host.free("avail") == 0
    played = playbook("clean_disk", variables={"disk_clean_target_free_bytes": 4 << 20})
    (result,) = played.of(MODULE)
    assert (played.rc, result["state"]) == (0, "done"), played.stdout + played.stderr
    # the largest went first, and no more than that
    assert host.find() == [f"app{number}.log" for number in range(5)]
    (disk,) = result["read_back"]["file_systems"]
    assert disk["reached"] and disk["free_before_bytes"] == 0 and host.free("avail") >= 4 << 20


@pytest.mark.parametrize("host", [{"size": "size=64m,nr_inodes=1500"}], indirect=True)
def test_without_a_free_inode_it_works(host, playbook):
    (host.host.root / "var/log/many").mkdir()
    made = []
    with pytest.raises(OSError, match="space"):
        for number in range(2000):
            host.file(f"/var/log/many/{number}.log", size=0)
            made.append(number)
    assert host.free("iavail") == 0
    played = playbook("clean_disk", variables={"disk_clean_max_share": 1})
    (result,) = played.of(MODULE)
    assert (played.rc, result["state"]) == (0, "done"), played.stdout + played.stderr
    assert host.find() == [] and host.free("iavail") >= len(made)
    assert sum(entry.get("objects", 1) for entry in result["done"]) == len(made)


def test_backups_and_open_logs_want_the_confirmation_that_the_plan_prints(host, playbook):
    for day in range(1, 11):
        host.file(f"/var/backups/shop/shop-2026-01-{day:02}.sql.gz", days=100 - day)
    host.file("/var/log/shop.log", days=0, size=1 << 20)
    backups = [{"root": "/var/backups/shop", "patterns": ["*.sql.gz"], "keep_newest": 3}]
    asked = {"disk_clean_backups": backups, "disk_clean_truncate_bytes": 1 << 20}
    writer = subprocess.Popen(
        ["nsenter", f"--target={host.host.pid}", "--mount", "--pid", "--root", "--wd", "sh", "-c",
         "exec >> /var/log/shop.log; echo; exec sleep 1000"],
    )  # fmt: skip
    try:
        # what it says first stands in the log once it has that open
        until(lambda: (host.host.root / "var/log/shop.log").stat().st_size > 1 << 20)
        played = playbook("clean_disk", variables=asked)
        (result,) = played.of(MODULE)
        assert played.rc != 0 and result["mend"]["rule"] == "confirm" and len(host.find("/var/backups/shop")) == 10
        assert "-e disk_clean_confirm=host:web1" in result["msg"]
        played = playbook("clean_disk", variables={**asked, "disk_clean_confirm": "host:web1"})
        (result,) = played.of(MODULE)
        assert (played.rc, result["state"]) == (0, "done"), played.stdout
    finally:
        writer.kill()
        writer.wait()
    assert host.find("/var/backups/shop") == [f"shop-2026-01-{day:02}.sql.gz" for day in (8, 9, 10)]
    assert (host.host.root / "var/log/shop.log").stat().st_size == 0
