from __future__ import annotations

import pytest
from ansible.module_utils.mendbook.mongo_options import database_in, hosts_in, printed, secrets_in


@pytest.mark.parametrize(
    ("uri", "shown", "hosts", "database", "secrets"),
    [
        ("mongodb://db1:27017/estore", "mongodb://db1:27017/estore", "db1:27017", "estore", []),
        ("mongodb://db1", "mongodb://db1", "db1", None, []),
        ("mongodb://a:1,b:2/?replicaSet=rs0", "mongodb://a:1,b:2", "a:1,b:2", None, []),
        ("mongodb://u:p%40ss@db/x?tls=true", "mongodb://db/x", "db", "x", ["p%40ss", "p@ss"]),
        (
            "mongodb+srv://u:pw@cluster.example.com/x",
            "mongodb+srv://cluster.example.com/x",
            "cluster.example.com",
            "x",
            ["pw"],
        ),
        ("mongodb://u@db/x", "mongodb://db/x", "db", "x", []),
        ("mongodb://u:p/w@db/x", "mongodb://db/x", "db", "x", ["p/w"]),
        ("mongodb://u:p@w@db/x", "mongodb://db/x", "db", "x", ["p@w"]),
        ("mongodb://u:p?w@db", "mongodb://db", "db", None, ["p?w"]),
        ("mongodb://db/?tlsCertificateKeyFilePassword=k%20p", "mongodb://db", "db", None, ["k%20p", "k p"]),
        (
            "mongodb://db/?authMechanismProperties=AWS_SESSION_TOKEN:t",
            "mongodb://db",
            "db",
            None,
            ["AWS_SESSION_TOKEN:t"],
        ),
        ("nonsense with secret@x", "", "", None, []),
        ("", "", "", None, []),
    ],
)
def test_what_may_be_shown_of_a_uri_and_what_may_not(uri, shown, hosts, database, secrets):
    assert printed(uri) == shown
    assert hosts_in(uri) == hosts
    assert database_in(uri) == database
    assert secrets_in({"uri": uri}) == sorted(secrets, key=len, reverse=True)


def test_secrets_beside_the_uri_are_secrets_too():
    given = {"uri": "mongodb://db", "password": "one", "tls_certificate_key_file_password": "three"}
    assert secrets_in(given) == ["three", "one"]


def test_no_uri_has_no_secrets():
    assert secrets_in({"uri": None, "password": None}) == []
