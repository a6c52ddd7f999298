# SPDX-License-Identifier: MIT
"""Why Ansible could not read an inventory, ahead of all that its plugins say about it."""

from __future__ import annotations

import re

_NO_ENGINE = r"Error connecting: Error while fetching server API version"
_CAUSES = (
    (r"unknown plugin '(?:community|ansible)\.", "it needs Ansible's collections: pip install 'mendbook[collections]'"),
    (r"No module named 'requests'", "it needs the Python library requests: pip install 'mendbook[collections]'"),
    (_NO_ENGINE + r".*PermissionError\(13", "this user may not talk to the Docker engine that it names (docker_host)"),
    (_NO_ENGINE, "no Docker engine answers where it says (docker_host): is it running there? systemctl status docker"),
    (r"Error connecting: (?P<why>[^\n]+)", "its Docker engine (docker_host) is not reached: {why}"),
)


def unreadable(said: str) -> str:
    """The words for an inventory that cannot be read: the cause where it is a known one, then what Ansible has said."""
    found = ((words, re.search(pattern, said, re.DOTALL)) for pattern, words in _CAUSES)
    cause = next((words.format(**match.groupdict()) for words, match in found if match), "")
    return f"the inventory cannot be read: {cause}".rstrip() + f"\n{said}"
