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
    """One object of the dump and the name that it gets: ``source`` is the DumpCollection, ``target`` a collection name."""

    def __init__(self, source, target):
        self.source = source
        self.target = target

    @property
    def type(self):
        """collection, view or timeseries, as the dump says."""
        return self.source.type

    def __repr__(self):
        return "Item(%s.%s -> %s)" % (self.source.db, self.source.name, self.target)


def source_database(databases, wanted, target):
    """The database of the dump that is restored into ``target``.

    ``databases`` are those with collections in the dump, ``wanted`` is the one that the operator named, or None. A dump of
    another application is refused: its name is the only thing in a dump that says whose it is.
    """
    names = sorted(name for name in databases if name not in ("admin", "config", "local", ""))
    if wanted is not None:
        if wanted in names:
            return wanted
        raise Nothing("the backup has no database %s; it has: %s" % (wanted, _listed(names)), rule="source_database")
    if target in names:
        return target
    if not names:
        raise Nothing("the backup has no database of an application in it", rule="source_database")
    raise Refused(
        "the backup is of another database: it has %s and not %s; if that is what you want, say which with "
        "-e mongo_restore_source_database=%s" % (_listed(names), target, names[0]),
        rule="source_database",
    )


def select(dump_collections, database, collections=(), exclude=(), rename=None, target_database=None):
    """The items to restore, in the order of the dump.

    ``dump_collections`` maps (database, name) to DumpCollection. A selection that names something the backup lacks is an
    error and not a smaller selection; so is one that leaves nothing.
    """
    available = {name: found for (db, name), found in dump_collections.items() if db == database}
    ordinary = [name for name in available if not name.startswith("system.")]
    rename = rename or {}
    for option, names in (("collections", collections), ("exclude", exclude), ("rename", rename)):
        for name in names:
            if name not in available:
                raise Nothing(_unknown(option, name, database, available), rule=option)
    for name in collections:
        if name.startswith("system.") and name not in RESTORABLE_SYSTEM:
            raise Refused(
                "%s belongs to the server and is not restored by copying; users and roles come back by "
                "mongo_restore_users and mongo_restore_roles, views by their own names" % name,
                rule="collections",
            )
    chosen = list(collections) if collections else [name for name in ordinary if name not in set(exclude)]
    items = [Item(available[name], rename.get(name, name)) for name in available if name in set(chosen)]
    if not items:
        raise Nothing(
            "nothing of %s is selected: the backup has %s" % (database, _listed(sorted(available))), rule="collections"
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
                "%r cannot be the name of a collection here: %s; choose another with "
                '-e \'{"mongo_restore_rename": {"%s": ...}}\'' % (name, problem, item.source.name),
                rule="rename",
            )
        if name in seen:
            raise Refused("%s and %s would both become %s" % (seen[name], item.source.name, name), rule="rename")
        seen[name] = item.source.name


def _name_problem(name, database):
    if not name:
        return "it is empty"
    if "\0" in name:
        return "it holds a NUL character"
    if "$" in name:
        return "it holds a dollar sign, which the server keeps for itself"
    if name.startswith(OURS):
        return "names that begin with %s are mendbook's own" % OURS
    if name.startswith("system.") and name not in RESTORABLE_SYSTEM:
        return "names that begin with system. are the server's own"
    if name.startswith(".") or name.endswith("."):
        return "it begins or ends with a full stop"
    size = len(("%s.%s" % (database, name)).encode("utf-8", "surrogatepass"))
    if size > NAMESPACE_BYTES:
        return "with its database it has %d bytes, and a namespace may have %d" % (size, NAMESPACE_BYTES)
    return None


def check_types(items, live):
    """Refuse a change of kind: a view, a collection and a time-series cannot replace each other in one rename.

    ``live`` maps the names in the target to their type.
    """
    for item in items:
        found = live.get(item.target)
        if found is not None and found != item.type:
            raise Refused(
                "%s is a %s in the target and a %s in the backup; rename or drop the live one first, or leave it out with "
                "mongo_restore_exclude" % (item.target, found, item.type),
                rule="type",
            )


def _unknown(option, name, database, available):
    near = difflib.get_close_matches(name, available, n=3, cutoff=0.5)
    hint = "did you mean %s?" % " or ".join(near) if near else "it has %s" % _listed(sorted(available))
    return "mongo_restore_%s names %r, and the backup of %s has no such collection; %s" % (option, name, database, hint)


def _listed(names, most=12):
    names = list(names)
    if not names:
        return "nothing"
    more = ", and %d more" % (len(names) - most) if len(names) > most else ""
    return ", ".join(names[:most]) + more
