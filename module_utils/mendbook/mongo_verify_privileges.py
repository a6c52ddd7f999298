# SPDX-License-Identifier: MIT
"""Whether the user may read what is verified, before anything is compared; and which role to grant when not."""

from __future__ import annotations

from .errors import Refused
from .mongo_catalog import BUCKETS
from .mongo_expect import quoted
from .mongo_privileges import allows


class Reading:
    """What the user of a deployment may read; everything on a server without authentication."""

    def __init__(self, deployment, database_name):
        auth = deployment.command("connectionStatus", showPrivileges=True)["authInfo"]
        self._privileges = auth["authenticatedUserPrivileges"]
        self._user = auth["authenticatedUsers"][0] if auth["authenticatedUsers"] else None
        self._database = database_name

    def require_catalogue(self):
        """Raise Refused (rule "privileges") unless the collections may be listed."""
        if not self._may("listCollections", ""):
            raise self._refused("list the collections", "read", self._database)

    def require(self, entries, contents):
        """Raise Refused unless each of ``{name: entry}`` may be read, the names in ``contents`` with their buckets."""
        for name, entry in entries.items():
            actions = ("find",) if entry["type"] == "view" else ("find", "listIndexes")
            if not all(self._may(action, name) for action in actions):
                raise self._refused(f"read {quoted(name)}", "read", self._database)
            if entry["type"] == "timeseries" and name in contents and not self._may("find", BUCKETS + name):
                raise self._refused(
                    f"read the buckets of the time-series {quoted(name)}", "backup", "admin", ", or set content to none"
                )

    def _may(self, action, collection, database=None):
        return self._user is None or allows(self._privileges, action, database or self._database, collection)

    def _refused(self, what, role, where, otherwise=""):
        name, home = self._user["user"], self._user["db"]
        grant = f'[{{role: "{role}", db: {quoted(where)}}}]'
        return Refused(
            f"{quoted(name)} may not {what} in {quoted(self._database)}: grant the role {role} on {quoted(where)}"
            f"{otherwise} (db.getSiblingDB({quoted(home)}).grantRolesToUser({quoted(name)}, {grant}))",
            rule="privileges",
            details={"role": role, "database": where},
        )
