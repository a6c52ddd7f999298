"""`mendbook preflight` goes the way that Ansible's ssh would go: bastions, settings files, options of the inventory."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from local_inventory import local_inventory
from preflight_lab import preflight
from ssh_lab import SshHosts
from waiting import until

pytestmark = pytest.mark.e2e
pytest_plugins = ["ssh_lab"]
TIMEOUT = ("--timeout", "60s", "--json")


@pytest.fixture(scope="module")
def behind(can_host, tmp_path_factory):
    """Two hosts that only a bastion reaches."""
    with SshHosts(tmp_path_factory.mktemp("behind"), ["app1", "app2"], behind="bastion") as lab:
        yield lab


def test_hosts_behind_a_bastion_are_reached_through_it(behind):
    log = behind.folder / "bastion.log"
    before = log.read_text().count("Accepted publickey")
    done = preflight("-i", behind.inventory(ansible_become=True), *TIMEOUT)
    assert (done.code, sorted(done.hosts)) == (0, ["app1", "app2"])
    # many hosts, one login at the bastion
    assert log.read_text().count("Accepted publickey") == before + 1


def test_without_the_bastion_they_are_unreachable(behind):
    inventory = behind.inventory(ansible_ssh_common_args=f"-F {behind.ssh_config} -o ProxyJump=none")
    done = preflight("-i", inventory, "--limit", "app1", "--timeout", "6s", "--json")
    assert (done.code, done.found("app1")) == (4, [("unreachable", "tcp")])


def test_a_bastion_by_proxy_command_is_the_ssh_of_this_machine(behind):
    jump = f"-o ProxyJump=none -o ProxyCommand='ssh -F {behind.ssh_config} -W %h:%p bastion'"
    inventory = behind.inventory(ansible_ssh_common_args=f"-F {behind.ssh_config} {jump}")
    assert preflight("-i", inventory, "--limit", "app1", *TIMEOUT).code == 0


def test_a_jump_in_the_inventory_is_taken_like_one_in_the_settings(behind):
    text = behind.ssh_config.read_text()
    plain = behind.folder / "plain_config"
    plain.write_text("".join(line for line in text.splitlines(keepends=True) if "ProxyJump" not in line))
    inventory = behind.inventory(ansible_ssh_common_args=f"-F {plain} -J ops@bastion:22")
    assert preflight("-i", inventory, "--limit", "app1", *TIMEOUT).code == 0


def test_what_is_wrong_at_the_bastion_is_said_of_the_bastion(behind):
    known = behind.known_hosts.read_text()
    behind.known_hosts.write_text("".join(x for x in known.splitlines(keepends=True) if not x.startswith("bastion")))
    try:
        done = preflight("-i", behind.inventory(), *TIMEOUT)
    finally:
        behind.known_hosts.write_text(known)
    assert (done.code, done.found("app1"), done.found("app2")) == (
        2,
        [("problem", "bastion")],
        [("problem", "bastion")],
    )
    assert "at the bastion ops@198." in done.words("app1") and "the host key is not known" in done.words("app1")


def test_a_bastion_that_forwards_nothing_is_told_from_a_port_that_is_closed(can_host, tmp_path):
    with SshHosts(tmp_path / "lab", ["app1"], behind="bastion") as lab:
        inventory = lab.inventory(ansible_port=2)
        closed = preflight("-i", inventory, *TIMEOUT)
        config = lab["bastion"].root / "etc/ssh/lab_config"
        config.write_text("AllowTcpForwarding no\n" + config.read_text())
        lab["bastion"].run("kill", "-HUP", "1")
        log = lab.folder / "bastion.log"
        until(lambda: log.read_text().count("Server listening on 0.0.0.0") == 2, "the bastion forwards nothing")
        forbidden = preflight("-i", inventory, *TIMEOUT)
    assert (closed.code, closed.found("app1")) == (4, [("unreachable", "tcp")])
    assert "cannot reach 192.0.2.10:2" in closed.words("app1")
    assert forbidden.found("app1") == [("problem", "session")]
    assert "AllowTcpForwarding" in forbidden.words("app1")


@pytest.mark.parametrize(("port", "code"), [(22, 0), (2, 4)])
def test_an_endpoint_behind_a_bastion_is_tried_from_there(behind, tmp_path, port, code):
    via = f"ssh://ops@bastion?config={behind.ssh_config}"
    address = behind["app1"].address
    inventory = local_inventory(
        tmp_path / "inventory.yml", "cache", "redis", redis_uri=f"redis://:hunter2@{address}:{port}/0", mend_via=via
    )
    done = preflight("-i", inventory, *TIMEOUT)
    assert (done.code, "hunter2" in done.stdout) == (code, False)
    assert code == 0 or f"cannot reach {address}:2" in done.words("cache")


def test_an_endpoint_whose_bastion_is_not_known_is_not_trusted(behind, tmp_path):
    config = tmp_path / "config"
    text = behind.ssh_config.read_text().replace(str(behind.known_hosts), str(tmp_path / "none"))
    config.write_text(text.replace("StrictHostKeyChecking yes", "StrictHostKeyChecking no"))
    inventory = local_inventory(
        tmp_path / "inventory.yml",
        "cache",
        "redis",
        redis_uri="redis://db:1",
        mend_via=f"ssh://bastion?config={config}",
    )
    done = preflight("-i", inventory, *TIMEOUT)
    assert (done.code, done.found("cache")) == (2, [("problem", "bastion")])


@pytest.fixture(scope="module")
def web(can_host, tmp_path_factory):
    with SshHosts(tmp_path_factory.mktemp("web"), ["web1"]) as lab:
        yield lab


def test_options_of_the_inventory_win_over_the_settings_file(web):
    inventory = web.inventory(ansible_user="nobody-here")
    done = preflight("-i", inventory, *TIMEOUT)
    assert (done.code, done.found("web1")) == (2, [("problem", "login")])
    assert "key" in done.words("web1")


def test_a_key_of_its_own_that_is_locked_is_named(web, tmp_path):
    locked = tmp_path / "locked"
    shutil.copy(web.key, locked)
    subprocess.run(["ssh-keygen", "-p", "-q", "-f", locked, "-P", "", "-N", "open-sesame"], check=True, timeout=60)
    text = web.ssh_config.read_text().replace(f"IdentityFile {web.key}", "IdentityAgent none")
    config = tmp_path / "config"
    config.write_text(text)
    inventory = web.inventory(
        ansible_ssh_common_args=f"-F {config}",
        ansible_ssh_private_key_file=str(locked),
        ansible_host=web["web1"].address,
    )
    done = preflight("-i", inventory, *TIMEOUT)
    assert (done.code, done.found("web1")) == (2, [("problem", "login")])
    assert "locked by a passphrase" in done.words("web1") and f"ssh-add {locked}" in done.words("web1")


def test_whoever_says_not_to_check_host_keys_is_not_stopped_by_them(web):
    nobody = web.folder / "nobody_known"
    arguments = f"-F {web.ssh_config} -o UserKnownHostsFile={nobody}"
    trusting = web.inventory(ansible_ssh_common_args=arguments, ansible_host_key_checking=False)
    # the command line's own StrictHostKeyChecking of the file would come second
    assert preflight("-i", trusting, *TIMEOUT).code == 0
    assert not nobody.exists()


def test_options_that_ssh_does_not_know_are_said_to_be_so(web):
    done = preflight("-i", web.inventory(ansible_ssh_common_args="-o NoSuchOption=1"), *TIMEOUT)
    assert (done.code, done.found("web1")) == (2, [("problem", "settings")])
    assert "nosuchoption" in done.words("web1").lower()


def test_drivers_that_modules_would_miss_at_a_host_are_named_with_their_package(web):
    inventory = web.inventory()
    inventory.write_text(inventory.read_text().replace("hosts:\n  hosts:", "postgres:\n  hosts:"))
    done = preflight("-i", inventory, *TIMEOUT)
    assert (done.code, done.found("web1")) == (2, [("problem", "driver")])
    assert "apt-get install python3-psycopg" in done.words("web1")


def test_a_procedure_that_becomes_another_user_is_tried_as_that_user(web):
    inventory = web.inventory(disk_info_become=True)
    done = preflight("-i", inventory, "diagnose_disk", *TIMEOUT)
    facts = done.hosts["web1"]["facts"]
    assert (done.code, facts["uid"], facts["runs_as_uid"]) == (0, 1000, 0)


def test_an_ssh_program_that_is_not_there_is_named(web):
    done = preflight("-i", web.inventory(ansible_ssh_executable="/opt/none/ssh"), *TIMEOUT)
    assert done.found("web1") == [("problem", "settings")]
    assert "/opt/none/ssh" in done.words("web1")
