# SPDX-License-Identifier: MIT
"""Whether a server says of itself that nothing on it is worth keeping, so that nobody has to confirm a restore.

The marker is one document, ``{_id: "scratch", members: ["host:port", ...]}``, in the database ``mendbook_scratch``.
It counts only while ``members`` is what the server itself calls its members: a marker that came with a copied or
restored database names those of another server.
"""

from __future__ import annotations

from pymongo.errors import OperationFailure

from .plan import refusal

DATABASE = "mendbook_scratch"
COLLECTION = "scratch"
ID = "scratch"

_NOT_ALLOWED = 13
_WAY_ON = (
    "mark the server as scratch if nothing on it is worth keeping (docs/restore_mongo.md has the line for mongosh), or "
    "name another; only a restore (restore_mongo without mongo_restore_scratch) can be confirmed instead, no drill"
)


def members(deployment):
    """Return what the server calls its members, sorted: the hosts of its set, or the host of a standalone."""
    hosts = deployment.hello.get("hosts")
    return sorted(hosts) if hosts else [deployment.command("serverStatus")["host"]]


def refusals(deployment):
    """Return what forbids to call this deployment scratch, as the plan's refusals; empty when it says so itself."""
    try:
        with deployment.deadline():
            marker = deployment.client[DATABASE][COLLECTION].find_one({"_id": ID})
        here = members(deployment)
    except OperationFailure as error:
        if error.code != _NOT_ALLOWED:
            raise
        words = f"whether this server is scratch cannot be known: the user may not read {DATABASE} or serverStatus"
        return [refusal("scratch", words, override="grant the role backup on admin")]
    if marker is None:
        words = f"this server does not say that it is scratch: it has no marker in {DATABASE}.{COLLECTION}"
        return [refusal("scratch", words, override=_WAY_ON)]
    if marker.get("members") != here:
        words = f"the marker in {DATABASE}.{COLLECTION} was made for another server, this one is {', '.join(here)}"
        return [refusal("scratch", words, value=repr(marker.get("members"))[:200], limit=repr(here), override=_WAY_ON)]
    return []
