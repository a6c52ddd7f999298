"""inventory/hosts, copied and filled in: sudo, a bastion, a full disk, and what is said of hosts that are not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import testinfra
import yaml

pytestmark = pytest.mark.e2e
pytest_plugins = ["ssh_lab"]
ROOT = Path(__file__).resolve().parents[2]
OLD = 1_000_000_000
MODULE = "mend_disk_reclaim"


def filled_in(folder: Path, lab) -> Path:
    """A copy of what is shipped with the lab's addresses, and only the lab's key and known_hosts beside it."""
    copied = shutil.copytree(ROOT / "inventory" / "hosts", folder / "inventory")
    ours = [line for line in lab.ssh_config.read_text().splitlines() if "ProxyJump" not in line]
    (folder / "ssh_config").write_text("\n".join(ours))
    addresses = {
        "web1.example.com": lab["web1"].address,
        "web2.example.com": lab["web2"].address,
        "app1.internal": lab["app1"].address,
        "bastion.example.com": lab["bastion"].address,
    }
    for path in copied.rglob("*.yml"):
        text = path.read_text()
        for old, new in addresses.items():
            text = text.replace(old, new)
        path.write_text(text)
    return copied


@pytest.fixture
def lab(ssh_hosts):
    lab = ssh_hosts(["web1", "web2", "app1"], near=["web1", "web2"], behind="bastion", size="size=64m")
    for name in ("web1", "web2", "app1"):
        old_log(lab, name)
    return lab


def old_log(lab, name):
    path = lab[name].root / "var/log/shop.log"
    path.write_bytes(b"x" * 60_000_000)
    path.chmod(0o600)
    os.utime(path, (OLD, OLD))


def has_log(lab, name) -> bool:
    """As testinfra sees it over ssh, as root."""
    host = testinfra.get_host(f"ssh://{name}", ssh_config=str(lab.ssh_config), sudo=True)
    return host.file("/var/log/shop.log").exists


@pytest.fixture
def inventory(lab, tmp_path) -> Path:
    return filled_in(tmp_path, lab)


@pytest.fixture
def sandbox_secrets(tmp_path) -> dict[str, str]:
    # both for the host and for the bastion that ProxyJump starts a client for
    return {"ANSIBLE_SSH_ARGS": f"-F {tmp_path / 'ssh_config'}"}


def mendbook_run(inventory, state, *arguments, **environment):
    command = [sys.executable, "-m", "mendbook", "run", "clean_disk", "-i", str(inventory), *arguments]
    environment = os.environ | {"MENDBOOK_STATE": str(state)} | environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    return done.returncode, done.stdout + done.stderr


def test_hosts_are_cleaned_as_root_and_the_one_behind_the_bastion_too(lab, playbook):
    played = playbook("clean_disk")
    assert played.rc == 0, played.stdout + played.stderr
    assert [result["plan"]["target"]["id"] for result in played.of(MODULE)] == ["host:web1", "host:web2", "host:app1"]
    assert [has_log(lab, name) for name in lab.names] == [False] * 3


def test_without_pipelining_a_full_disk_is_cleaned_from_memory(lab, inventory, playbook):
    path = inventory / "group_vars" / "all.yml"
    shown = [line for line in path.read_text().splitlines() if line.startswith("# ansible_remote_tmp: ")]
    path.write_text(path.read_text().replace(shown[0], shown[0].removeprefix("# ")))
    memory = yaml.safe_load(path.read_text())["ansible_remote_tmp"].rpartition("/")[0]
    ready = f"mkdir -p {memory} /dev/shm; mount -t tmpfs -o mode=700,uid=1000 run {memory}; mount -t tmpfs shm /dev/shm"
    lab["web1"].run("sh", "-c", f"{ready}; chmod 1777 /dev/shm; cat /dev/zero > /ballast", check=False)
    assert lab["web1"].run("df", "--output=avail", "/").split()[-1] == "0"
    without = {"ANSIBLE_PIPELINING": "false", "ANSIBLE_SSH_TRANSFER_METHOD": "piped"}
    played = playbook("clean_disk", "--limit", "web1", env=without)
    assert played.rc == 0 and not has_log(lab, "web1"), played.stdout + played.stderr
    assert lab["web1"].run("find", memory, "-type", "f") == ""
    path.write_text(path.read_text().replace("ansible_remote_tmp", "# ansible_remote_tmp"))
    lab["web1"].run("sh", "-c", "cat /dev/zero > /ballast2", check=False)
    played = playbook("clean_disk", "--limit", "web1", env=without)
    assert played.rc == 2, "or this test shows nothing"
    assert "No space left on device" in played.stdout, played.stdout


def test_a_canary_that_is_refused_stops_the_run_before_the_others(lab, inventory, state, tmp_path):
    (inventory / "host_vars").mkdir()
    (inventory / "host_vars" / "web1.yml").write_text("mend_hold: evidence for ticket 7\n")
    code, words = mendbook_run(inventory, state, ANSIBLE_SSH_ARGS=f"-F {tmp_path / 'ssh_config'}")
    assert code == 6 and "ticket 7" in words, words
    assert [has_log(lab, name) for name in lab.names] == [True] * 3


def test_the_third_of_five_is_not_there_and_the_others_are_done(ssh_hosts, state):
    names = [f"web{number}" for number in range(1, 6)]
    lab = ssh_hosts(names)
    for name in names:
        old_log(lab, name)
    lab.kill("web3")
    code, words = mendbook_run(lab.inventory(), state)
    assert code == 4, words
    (said,) = [line for line in words.splitlines() if "web3" in line and "unreachable" in line.lower()][:1]
    assert said
    assert [has_log(lab, name) for name in names if name != "web3"] == [False] * 4
