"""The driver's errors as the operator is told them: the cause, how far it came, and no password."""

import socket
import ssl

import pytest
import redis
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.redis_errors import translate, translated
from redis._parsers.base import BaseParser

PARAMS = {"uri": "redis://ops:canary@cache1:6379/0"}


def verify_error(code):
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_code = code
    return error


def failed(cause, kind=redis.ConnectionError):
    """An error of the driver as it stands when the socket raised ``cause``."""
    try:
        try:
            raise cause
        except OSError as error:
            raise kind(f"Error connecting to cache1:6379. {error}.")  # noqa: B904 - as the driver does
    except redis.RedisError as raised:
        return raised


@pytest.mark.parametrize(
    ("cause", "rule", "stage"),
    [
        (socket.gaierror(-2, "Name or service not known"), "redis_dns", "dns"),
        (ConnectionRefusedError(111, "Connection refused"), "redis_refused", "tcp"),
        (FileNotFoundError(2, "No such file or directory"), "redis_refused", "tcp"),
        (PermissionError(13, "Permission denied"), "redis_socket", "tcp"),
        (OSError(113, "No route to host"), "redis_unreachable", "tcp"),
        (ConnectionResetError(104, "Connection reset by peer"), "redis_closed", "tcp"),
        (TimeoutError("timed out"), "redis_timeout", "tcp"),
        (verify_error(62), "redis_tls_hostname", "tls"),
        (verify_error(64), "redis_tls_hostname", "tls"),
        (verify_error(10), "redis_tls_expired", "tls"),
        (verify_error(20), "redis_tls_ca", "tls"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "redis_tls_unsupported", "tls"),
        (ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]"), "redis_tls_client_certificate", "tls"),
        (ssl.SSLError(1, "[SSL] something else"), "redis_tls", "tls"),
    ],
)
def test_how_far_a_connection_came_is_known_by_its_cause(cause, rule, stage):
    error = translate(failed(cause), PARAMS, "connecting")
    assert (error.rule, error.details["stage"], error.details["address"]) == (rule, stage, "cache1:6379")
    assert "while connecting" in error.msg


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        (redis.TimeoutError("Timeout reading from socket"), "redis_timeout"),
        (redis.ConnectionError("Connection closed by server."), "redis_closed"),
        (redis.exceptions.InvalidResponse('Protocol error, got "H" as reply type byte'), "redis_protocol"),
        (redis.ConnectionError("Connection has data"), "redis_connection"),
        (redis.RedisError("something else"), "redis"),
    ],
)
def test_what_no_socket_raised_is_known_by_its_words(error, rule):
    assert translate(error, PARAMS).rule == rule


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", "redis_authentication"),
        ("NOAUTH Authentication required.", "redis_password_needed"),
        (
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?",
            "redis_no_password",
        ),
        ("DENIED Redis is running in protected mode because protected mode is enabled", "redis_protected"),
        ("ERR max number of clients reached", "redis_connections"),
        ("ERR DB index is out of range", "redis_database"),
        ("ERR SELECT is not allowed in cluster mode", "redis_database"),
        ("LOADING Redis is loading the dataset in memory", "redis_loading"),
        ("MASTERDOWN Link with MASTER is down", "redis_master_down"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "redis_memory_full"),
        ("READONLY You can't write against a read only replica.", "redis_readonly"),
        ("CLUSTERDOWN The cluster is down", "redis_cluster_down"),
        ("MOVED 3999 127.0.0.1:6381", "redis_moved"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "redis_moved"),
        ("MISCONF Redis is configured to save RDB snapshots, but it is currently unable", "redis_writes_stopped"),
        ("BUSY Redis is busy running a script.", "redis_busy"),
        ("ERR unknown command `CLUSTER`, with args beginning with: ", "redis_command"),
        ("ERR unknown subcommand 'LATEST'.", "redis_command"),
        ("ERR This instance has cluster support disabled", "redis_command"),
        ("ERR value is not an integer or out of range", "redis"),
    ],
)
def test_an_answer_of_the_server_is_known_by_the_word_that_it_begins_with(answer, rule):
    error = translate(BaseParser.parse_error(answer), PARAMS)
    assert error.rule == rule and answer[:20] in error.msg


@pytest.mark.parametrize(
    ("answer", "command"),
    [
        ("NOPERM this user has no permissions to run the 'config' command or its subcommand", "CONFIG"),
        ("NOPERM User app has no permissions to run the 'memory|usage' command", "MEMORY USAGE"),
        ("NOPERM this user has no permissions to access one of the keys used as arguments", None),
        ("ERR unknown command `client`, with args beginning with: `LIST`, ", "CLIENT"),
    ],
)
def test_a_command_that_may_not_be_used_is_named(answer, command):
    error = translate(BaseParser.parse_error(answer), PARAMS)
    assert error.rule == ("redis_command" if "unknown" in answer else "redis_permission")
    assert error.details.get("command") == command and ((command or "these keys").lower() in error.msg.lower())


def test_no_password_and_no_control_character_is_in_the_words():
    with pytest.raises(MendError) as raised, translated(PARAMS, "asking", "cache2:6379"):
        raise redis.ResponseError("ERR bad \x1b[31m canary\n in it")
    assert "canary" not in raised.value.msg and "\x1b" not in raised.value.msg
    assert raised.value.details["address"] == "cache2:6379"


@pytest.mark.parametrize(
    "cause", [ssl.SSLEOFError(8, "EOF occurred"), ConnectionResetError(104, "reset"), BrokenPipeError(32, "pipe")]
)
def test_who_hangs_up_after_the_handshake_wants_a_certificate(cause):
    def said(words, uri):
        try:
            try:
                raise cause
            except OSError:
                raise redis.ConnectionError(words)  # noqa: B904 - as the driver does
        except redis.RedisError as error:
            return translate(error, {"uri": uri}, "connecting").rule

    assert said("Error 8 while writing to socket. EOF", "rediss://cache1") == "redis_tls_client_certificate"
    assert said("Error 8 while writing to socket. EOF", "redis://cache1") == "redis_closed"
    assert said("Error 8 connecting to cache1:6379. EOF", "rediss://cache1") != "redis_tls_client_certificate"


def test_a_server_without_tls_that_says_nothing_is_thought_of():
    silent = redis.TimeoutError("Timeout connecting to server")
    assert "without TLS" in translate(silent, {"uri": "rediss://cache1"}).msg
    assert "without TLS" not in translate(silent, PARAMS).msg
