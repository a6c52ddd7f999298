"""What of a connection string leads where, what of it is a secret, and what is refused before anything is contacted."""

import pytest
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.redis_options import Endpoint, address_text, hosts_in, secrets_in


@pytest.mark.parametrize(
    ("uri", "entries", "db", "user", "tls"),
    [
        ("redis://cache1", [("cache1", 6379)], 0, None, False),
        ("redis://:p%40ss@cache1:7000/3", [("cache1", 7000)], 3, None, False),
        ("rediss://ops:x@a:1,b,[::1]:2", [("a", 1), ("b", 6379), ("::1", 2)], 0, "ops", True),
        ("redis://cache1:6379?db=4", [("cache1", 6379)], 4, None, False),
    ],
)
def test_a_uri_names_hosts_a_database_and_a_user(uri, entries, db, user, tls):
    endpoint = Endpoint({"uri": uri})
    assert (endpoint.entries, endpoint.db, endpoint.username, endpoint.tls) == (entries, db, user, tls)


def test_a_socket_has_a_path_and_no_hosts():
    endpoint = Endpoint({"uri": "unix://ops:p%2Fw@/run/redis/redis.sock?db=2"})
    assert (endpoint.path, endpoint.entries, endpoint.db) == ("/run/redis/redis.sock", [], 2)
    assert (endpoint.username, endpoint.password) == ("ops", "p/w")


def test_options_beside_the_uri_win():
    endpoint = Endpoint({"uri": "redis://u:p@a?ssl_ca_certs=/a.pem", "username": "v", "tls_ca_file": "/b.pem"})
    assert (endpoint.username, endpoint.password, endpoint.files["tls_ca_file"]) == ("v", "p", "/b.pem")
    assert Endpoint({"uri": "rediss://a?ssl_ca_certs=/a.pem"}).files["tls_ca_file"] == "/a.pem"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "redis_uri in the inventory"),
        ("http://cache1", "must begin with redis://"),
        ("redis://", "no host"),
        ("redis://cache1:port", "no host and port"),
        ("redis://cache1:70000", "no host and port"),
        ("redis://cache1/shop", "number of the database"),
        ("redis://cache1/-1", "number of the database"),
        ("redis://u:p@ss@cache1", "%40"),
        ("redis://u:p/ss@cache1", "%2F"),
        ("redis://u:p?ss@cache1", "%3F"),
        ("redis://u:p#ss@cache1", "%23"),
        ("redis://cache1?socket_timeout=1", "'socket_timeout' is no option"),
        ("unix://run/redis.sock", "absolute path"),
        ("unix://", "absolute path"),
    ],
)
def test_what_cannot_be_meant_is_refused(uri, words):
    with pytest.raises(MendError) as raised:
        Endpoint({"uri": uri})
    assert words in raised.value.msg and raised.value.rule == "redis_uri"
    assert "ss@" not in raised.value.msg


@pytest.mark.parametrize(
    ("uri", "secrets", "hosts"),
    [
        ("redis://u:canary@cache1:6379/0", {"canary"}, "cache1:6379"),
        ("rediss://:p%40ss@a,b:7000", {"p%40ss", "p@ss"}, "a,b:7000"),
        ("redis://u@cache1?password=canary&ssl_password=c%21", {"canary", "c%21", "c!"}, "cache1"),
        ("redis://u:ca@na/ry?x@cache1", {"ca@na/ry?x"}, "cache1"),
        ("unix://u:canary@/run/redis.sock", {"canary"}, "/run/redis.sock"),
        ("mysql://u:canary@cache1", set(), "no host"),
        ("", set(), "no host"),
    ],
)
def test_passwords_are_found_and_hosts_are_shown(uri, secrets, hosts):
    assert set(secrets_in({"uri": uri})) == secrets
    assert hosts_in(uri) == hosts


def test_passwords_beside_the_uri_are_secrets_too():
    params = {"uri": "redis://cache1", "password": "canary", "tls_key_password": "canary2"}
    assert secrets_in(params) == ["canary2", "canary"]


@pytest.mark.parametrize(
    ("host", "port", "text"),
    [("cache1", 6379, "cache1:6379"), ("::1", 6379, "[::1]:6379"), ("/run/redis.sock", None, "/run/redis.sock")],
)
def test_an_address_is_written_as_people_do(host, port, text):
    assert address_text(host, port) == text
