# SPDX-License-Identifier: MIT
"""Users and roles of a backup: only those that are asked for by name, merged by the server itself."""

from __future__ import annotations

from .errors import Nothing, Refused
from .mongo_catalog import CODEC

# kind -> (field of the name, where mongodump leaves them with --dumpDbUsersAndRoles, and where in a dump of a server)
_KINDS = {
    "users": ("user", "$admin.system.users", "system.users"),
    "roles": ("role", "$admin.system.roles", "system.roles"),
}


def access_in(dump, database):
    """{"users": key, "roles": key} of the collections of a dump that hold those of ``database``, where it has any."""
    found = {}
    for kind, (_field, beside, server_wide) in _KINDS.items():
        for key in ((database, beside), ("admin", server_wide)):
            if key in dump.collections:
                found[kind] = key
                break
    return found


def check_access(dump, database, target, params):
    """Refuse names that cannot come back, as far as that is known before the backup is read."""
    found = access_in(dump, database)
    for kind in _KINDS:
        if not params[kind]:
            continue
        if kind not in found:
            raise Nothing(
                f"mongo_restore_{kind} names {params[kind][0]}, and the backup holds no {kind}: mongodump writes them "
                "with --dumpDbUsersAndRoles, or when it dumps a whole server",
                rule=kind,
            )
        if database != target:
            raise Refused(
                f"{kind} belong to the database {database} by name and cannot become {kind} of {target}; leave out "
                f"mongo_restore_{kind}",
                rule=kind,
            )


class Access:
    """The users and roles of one restore: loaded beside the data, picked by name, merged after the swap."""

    def __init__(self, dump, database, names, params):
        self._database = database
        self._names = names
        self._wanted = {kind: params[kind] for kind in _KINDS if params[kind]}
        found = access_in(dump, database.name) if self._wanted else {}
        self._keys = {kind: found[kind] for kind in self._wanted}

    @property
    def sides(self):
        """{key in the dump: side collection}, for the loader."""
        return {key: self._names.side(_KINDS[kind][2]) for kind, key in self._keys.items()}

    def pick(self):
        """Copy what was asked for into collections of its own; Nothing names what the backup lacks."""
        for kind, wanted in self._wanted.items():
            field = _KINDS[kind][0]
            loaded = self._collection(_KINDS[kind][2])
            documents = list(loaded.find({"db": self._database.name, field: {"$in": list(wanted)}}))
            missing = sorted(set(wanted) - {document[field] for document in documents})
            if missing:
                there = sorted(one[field] for one in loaded.find({"db": self._database.name}, {field: 1}))
                raise Nothing(
                    f"mongo_restore_{kind} names {missing[0]}, and the backup has no such {kind[:-1]} of "
                    f"{self._database.name}; it has: {', '.join(there[:20]) or 'none'}",
                    rule=kind,
                )
            self._collection(_KINDS[kind][2] + ".picked").insert_many(documents)

    def merge(self):
        """Let the server merge them into its own; users and roles of other names stay as they are."""
        if not self._wanted:
            return
        temporary = dict.fromkeys(_KINDS, "")
        for kind in self._wanted:
            temporary[kind] = f"{self._database.name}.{self._names.side(_KINDS[kind][2] + '.picked')}"
        self._database.client.admin.command(
            {
                "_mergeAuthzCollections": 1,
                "tempUsersCollection": temporary["users"],
                "tempRolesCollection": temporary["roles"],
                "drop": False,
                "db": self._database.name,
                "writeConcern": {"w": "majority"},
            }
        )

    def drop(self):
        """Remove the copies: they hold credentials."""
        for kind in self._wanted:
            for name in (_KINDS[kind][2], _KINDS[kind][2] + ".picked"):
                self._database.drop_collection(self._names.side(name))

    def _collection(self, name):
        return self._database.get_collection(self._names.side(name), codec_options=CODEC)
