"""Endpoints that only a bastion sees: MongoDB, PostgreSQL and S3 through a real sshd, and every way that it fails."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from typing import Any

import mend_mongo_restore
import mend_postgres_sessions_info
import mend_s3_backup_info
import paramiko
import pytest
from ansible.module_utils.mendbook import reach, reach_ssh
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.mongo_batch import BatchWriter

from restore_lab import RESTORED, Lab, archive_of, live_data, quick_writers, receipt_for, run_module

pytestmark = pytest.mark.e2e
NAME = "db.inside"  # bastion_lab's
pytest_plugins = ["ssh_lab", "postgres_lab", "bastion_lab"]


class Estore:
    """Live data behind the bastion, a backup here, and what somebody there sees."""

    def __init__(self, bastion: Any, path: str) -> None:
        self._bastion = bastion
        self.options = {"uri": bastion.mongo_uri, "via": bastion.via, "database": "estore", "path": path}
        self.options["connect_timeout_seconds"] = 30
        bastion.at_mongo(lambda client: live_data(client["estore"]))

    def plan(self, **changes):
        return run_module(mend_mongo_restore, check=True, **{**self.options, **changes})

    def act(self, planned, **changes):
        return run_module(mend_mongo_restore, receipt=receipt_for(planned, "reach"), **{**self.options, **changes})

    def expire_lock(self):
        self._bastion.at_mongo(lambda client: Lab("", client, "estore").expire_lock())

    def picture(self):
        return self._bastion.at_mongo(lambda client: Lab("", client, "estore").picture())


@pytest.fixture
def estore(bastion, tmp_path, monkeypatch):
    quick_writers(monkeypatch)
    path = tmp_path / "estore.archive"
    path.write_bytes(archive_of("estore", RESTORED))
    return Estore(bastion, str(path))


@pytest.fixture(autouse=True)
def nothing_stays_open():
    """Every test leaves the threads and the resolver of this process as they were."""
    threads, resolver = set(threading.enumerate()), socket.getaddrinfo
    yield
    assert socket.getaddrinfo is resolver
    left = [thread for thread in set(threading.enumerate()) - threads if "pymongo" not in thread.name]
    for thread in left:
        # one that has done its work may still be ending
        thread.join(30)
    assert [thread for thread in left if thread.is_alive()] == []


def fetch(via: str, host: str = NAME, port: int = 9, seconds: float = 30) -> str:
    """The rule of what goes wrong while something is fetched by this way."""
    with pytest.raises(MendError) as failed, reach.route(via, seconds):
        try:
            with socket.create_connection((host, port), timeout=seconds) as wire:
                wire.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = wire.recv(1)
        except OSError:
            answer = b""
        assert not answer
        raise MendError("the server closed the connection")
    return f"{failed.value.rule}: {failed.value.msg}"


def test_a_database_is_restored_through_the_bastion(bastion, estore):
    planned = estore.plan()
    assert planned["changed"], planned
    members = planned["plan"]["target"]["facts"]["hosts"]
    assert len(members) == 3 and all(member.startswith(NAME) for member in members)
    assert estore.act(planned)["state"] == "done"
    assert bastion.at_mongo(lambda client: client["estore"]["orders"].count_documents({})) == len(RESTORED["orders"])


def test_without_the_way_there_the_names_mean_nothing(estore):
    result = estore.plan(via=None, connect_timeout_seconds=5)
    assert (result["rc"], result["mend"]["rule"]) == (1, "mongo_dns"), result["msg"]


def test_a_bastion_that_is_lost_half_way_leaves_the_live_data(bastion, estore, monkeypatch):
    planned, before = estore.plan(), estore.picture()
    inserted = []

    def insert(self, *args, original=BatchWriter.insert, **kwargs):
        inserted.append(original(self, *args, **kwargs))
        bastion.drop_logins()
        return inserted[-1]

    monkeypatch.setattr(BatchWriter, "insert", insert)
    result = estore.act(planned)
    assert inserted and result["state"] == "failed (nothing changed)", result
    assert result["mend"]["rule"] == "via_lost" and "bastion ops@bastion was lost" in result["msg"], result["msg"]
    assert estore.picture() == before
    monkeypatch.undo()
    estore.expire_lock()
    assert estore.act(estore.plan())["state"] == "done"


def test_tls_checks_the_real_name_of_a_server_behind_the_bastion(bastion):
    options = {"via": bastion.via, "tls_mode": "verify-full", "tls_ca_file": str(bastion.ca_file)}
    result = run_module(mend_postgres_sessions_info, uri=bastion.postgres_uri, **options)
    assert result["rc"] == 0, result["msg"]
    assert (result["reached"]["address"], result["reached"]["tls"]) == (
        f"{NAME}:{bastion.facts['postgres']['port']}",
        True,
    )
    by_address = bastion.facts["postgres"]["uri"]
    result = run_module(mend_postgres_sessions_info, uri=by_address, **options)
    assert result["mend"]["rule"] == "postgres_tls_hostname"


def test_a_local_socket_has_no_way(bastion):
    result = run_module(mend_postgres_sessions_info, uri="postgresql:///postgres", via=bastion.via)
    assert result["mend"]["rule"] == "postgres_uri" and "must name a host" in result["msg"]


def test_a_store_behind_the_bastion_is_read(bastion):
    bucket = bastion.facts["s3"]["bucket"]
    options = {**bastion.s3, "bucket": bucket, "prefix": "none/"}
    result = run_module(mend_s3_backup_info, s3_via=bastion.via, **options)
    assert result["mend"]["reason"] == "nothing" and "none/" in result["msg"], "S3 itself has answered"
    assert "cannot be resolved" in run_module(mend_s3_backup_info, **options)["msg"]


def test_a_server_that_the_bastion_cannot_reach_is_named(bastion):
    result = run_module(mend_postgres_sessions_info, uri=f"postgresql://u:canary@{NAME}:9/postgres", via=bastion.via)
    assert (result["mend"]["rule"], result["mend"]["details"]["stage"]) == ("via_forward", "via")
    assert f"bastion ops@bastion cannot reach {NAME}:9" in result["msg"] and "canary" not in result["msg"]


def test_a_bastion_that_is_not_to_be_had_says_why(bastion, tmp_path):
    hosts, address = bastion.hosts, bastion.hosts["bastion"].address
    config = f"config={hosts.ssh_config}"
    assert fetch(f"ssh://nowhere.invalid?{config}").startswith("via_name: the name of the bastion ops@nowhere.invalid")
    assert fetch(f"ssh://{address}:9?{config}").startswith("via_refused: nothing listens")
    assert fetch(f"ssh://nobody@bastion?{config}").startswith("via_login: login to the bastion nobody@bastion was refu")
    assert fetch(f"ssh://bastion?config={tmp_path}/none").startswith("via_config: ")
    (tmp_path / "strange").write_text(f"IdentityFile {hosts.key}\nUserKnownHostsFile {tmp_path}/none\n")
    unknown = fetch(f"ssh://ops@{address}?config={tmp_path}/strange")
    assert unknown.startswith("via_host_key_unknown") and "SHA256:" in unknown


def test_a_chain_of_jumps_is_gone_as_ssh_goes_it(ssh_hosts):
    lab = ssh_hosts(["inner"], behind="bastion")
    with reach.route(f"ssh://inner?config={lab.ssh_config}", 30):
        with socket.create_connection(("127.0.0.1", 22), timeout=30) as wire:
            assert wire.recv(4) == b"SSH-"
    lab.new_host_key("bastion")
    changed = fetch(f"ssh://inner?config={lab.ssh_config}")
    assert changed.startswith("via_host_key_changed") and changed.count("SHA256:") == 2


def test_a_bastion_is_known_by_the_alias_of_the_configuration(ssh_hosts, tmp_path):
    lab = ssh_hosts(["bastion"])
    config, known = tmp_path / "config", tmp_path / "known_hosts"
    aliased = f"HostKeyAlias inside\nUserKnownHostsFile {known}\nGlobalKnownHostsFile none\n"
    config.write_text(aliased + lab.ssh_config.read_text())
    via = f"ssh://bastion?config={config}"
    known.write_text(f"inside {lab['bastion'].host_key}\n")
    with reach.route(via, 30), socket.create_connection(("127.0.0.1", 22), timeout=30) as wire:
        assert wire.recv(4) == b"SSH-"
    lab.new_host_key("bastion")
    assert "then ssh-keygen -R 'inside'" in fetch(via)


def test_a_bastion_that_falls_silent_is_noticed(ssh_hosts, monkeypatch):
    monkeypatch.setattr(reach_ssh, "_KEEPALIVE_SECONDS", 1)
    monkeypatch.setattr(reach_ssh, "_SILENCE_SECONDS", 2)
    end_channel = paramiko.Channel._unlink

    def ended_long_before_the_transport(channel):
        end_channel(channel)
        time.sleep(1)

    monkeypatch.setattr(paramiko.Channel, "_unlink", ended_long_before_the_transport)
    lab = ssh_hosts(["bastion"])
    via = f"ssh://bastion?config={lab.ssh_config}"
    with pytest.raises(MendError, match="the connection to the bastion ops@bastion was lost") as failed:
        with reach.route(via, 30), socket.create_connection(("127.0.0.1", 22), timeout=60) as wire:
            assert wire.recv(4) == b"SSH-"
            lab.cut("bastion")
            while wire.recv(1024):
                pass
            raise MendError("the server closed the connection")
    assert failed.value.rule == "via_lost"
    started = time.monotonic()
    assert fetch(via, seconds=2).startswith("via_timeout")
    assert time.monotonic() - started < 30


def test_only_this_user_may_use_a_way(ssh_hosts):
    lab = ssh_hosts(["bastion"])
    with reach.route(f"ssh://bastion?config={lab.ssh_config}", 30) as way:
        host, port = way.address("127.0.0.1", 22)
        assert asked(host, port, 0) == b"SSH-"
        assert asked(host, port, 65534) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port), timeout=30)


def asked(host: str, port: int, uid: int) -> bytes:
    """What a process of that user reads there."""
    talk = f"import socket; s = socket.create_connection(({host!r}, {port}), 30); print(s.recv(4).decode(), end='')"
    command = ["setpriv", f"--reuid={uid}", "--clear-groups", "/usr/bin/python3", "-c", talk]
    done = subprocess.run(command, capture_output=True, timeout=60)
    return done.stdout
