"""MongoDB as people have it: TLS with their own CA, client certificates, SCRAM, x509, and names that DNS resolves."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dns.resolver
import pymongo
import pytest
import trustme
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.mongo import connect
from certificates import client_certificate
from name_server import Names

from mendbook.sandbox import Sandbox
from mendbook.sandbox.services.mongo import Service

pytestmark = pytest.mark.e2e

SUBJECT = "CN=restorer,OU=runbooks,O=mendbook tests"
PASSWORD = "p@ss/w:rd%"  # noqa: S105 (needs escaping in a URI)
KEY_PASSWORD = "key pass"  # noqa: S105
ZONE = "cluster.mendbook.test"


@dataclass
class Secured:
    """A mongod that speaks TLS only and wants a client certificate, and the files to reach it."""

    port: int
    ca: str
    client: str
    folder: Path
    authority: trustme.CA


@pytest.fixture(scope="module")
def secured(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    # the member's name in the set is 127.0.0.1; "localhost" is left out on purpose
    server = authority.issue_cert("127.0.0.1", f"db1.{ZONE}")
    server.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    client = client_certificate(authority, folder / "client.pem")
    ca = str(folder / "ca.pem")
    arguments = ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(folder / "server.pem"), "--tlsCAFile", ca]
    options = {"tls": "true", "tlsCAFile": ca, "tlsCertificateKeyFile": client}
    service = Service(name="secured", arguments=arguments, client_options=options)
    sandbox.add(service)
    with pymongo.MongoClient(service.uri) as admin:
        admin.estore.orders.insert_one({"n": 1})
        admin.admin.command("createUser", "scram", pwd=PASSWORD, roles=[{"role": "read", "db": "estore"}])
        admin["$external"].command("createUser", SUBJECT, roles=[{"role": "read", "db": "estore"}])
    yield Secured(service.ports[0], ca, client, folder, authority)
    sandbox.remove("secured")


def options(secured: Secured, uri: str = "", **more: Any) -> dict[str, Any]:
    """The module's connection options, as a playbook gives them."""
    return {
        "uri": uri or f"mongodb://127.0.0.1:{secured.port}/?directConnection=true",
        "tls": True,
        "tls_ca_file": secured.ca,
        "tls_certificate_key_file": secured.client,
        "connect_timeout_seconds": 30,
        "operation_timeout_seconds": 60,
        **more,
    }


def reached(params: dict[str, Any]) -> tuple[str | None, int]:
    """Who we are at the server, and how many orders we may read there."""
    with connect(params) as deployment:
        return deployment.user(), deployment.client.estore.orders.count_documents({})


def refused(params: dict[str, Any]) -> MendError:
    """The answer when the connection must fail; a handshake that fails is tried again until the time is over."""
    for seconds in (2, 20):
        with pytest.raises(MendError) as caught:
            reached({**params, "connect_timeout_seconds": seconds})
        # a machine that stood still for the whole of it has found out nothing
        if caught.value.rule != "mongo_timeout":
            break
    return caught.value


def test_scram_over_tls_with_credentials_beside_the_uri(secured):
    params = options(secured, username="scram", password=PASSWORD, auth_source="admin")
    assert reached(params) == ("scram@admin", 1)
    assert reached({**params, "auth_mechanism": "SCRAM-SHA-256"}) == ("scram@admin", 1)


def test_scram_over_tls_with_everything_in_the_uri(secured):
    files = f"tls=true&tlsCAFile={quote(secured.ca)}&tlsCertificateKeyFile={quote(secured.client)}"
    uri = f"mongodb://scram:{quote(PASSWORD, safe='')}@127.0.0.1:{secured.port}/?authSource=admin&{files}"
    params = options(secured, uri, tls=None, tls_ca_file=None, tls_certificate_key_file=None)
    assert reached(params) == ("scram@admin", 1)


def test_x509_logs_in_as_the_subject_of_the_certificate(secured):
    assert reached(options(secured, auth_mechanism="MONGODB-X509")) == (f"{SUBJECT}@$external", 1)


def test_a_locked_key_is_opened_by_its_password(secured):
    locked = client_certificate(secured.authority, secured.folder / "locked.pem", key_password=KEY_PASSWORD)
    params = options(secured, auth_mechanism="MONGODB-X509", tls_certificate_key_file=locked)
    assert reached({**params, "tls_certificate_key_file_password": KEY_PASSWORD}) == (f"{SUBJECT}@$external", 1)
    error = refused({**params, "tls_certificate_key_file_password": "wrong pass"})
    assert "wrong pass" not in error.msg


def test_a_certificate_for_another_name_is_refused_unless_told(secured):
    params = options(secured, f"mongodb://localhost:{secured.port}/?directConnection=true")
    params.update(username="scram", password=PASSWORD, auth_source="admin")
    error = refused(params)
    assert error.rule == "mongo_tls_hostname"
    assert "tls_allow_invalid_hostnames" in error.msg
    assert reached({**params, "tls_allow_invalid_hostnames": True}) == ("scram@admin", 1)


def test_an_authority_that_is_not_trusted_is_named(secured):
    stranger = secured.folder / "stranger-ca.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    for wrong in (None, str(stranger)):
        error = refused(options(secured, tls_ca_file=wrong))
        assert error.rule == "mongo_tls_ca"
        assert "name its CA with tls_ca_file" in error.msg


@pytest.mark.parametrize(
    ("certificate", "rules"),
    [
        # since TLS 1.3 the server says no after the client has finished: sometimes all that arrives is the end
        (lambda folder: None, {"mongo_tls_client_certificate", "mongo_closed", "mongo_tls_version"}),
        (lambda folder: client_certificate(trustme.CA(), folder / "foreign.pem"), {"mongo_tls_ca", "mongo_closed"}),
    ],
)
def test_a_client_certificate_that_the_server_does_not_take(secured, certificate, rules):
    error = refused(options(secured, tls_certificate_key_file=certificate(secured.folder)))
    assert error.rule in rules


def test_an_expired_client_certificate_is_refused(secured):
    expired = client_certificate(secured.authority, secured.folder / "expired.pem", expired=True)
    error = refused(options(secured, auth_mechanism="MONGODB-X509", tls_certificate_key_file=expired))
    assert error.rule in {"mongo_tls_expired", "mongo_tls_ca", "mongo_closed"}


def test_a_subject_that_is_no_user_fails_to_log_in(secured):
    other = client_certificate(secured.authority, secured.folder / "other.pem", name="nobody")
    error = refused(options(secured, auth_mechanism="MONGODB-X509", tls_certificate_key_file=other))
    assert error.rule == "mongo_authentication"


@pytest.mark.parametrize("wrong", [{"password": "canary-wrong"}, {"username": "nobody"}, {"auth_source": "estore"}])
def test_wrong_credentials_over_tls_are_told_apart_from_tls(secured, wrong):
    error = refused(options(secured, **{"username": "scram", "password": PASSWORD, "auth_source": "admin", **wrong}))
    assert error.rule == "mongo_authentication"
    assert PASSWORD not in error.msg and "canary-wrong" not in error.msg


def test_plain_talk_to_a_server_that_wants_tls(secured):
    params = options(secured, tls=None, tls_ca_file=None, tls_certificate_key_file=None)
    error = refused(params)
    assert error.rule == "mongo_closed"
    assert "set tls" in error.msg


def test_tls_to_a_server_that_has_none(secured, sandbox):
    port = sandbox.status()["mongo"]["port"]
    error = refused(options(secured, f"mongodb://127.0.0.1:{port}/?directConnection=true"))
    assert error.rule in {"mongo_tls_version", "mongo_closed"}


@pytest.mark.parametrize("name", ["tls_ca_file", "tls_certificate_key_file"])
def test_a_file_that_is_not_there_is_named_before_anything_is_contacted(secured, name):
    error = refused(options(secured, **{name: "/nowhere/x.pem"}))
    assert f"{name}: /nowhere/x.pem cannot be read" in error.msg


def test_verify_mongo_runs_over_tls_with_x509(secured, playbook):
    variables = {
        "mongo_verify_uri": f"mongodb://127.0.0.1:{secured.port}/?directConnection=true",
        "mongo_verify_tls": True,
        "mongo_verify_tls_ca_file": secured.ca,
        "mongo_verify_tls_certificate_key_file": secured.client,
        "mongo_verify_auth_mechanism": "MONGODB-X509",
        "mongo_verify_database": "estore",
        "mongo_verify_critical": ["orders"],
        "mongo_verify_connect_timeout_seconds": 30,
    }
    played = playbook("verify_mongo", variables=variables)
    assert played.rc == 0, played.stdout
    assert played.of("mend_mongo_verify")[0]["verified"] is True


@pytest.fixture
def names() -> Iterator[Callable[[int, str], None]]:
    """A resolver of our own for this process: `names(port, txt)` makes ZONE lead to that port on loopback."""

    def publish(port: int, txt: str = "") -> None:
        Names.records = {
            (f"_mongodb._tcp.{ZONE}", "SRV"): [f"0 0 {port} db1.{ZONE}."],
            (f"db1.{ZONE}", "A"): ["127.0.0.1"],
            (ZONE, "TXT"): [f'"{txt}"'] if txt else [],
        }

    before = dns.resolver.default_resolver
    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Names) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ours = dns.resolver.Resolver(configure=False)
        ours.nameservers, ours.port, ours.lifetime = ["127.0.0.1"], server.server_address[1], 30
        dns.resolver.default_resolver = ours
        dns.resolver.override_system_resolver(ours)
        yield publish
        dns.resolver.restore_system_resolver()
        dns.resolver.default_resolver = before
        server.shutdown()


@pytest.fixture
def reader(mongo_client: pymongo.MongoClient) -> Iterator[str]:
    """A user of the sandbox's server who may read one order."""
    mongo_client.estore.orders.insert_one({"n": 1})
    mongo_client.admin.command("createUser", "srv", pwd=PASSWORD, roles=[{"role": "read", "db": "estore"}])
    yield f"srv:{quote(PASSWORD, safe='')}"
    mongo_client.admin.command("dropUser", "srv")
    mongo_client.drop_database("estore")


def test_srv_finds_the_members_and_txt_their_options(sandbox, names, reader):
    facts = sandbox.status()["mongo"]
    names(facts["port"], "authSource=admin&replicaSet=" + facts["replica_set"])
    params = {"uri": f"mongodb+srv://{reader}@{ZONE}/estore?tls=false", "connect_timeout_seconds": 30}
    assert reached(params) == ("srv@admin", 1)


def test_srv_uses_tls_unless_told(secured, names):
    names(secured.port, "authSource=$external")
    params = options(secured, f"mongodb+srv://{ZONE}/", tls=None, auth_mechanism="MONGODB-X509")
    assert reached(params) == (f"{SUBJECT}@$external", 1)


@pytest.mark.parametrize("zone", ["nowhere.mendbook.test", f"db1.{ZONE}"])
def test_a_cluster_name_without_srv_records_is_a_question_of_dns(names, zone):
    names(27017)
    error = refused({"uri": f"mongodb+srv://u:canary@{zone}/?tls=false"})
    assert error.rule == "mongo_dns"
    assert "canary" not in error.msg


def test_a_host_that_has_no_address_is_a_question_of_dns(names):
    names(27017)
    error = refused({"uri": "mongodb://u:canary@db7.mendbook.test/"})
    assert error.rule == "mongo_dns"
    assert "db7.mendbook.test" in error.msg


def test_a_resolver_that_is_silent_is_noticed(names, monkeypatch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        monkeypatch.setattr(dns.resolver.default_resolver, "port", silent.getsockname()[1])
        error = refused({"uri": f"mongodb+srv://{ZONE}/"})
    assert error.rule == "mongo_dns"
