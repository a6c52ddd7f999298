# SPDX-License-Identifier: MIT
"""The environment that ansible gets: an allow-list, because ansible-runner writes all of it into a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

# No secret has its place here: secrets are asked for one by one, over a socket.
_NAMES = frozenset(
    """
    HOME USER LOGNAME SHELL PATH LANG LANGUAGE TZ TERM TMPDIR PYTHONPATH VIRTUAL_ENV
    SSH_AUTH_SOCK KRB5CCNAME KRB5_CONFIG KUBECONFIG DOCKER_HOST DOCKER_CONTEXT DOCKER_CERT_PATH DOCKER_TLS_VERIFY
    HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy
    SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
    AWS_PROFILE AWS_REGION AWS_DEFAULT_REGION AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_CA_BUNDLE AWS_ROLE_ARN
    AWS_ROLE_SESSION_NAME AWS_WEB_IDENTITY_TOKEN_FILE AWS_CONTAINER_CREDENTIALS_RELATIVE_URI
    AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3
    AWS_ENDPOINT_URL_STS AWS_USE_FIPS_ENDPOINT AWS_USE_DUALSTACK_ENDPOINT AWS_STS_REGIONAL_ENDPOINTS AWS_MAX_ATTEMPTS
    AWS_RETRY_MODE AWS_SDK_LOAD_CONFIG
    ANSIBLE_HOME ANSIBLE_COLLECTIONS_PATH ANSIBLE_VAULT_PASSWORD_FILE ANSIBLE_VAULT_IDENTITY
    ANSIBLE_VAULT_IDENTITY_LIST ANSIBLE_PRIVATE_KEY_FILE ANSIBLE_REMOTE_USER ANSIBLE_REMOTE_PORT ANSIBLE_TIMEOUT
    ANSIBLE_FORKS ANSIBLE_BECOME_PASSWORD_FILE ANSIBLE_CONNECTION_PASSWORD_FILE ANSIBLE_HOST_KEY_CHECKING
    ANSIBLE_SSH_ARGS ANSIBLE_SSH_COMMON_ARGS ANSIBLE_SSH_EXTRA_ARGS ANSIBLE_SSH_CONTROL_PATH_DIR
    """.split()
)
_PREFIXES = ("LC_", "XDG_", "AWS_EC2_METADATA_")
# What ansible-runner needs to hear its own events; the rest of what it sets (no host keys, a fact cache) is not wanted.
_RUNNER = frozenset({"ANSIBLE_CALLBACK_PLUGINS", "ANSIBLE_STDOUT_CALLBACK", "AWX_ISOLATED_DATA_DIR"})


def allowed(everything: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that a run may see: where things are, never what opens them."""
    return {name: value for name, value in everything.items() if name in _NAMES or name.startswith(_PREFIXES)}


def for_run(
    prepared: Mapping[str, str], content: Path, own: Mapping[str, str], ours: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of ansible: what is allowed of ours, what events need, and this run's ``own`` names.

    ``ours`` stands in for the environment of this process when the run is that of another time.
    """
    ours = os.environ if ours is None else ours
    environment = allowed(ours)
    environment |= {name: value for name, value in prepared.items() if name in _RUNNER}
    # ansible-runner finds nothing without it, and modules on this machine call ansible's neighbours
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), ours.get("PATH", os.defpath)])
    environment["ANSIBLE_CONFIG"] = str(content / "ansible.cfg")
    environment["ANSIBLE_NOCOLOR"] = "1"
    # ansible-runner empties results above 700,000 characters, and with them the reason of a failure
    environment["MAX_EVENT_RES"] = str(1 << 30)
    return environment | dict(own)


def state_folder() -> Path:
    """Where journals are: ``MENDBOOK_STATE``, else /var/lib/mendbook for root, else the XDG state folder."""
    if chosen := os.environ.get("MENDBOOK_STATE"):
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/mendbook")
    base = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(base) / "mendbook"
