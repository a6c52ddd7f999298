"""The driver's texts as the operator is told them: the first cause, its stage, and no password."""

import psycopg
import pytest
from ansible.module_utils.mendbook.postgres_errors import translate

PARAMS = {"uri": "postgresql://u:canary@db1:5432/shop"}
AT = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("text", "rule", "stage"),
    [
        ("failed to resolve host 'db1': [Errno -2] Name or service not known", "postgres_dns", "dns"),
        (AT + "Connection refused Is the server running on that host?", "postgres_refused", "tcp"),
        (AT + "No route to host", "postgres_unreachable", "tcp"),
        ("connection timeout expired", "postgres_timeout", "tcp"),
        (AT + "server closed the connection unexpectedly", "postgres_closed", "tcp"),
        (AT + "expected authentication request from server, but received H", "postgres_protocol", "tcp"),
        (AT + "server does not support SSL, but SSL was required", "postgres_tls_unsupported", "tls"),
        (AT + "SSL error: certificate verify failed", "postgres_tls_ca", "tls"),
        (AT + 'server certificate for "x" does not match host name "db1"', "postgres_tls_hostname", "tls"),
        (AT + "SSL error: tlsv13 alert certificate required", "postgres_tls_client_certificate", "tls"),
        (AT + "FATAL: sorry, too many clients already", "postgres_slots", "login"),
        (AT + "FATAL: remaining connection slots are reserved for roles with the SUPERUSER", "postgres_slots", "login"),
        (AT + 'FATAL: too many connections for role "u"', "postgres_slots", "login"),
        (AT + 'FATAL: password authentication failed for user "u"', "postgres_authentication", "login"),
        (AT + 'FATAL: no pg_hba.conf entry for host "10.0.0.9"', "postgres_hba", "login"),
        (AT + 'FATAL: database "shop" does not exist', "postgres_database", "login"),
        (AT + 'FATAL: role "u" does not exist', "postgres_authentication", "login"),
        (AT + "FATAL: the database system is starting up", "postgres_starting", "login"),
        (AT + "FATAL: unsupported startup parameter: options", "postgres_pooler", "login"),
        (AT + "FATAL: no such user", "postgres_authentication", "login"),
        (AT + "FATAL:  Passwort-Authentifizierung fehlgeschlagen", "postgres_login", "login"),
        ('invalid connection option "no_such"', "postgres_uri", None),
        ("something else", "postgres", "query"),
    ],
)
def test_how_far_a_connection_came_is_known(text, rule, stage):
    error = translate(psycopg.OperationalError(text), PARAMS, "connecting")
    assert (error.rule, error.details["stage"], error.details["address"]) == (rule, stage, "db1:5432")


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        (psycopg.errors.QueryCanceled("canceling statement due to statement timeout"), "postgres_timeout"),
        (psycopg.errors.InsufficientPrivilege("permission denied"), "postgres_privilege"),
        (psycopg.errors.AdminShutdown("terminating connection due to administrator command"), "postgres_closed"),
        (psycopg.errors.SyntaxError("Connection refused"), "postgres"),
    ],
)
def test_an_answer_of_the_server_is_told_by_its_code(error, rule):
    said = translate(error, PARAMS)
    assert said.rule == rule and said.details["code"] == error.sqlstate


def test_no_password_and_no_control_character_is_in_the_words():
    error = translate(psycopg.OperationalError("bad \x1b[31m canary\n in it"), PARAMS)
    assert "canary" not in error.msg and "\x1b" not in error.msg
