"""What of a connection string is a secret, and what may be shown."""

import pytest
from ansible.module_utils.mendbook.postgres_options import hosts_in, is_escaped, secrets_in


@pytest.mark.parametrize(
    ("uri", "secrets", "hosts"),
    [
        ("postgresql://u:canary@db1:5432/shop", {"canary"}, "db1:5432"),
        ("postgres://u:p%40ss@db1,db2:5433/shop?sslmode=require", {"p%40ss", "p@ss"}, "db1,db2:5433"),
        ("postgresql://u@db1/shop?password=canary&sslpassword=c%21", {"canary", "c%21", "c!"}, "db1"),
        ("postgresql:///shop?host=/run/postgresql", set(), "/run/postgresql"),
        ("postgresql:///shop", set(), "the local socket"),
        ("postgresql://u:ca@na/ry?x@db1/shop", {"ca@na/ry?x"}, "db1"),
        ("postgresql://[::1]:5432/shop", set(), "[::1]:5432"),
        ("mysql://u:canary@db1/shop", set(), "the local socket"),
        ("", set(), "the local socket"),
    ],
)
def test_passwords_are_found_and_hosts_are_shown(uri, secrets, hosts):
    assert set(secrets_in({"uri": uri})) == secrets
    assert hosts_in(uri) == hosts


def test_options_beside_the_uri_are_secrets_too():
    params = {"uri": "postgresql://db1", "password": "canary", "tls_key_password": "canary2"}
    assert secrets_in(params) == ["canary2", "canary"]


@pytest.mark.parametrize(
    ("uri", "escaped"),
    [
        ("postgresql://u:p%40ss@db1/shop?options=-c%20x", True),
        ("postgresql://db1/shop", True),
        ("postgresql://u:p@ss@db1/shop", False),
        ("postgresql://u:p/ss@db1/shop", False),
        ("postgresql://u:p?ss@db1/shop", False),
    ],
)
def test_a_password_whose_parts_would_be_taken_for_a_host_is_found(uri, escaped):
    assert is_escaped(uri) is escaped
