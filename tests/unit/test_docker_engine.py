"""The client of the Engine API against servers that are wrong in every way that a socket allows."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time

import pytest
import trustme
from ansible.module_utils.mendbook.docker_engine import Engine
from ansible.module_utils.mendbook.docker_errors import ApiError, DockerError, Gone, NoEngine

VERSION = {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}


def answer(body, status="200 OK", more=""):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n{more}\r\n".encode() + text


class Server:
    """Answers each request by ``answers`` {path: bytes or function}; ``asked`` are the first lines."""

    def __init__(self, listening, answers, tls=None):
        self.asked, self._answers, self._tls, self._listening = [], answers, tls, listening
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._one, args=(self._listening.accept()[0],), daemon=True).start()

    def _one(self, client):
        with contextlib.suppress(OSError), client:
            if self._tls:
                client = self._tls.wrap_socket(client, server_side=True)
            request = b""
            while b"\r\n\r\n" not in request:
                part = client.recv(65536)
                if not part:
                    return
                request += part
                if request[0] == 0x16:
                    # TLS where none is spoken: Go's server says so in plain words
                    client.sendall(answer(b"Client sent an HTTPS request to an HTTP server.", "400 Bad Request"))
                    return
            line = request.partition(b"\r\n")[0].decode()
            self.asked.append(line)
            found = self._answers.get(
                line.split()[1].partition("?")[0], answer({"message": "page not found"}, "404 No")
            )
            if callable(found):
                found(client)
            else:
                client.sendall(found)


@pytest.fixture
def serve(tmp_path):
    """Start a server: ``serve(answers)`` on a UNIX socket, with ``tls`` on TCP; gives it and its docker_host."""
    with contextlib.ExitStack() as stack:

        def start(answers, tls=None, tcp=False):
            if tls or tcp:
                listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                where = f"tcp://localhost:{listening.getsockname()[1]}"
            else:
                path = tmp_path / "docker.sock"
                listening = stack.enter_context(socket.socket(socket.AF_UNIX))
                listening.bind(str(path))
                listening.listen()
                where = f"unix://{path}"
            return Server(listening, {"/version": answer(VERSION), **answers}, tls), where

        yield start


def failure(host, ask=lambda engine: engine.version, **options):
    with pytest.raises(DockerError) as caught:
        ask(Engine(host, **{"timeout_seconds": 30, **options}))
    return caught.value


def test_it_speaks_the_newest_version_that_both_sides_know(serve):
    for said, oldest, spoken in (
        ("1.41", "1.12", (1, 41)),
        ("1.52", "1.44", (1, 47)),
        ("1.60", "1.47", (1, 47)),
        ("1.40", None, (1, 40)),
    ):
        server, host = serve({"/version": answer({**VERSION, "ApiVersion": said, "MinAPIVersion": oldest})}, tcp=True)
        engine = Engine(host)
        assert engine.api == spoken
        with pytest.raises(ApiError):
            engine.get("/info")
        assert server.asked == ["GET /version HTTP/1.1", "GET /v{}.{}/info HTTP/1.1".format(*spoken)]


def test_what_is_asked_is_quoted_and_filters_are_json(serve):
    server, host = serve({})
    for path, query in (
        ("/containers/a b\n?x=1/json", {}),
        ("/x", {"all": True, "v": False, "filters": {"id": ["é&=1"]}}),
    ):
        with pytest.raises(ApiError) as caught:
            Engine(host).delete(path, **query)
        assert caught.value.status == 404
    assert server.asked[1] == "DELETE /v1.41/containers/a%20b%0A%3Fx%3D1/json HTTP/1.1"
    assert server.asked[3].startswith("DELETE /v1.41/x?all=1&v=0&filters=%7B%22id%22%3A+%5B%22")


def test_an_engine_that_is_too_old_is_named(serve):
    _, host = serve({"/version": answer({"Version": "18.09.1", "ApiVersion": "1.39"})})
    error = failure(host)
    assert error.rule == "docker_version" and "18.09.1 (API 1.39) is too old; 19.03" in error.msg


@pytest.mark.parametrize("oldest", ["1.48", "2.0"])
def test_an_engine_that_no_longer_speaks_what_is_known_is_not_asked_for_more(serve, oldest):
    server, host = serve({"/version": answer({"Version": "40.1", "ApiVersion": "2.9", "MinAPIVersion": oldest})})
    error = failure(host, lambda engine: engine.get("/system/df"))
    assert error.rule == "docker_version" and f"40.1 speaks only API {oldest} and newer, and API 1.47" in error.msg
    assert server.asked == ["GET /version HTTP/1.1"]


@pytest.mark.parametrize("said", [b"hello", b"[]", b"{}", b"null", b'{"ApiVersion": "seven"}', b"\xff\xfe{", b"{" * 50])
def test_what_is_no_engine_is_told_so(serve, said):
    _, host = serve({"/version": answer(said)})
    assert failure(host).rule in ("docker_protocol", "docker_version")


def test_something_that_is_no_http_is_gone_and_never_a_traceback(serve):
    for said in (b"220 mail.example.com ESMTP\r\n", b"\x00" * 100, b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}"):
        _, host = serve({"/version": said}, tcp=True)
        assert isinstance(failure(host), DockerError)


def test_the_engine_s_own_words_are_in_the_error_without_control_characters(serve):
    said = {"message": "conflict: unable to delete \x1b[31mabc\n"}
    _, host = serve({"/v1.41/images/abc": answer(said, "409 Conflict")})
    error = failure(host, lambda engine: engine.delete("/images/abc"))
    assert (error.status, error.rule) == (409, "docker_api") and "unable to delete \\x1b[31mabc" in error.msg
    _, host = serve({"/v1.41/x": answer(b"<html>proxy</html>", "502 Bad Gateway")}, tcp=True)
    error = failure(host, lambda engine: engine.get("/x"))
    assert error.status == 502 and "<html>proxy</html>" in error.msg


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n',
    ],
)
def test_an_answer_that_ends_in_the_middle_leaves_it_open_what_was_done(serve, half):
    _, host = serve({"/v1.41/build/prune": half})
    error = failure(host, lambda engine: engine.post("/build/prune"))
    assert isinstance(error, Gone) and error.rule == "docker_gone" and "/build/prune" in error.msg


def test_a_chunked_answer_is_put_together_and_an_empty_one_is_none(serve):
    chunks = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n3\r\n 1}\r\n0\r\n\r\n'
    _, host = serve({"/v1.41/a": chunks, "/v1.41/b": b"HTTP/1.1 204 No Content\r\n\r\n"})
    engine = Engine(host)
    assert engine.get("/a") == {"a": 1} and engine.delete("/b") is None


def test_the_time_is_for_the_whole_answer_also_when_it_drips(serve):
    def drip(client):
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            client.sendall(b" ")
            time.sleep(0.05)

    _, host = serve({"/v1.41/system/df": drip})
    began = time.monotonic()
    error = failure(host, lambda engine: engine.get("/system/df"), timeout_seconds=1)
    assert isinstance(error, Gone) and error.rule == "docker_timeout" and time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("host", "rule", "words"),
    [
        ("unix:///nowhere/docker.sock", "docker_absent", "no such socket"),
        ("unix:///etc/passwd/docker.sock", "docker_absent", "no such socket"),
        ("unix:///etc/passwd", "docker_stopped", "nobody listens"),
        ("tcp://127.0.0.1:1", "docker_unreachable", "refused"),
        ("tcp://no-such-host.invalid:2375", "docker_dns", "name"),
        ("tcp://127.0.0.1", "docker_host", "neither"),
        ("tcp://user@127.0.0.1:2375", "docker_host", "neither"),
        ("tcp://127.0.0.1:99999", "docker_host", "neither"),
        ("unix://docker.sock", "docker_host", "neither"),
        ("/var/run/docker.sock", "docker_host", "neither"),
        ("ssh://ops@web1", "docker_host", "let Ansible connect"),
        ("http://a\x1b[31m", "docker_host", "\\x1b"),
        ("unix:///" + "x" * 200, "docker_unreachable", "too long"),
    ],
)
def test_an_engine_that_is_not_there_is_told_by_its_reason(host, rule, words):
    error = failure(host)
    assert error.rule == rule and words in error.msg


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def tls(authority, tmp_path):
    """The server's side, which wants a certificate of the authority, and the files of a client that has one."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.issue_cert("localhost").configure_cert(context)
    client = authority.issue_cert("ops")
    files = {"ca_file": tmp_path / "ca", "certificate_file": tmp_path / "cert", "key_file": tmp_path / "key"}
    authority.cert_pem.write_to_path(files["ca_file"])
    client.cert_chain_pems[0].write_to_path(files["certificate_file"])
    client.private_key_pem.write_to_path(files["key_file"])
    return context, {name: str(path) for name, path in files.items()}


def test_a_remote_engine_is_reached_by_tls_with_both_certificates(serve, tls):
    context, files = tls
    server, host = serve({"/v1.41/info": answer({"ID": "x"})}, tls=context)
    engine = Engine(host, **files)
    assert engine.get("/info") == {"ID": "x"} and not engine.is_local


def test_tls_that_fails_says_whose_certificate_it_is_about(serve, tls, tmp_path):
    context, files = tls
    _, host = serve({}, tls=context)
    stranger = trustme.CA()
    stranger.cert_pem.write_to_path(tmp_path / "other")
    error = failure(host, **{**files, "ca_file": str(tmp_path / "other")})
    assert isinstance(error, NoEngine) and error.rule == "docker_tls" and "not to be trusted" in error.msg
    # the name that was called is not the one in the certificate
    error = failure(host.replace("localhost", "127.0.0.1"), **files)
    assert error.rule == "docker_tls" and "not to be trusted" in error.msg
    # the engine wants a client certificate
    error = failure(host, ca_file=files["ca_file"])
    assert error.rule in ("docker_tls", "docker_gone")
    # plain words to an engine that speaks TLS, and TLS to one that does not
    assert isinstance(failure(host), DockerError)
    _, plain = serve({}, tcp=True)
    assert failure(plain, **files).rule == "docker_tls"


@pytest.mark.parametrize("given", [("ca_file",), ("certificate_file", "key_file"), ("ca_file", "key_file")])
def test_files_of_tls_that_do_not_fit_are_refused_before_anybody_is_asked(tls, given, tmp_path):
    files = {name: path for name, path in tls[1].items() if name in given}
    if given == ("ca_file",):
        files["ca_file"] = str(tmp_path / "missing")
    error = failure("tcp://127.0.0.1:1", **files)
    assert error.rule == "docker_tls"
    assert failure("unix:///var/run/docker.sock", **tls[1]).rule == "docker_tls"
