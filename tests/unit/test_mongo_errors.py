from __future__ import annotations

import pytest
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.mongo_errors import translate, translated
from pymongo import errors as driver

SELECTION = driver.ServerSelectionTimeoutError


@pytest.mark.parametrize(
    ("error", "rule", "next_step"),
    [
        (
            SELECTION("db:1: [Errno 111] Connection refused (configured timeouts: x), Timeout: 5s"),
            "mongo_refused",
            "port",
        ),
        (SELECTION("db:1: [Errno -2] Name or service not known"), "mongo_dns", "resolver"),
        (SELECTION("db:1: [Errno 113] No route to host"), "mongo_unreachable", "firewall"),
        (SELECTION("db:1: timed out"), "mongo_timeout", "connect_timeout_seconds"),
        (SELECTION("No servers found yet, Timeout: 2s"), "mongo_timeout", "connect_timeout_seconds"),
        (SELECTION("db:1: connection closed"), "mongo_closed", "tls"),
        (SELECTION("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"), "mongo_tls_ca", "tls_ca_file"),
        (
            SELECTION("certificate verify failed: Hostname mismatch"),
            "mongo_tls_hostname",
            "tls_allow_invalid_hostnames",
        ),
        (SELECTION("certificate verify failed: certificate has expired"), "mongo_tls_expired", "clock"),
        (SELECTION("[SSL: WRONG_VERSION_NUMBER]"), "mongo_tls_version", "tls"),
        (SELECTION('No replica set members match selector "Primary()"'), "mongo_no_primary", "election"),
        (driver.OperationFailure("Authentication failed.", 18), "mongo_authentication", "auth_source"),
        (driver.OperationFailure("x requires authentication", 13), "mongo_authentication", "username"),
        (driver.OperationFailure("not authorized on x", 13), "mongo_privilege", "role"),
        (driver.NotPrimaryError("not primary", {"code": 10107}), "mongo_no_primary", "election"),
        (driver.ExecutionTimeout("operation exceeded time limit", 50), "mongo_timeout", "operation_timeout_seconds"),
        (driver.WTimeoutError("waiting for replication timed out", 64), "mongo_majority", "members"),
        (driver.InvalidURI("Username and password must be escaped"), "mongo_uri", "correct"),
        (driver.ConfigurationError("The DNS query name does not exist: _mongodb._tcp.x."), "mongo_dns", "name"),
        (driver.OperationFailure("something else", 9999), "mongo", "refused"),
    ],
)
def test_each_failure_has_its_own_words_and_a_next_step(error, rule, next_step):
    told = translate(error, {"uri": "mongodb://u:secret@db:1/x"})
    assert told.rule == rule
    assert next_step in told.msg
    assert "db:1" in told.msg
    assert told.details["address"] == "db:1"


def test_the_password_is_cut_out_of_whatever_the_driver_says():
    given = {"uri": "mongodb://u:s3cr3t@db", "password": "oth3r"}
    told = translate(driver.OperationFailure("cannot use s3cr3t with oth3r"), given)
    assert "s3cr3t" not in told.msg and "oth3r" not in told.msg


def test_the_drivers_long_dump_of_the_topology_is_left_out():
    told = translate(
        SELECTION("db: refused, Timeout: 5s, Topology Description: <T servers: [...]>"), {"uri": "mongodb://db"}
    )
    assert "Topology" not in told.msg


def test_only_errors_of_the_driver_are_translated():
    with pytest.raises(KeyError), translated({"uri": "mongodb://db"}):
        raise KeyError("ours")
    with pytest.raises(MendError, match="while looking"), translated({"uri": "mongodb://db"}, "looking"):
        raise driver.AutoReconnect("connection closed")


def test_no_uri_says_which_variable_to_set():
    from ansible.module_utils.mendbook.mongo import connect

    with pytest.raises(MendError, match="set mongo_uri in the inventory"), connect({"uri": ""}):
        pass
