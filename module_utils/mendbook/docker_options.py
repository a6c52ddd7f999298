# SPDX-License-Identifier: MIT
"""The connection options that every mend_docker_* module shares."""

from __future__ import annotations

from .docker_engine import DEFAULT_HOST

CONNECTION_SPEC = {
    "docker_host": {"type": "str", "default": DEFAULT_HOST},
    "tls_ca_file": {"type": "path"},
    "tls_certificate_file": {"type": "path"},
    "tls_key_file": {"type": "path"},
    "timeout_seconds": {"type": "int", "default": 60},
}
