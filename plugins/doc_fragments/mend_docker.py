# SPDX-License-Identifier: MIT
"""The connection options of every mend_docker_* module; they are those of docker_options.CONNECTION_SPEC."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  docker_host:
    description:
      - Where the engine listens, as the host that the module runs on sees it. V(unix:///PATH) or V(tcp://HOST:PORT),
        the latter with TLS when one of the files is given. A rootless engine has its socket in the user's
        C(XDG_RUNTIME_DIR).
    type: str
    default: unix:///var/run/docker.sock
  tls_ca_file:
    description: Absolute path of the certificates of the authorities that may sign the engine's certificate.
    type: path
  tls_certificate_file:
    description: Absolute path of the client's certificate.
    type: path
  tls_key_file:
    description: Absolute path of its key.
    type: path
  timeout_seconds:
    description:
      - Seconds that the engine may take for one answer, and ten times as long for a removal. What it holds may take it
        long to add up.
    type: int
    default: 60
"""
