# SPDX-License-Identifier: MIT
"""What of a dump is restored, and under which name: pure decisions over names, with no server and no file."""

from __future__ import annotations

import difflib

from ansible.module_utils.mendbook.errors import Nothing, Refused

OURS = "__mend_"
# a namespace may have 255 bytes (server 4.4 and newer), "database.collection" included
NAMESPACE_BYTES = 255
# the only system collection that is the application's own data; the others are the server's
RESTORABLE_SYSTEM = ("system.js",)


class Item:
    """One object of the dump (``source``, a DumpCollection) and the name that it gets (``target``)."""

    def __init__(self, source, target):
        self.source = source
        self.target = target

    @property
    def type(self):
        """collection, view or timeseries, as the dump says."""
        return self.source.type

    def __repr__(self):
        return f"Item({self.source.db}.{self.source.name} -> {self.target})"


def source_database(databases, wanted, target):
    """The database of the dump that is restored into ``target``.

    ``databases`` are those with collections in the dump, ``wanted`` is the one that the operator named, or None.
    A dump of another application is refused: its name is the only thing in a dump that says whose it is.
    """
    names = sorted(name for name in databases if name not in ("admin", "config", "local", ""))
    if wanted is not None:
        if wanted in names:
            return wanted
        raise Nothing(f"the backup has no database {wanted}; it has: {_listed(names)}", rule="source_database")
    if target in names:
        return target
    if not names:
        raise Nothing("the backup has no database of an application in it", rule="source_database")
    raise Refused(
        f"the backup is of another database: it has {_listed(names)} and not {target}; if that is what you want, say "
        f"which with -e mongo_restore_source_database={names[0]} (mongo_drill_source_database in a drill)",
        rule="source_database",
    )


def select(dump_collections, database, collections=(), exclude=(), rename=None, target_database=None):
    """The items to restore, in the order of the dump.

    ``dump_collections`` maps (database, name) to DumpCollection. A selection that names something the backup
    lacks is an error and not a smaller selection; so is one that leaves nothing.
    """
    # users and roles of the database stand in the dump as collections $admin.system.*: mongo_access.py
    available = {
        name: found for (db, name), found in dump_collections.items() if db == database and not name.startswith("$")
    }
    ordinary = [name for name in available if not name.startswith("system.")]
    rename = rename or {}
    if collections and exclude:
        raise Refused("mongo_restore_collections and mongo_restore_exclude contradict each other", rule="collections")
    for option, names in (("collections", collections), ("exclude", exclude), ("rename", rename)):
        for name in names:
            if name not in available:
                raise Nothing(_unknown(option, name, database, available), rule=option)
    for name in collections:
        if name.startswith("system.") and name not in RESTORABLE_SYSTEM:
            raise Refused(
                f"{name} belongs to the server and is not restored by copying; users and roles come back by "
                "mongo_restore_users and mongo_restore_roles, views by their own names",
                rule="collections",
            )
    chosen = list(collections) if collections else [name for name in ordinary if name not in set(exclude)]
    items = [Item(available[name], rename.get(name, name)) for name in available if name in set(chosen)]
    if not items:
        raise Nothing(
            f"nothing of {database} is selected: the backup has {_listed(sorted(available))}", rule="collections"
        )
    _check_targets(items, target_database or database)
    return items


def _check_targets(items, database):
    seen = {}
    for item in items:
        name = item.target
        problem = _name_problem(name, database)
        if problem:
            raise Refused(
                f"{name!r} cannot be the name of a collection here: {problem}; "
                f"give {item.source.name!r} another name with mongo_restore_rename",
                rule="rename",
            )
        if name in seen:
            raise Refused(f"{seen[name]} and {item.source.name} would both become {name}", rule="rename")
        seen[name] = item.source.name


def _name_problem(name, database):
    if not name:
        return "it is empty"
    if "\0" in name:
        return "it holds a NUL character"
    if "$" in name:
        return "it holds a dollar sign, which the server keeps for itself"
    if name.startswith(OURS):
        return f"names that begin with {OURS} are mendbook's own"
    if name.startswith("system.") and name not in RESTORABLE_SYSTEM:
        return "names that begin with system. are the server's own"
    if name.startswith(".") or name.endswith("."):
        return "it begins or ends with a full stop"
    size = len(f"{database}.{name}".encode("utf-8", "surrogatepass"))
    if size > NAMESPACE_BYTES:
        return f"with its database it has {size} bytes, and a namespace may have {NAMESPACE_BYTES}"
    return None


def _unknown(option, name, database, available):
    near = difflib.get_close_matches(name, available, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {_listed(sorted(available))}"
    return f"mongo_restore_{option} names {name!r}, and the backup of {database} has no such collection; {hint}"


def _listed(names, most=12):
    names = list(names)
    if not names:
        return "nothing"
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
