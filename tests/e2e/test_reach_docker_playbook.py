"""diagnose_redis from the engine's own host into containers: TLS by the names of their network, a replica behind it."""

from __future__ import annotations

import pytest
import trustme

from containers_lab import BINS
from local_inventory import local_inventory
from redis_cli import certificate, debian
from waiting import until

pytestmark = pytest.mark.e2e
pytest_plugins = ["docker_lab", "containers_lab"]
NETWORK = "cache-inside"
TLS = "--port 0 --tls-port 6379 --tls-replication yes --tls-auth-clients no --tls-ca-cert-file /tls/ca.pem"
FILES = "--tls-cert-file /tls/server.pem --tls-key-file /tls/server.key"
SETTINGS = "--requirepass canary --masterauth canary --repl-diskless-sync-delay 0"


@pytest.fixture
def sandbox_secrets():
    return {"CACHE_PASSWORD": "canary"}


@pytest.fixture
def cache(docker_engine, containers, tmp_path):
    """A Redis and its replica, each with a certificate for the name that only their network knows."""
    debian("redis-server")
    docker_engine.cli("network", "create", NETWORK)
    authority, known = trustme.CA(), []
    for name in ("cache", "replica"):
        folder = tmp_path / name
        folder.mkdir()
        known.append(certificate(authority, folder, f"{name}.example.com"))
        options = [f"--network={NETWORK}", f"--network-alias={name}.example.com", f"--volume={folder}:/tls:ro"]
        more = ["--replica-announce-ip", f"{name}.example.com"]
        if name == "replica":
            more += ["--replicaof", "cache.example.com 6379"]
        containers(name, "redis", "redis-server", *f"{TLS} {FILES} {SETTINGS}".split(), *more, options=options)
    look = "exec cache redis-cli --tls --cacert /tls/ca.pem --sni cache.example.com -a canary info replication".split()
    online = b"replica.example.com,port=6379,state=online"
    # redis-cli fails as long as the server does not listen
    until(lambda: online in docker_engine.attempt(*look).stdout, "the replica is online")
    yield known[0].authority
    docker_engine.cli("rm", "--force", "cache", "replica")
    docker_engine.cli("network", "rm", NETWORK)


@pytest.fixture
def inventory(tmp_path, docker_engine):
    return local_inventory(
        tmp_path / "inventory.yml",
        "cache",
        "redis",
        mend_via=f"docker://cache?host={docker_engine.docker_host}",
        redis_info_uri="rediss://cache.example.com:6379",
        redis_info_password="env:CACHE_PASSWORD",
        redis_info_interval_seconds=0.1,
    )


@pytest.fixture
def on_the_engines_host(docker_engine, tmp_path):
    """A program that is ansible-playbook, run where the containers' addresses are reached."""
    program = tmp_path / "ansible-playbook"
    program.write_text(f'#!/bin/sh\nexec {" ".join(docker_engine.enter)} {BINS}/ansible-playbook "$@"\n')
    program.chmod(0o755)
    return program


def test_a_redis_and_its_replica_in_a_network_of_containers(cache, playbook, on_the_engines_host):
    variables = {"redis_info_tls_ca_file": str(cache)}
    played = playbook("diagnose_redis", variables=variables, program=on_the_engines_host)
    assert played.rc == 0, played.stdout + played.stderr
    (facts,) = played.of("mend_redis_info")
    assert sorted(node["address"] for node in facts["nodes"]) == ["cache.example.com:6379", "replica.example.com:6379"]
    assert "canary" not in played.stdout

    by_another_name = {**variables, "redis_info_uri": "rediss://cache:6379"}
    played = playbook("diagnose_redis", variables=by_another_name, program=on_the_engines_host)
    (result,) = played.failed()
    assert "redis_tls" in result["mend"]["rule"], result["msg"]
