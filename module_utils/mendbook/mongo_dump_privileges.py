# SPDX-License-Identifier: MIT
"""Whether the user may read all that a dump needs, before anything is read; and which role to grant when not."""

from __future__ import annotations

from .mongo_expect import quoted
from .mongo_verify_privileges import Reading

# users and roles of every database stand here
ACCESS = ("system.users", "system.roles", "system.version")


class Dumping(Reading):
    """What the user of a deployment may read for a dump; everything on a server without authentication."""

    def require_dump(self, entries, users_and_roles):
        """Raise Refused unless each of ``{name: Entry}`` may be read, with its buckets, its size and its indexes."""
        self.require({name: {"type": entry.type} for name, entry in entries.items()}, set(entries))
        for name, entry in entries.items():
            if entry.type != "view" and not self._may("collStats", name):
                raise self._refused(f"ask for the size of {quoted(name)}", "read", self._database)
        if users_and_roles and not all(self._may("find", name, "admin") for name in ACCESS):
            raise self._refused("read the users and roles", "backup", "admin", ", or leave users_and_roles out")
