# SPDX-License-Identifier: MIT
"""Whether the user may do what a restore does, before anything is touched; and which role to grant when not."""

from __future__ import annotations

from uuid import uuid4

from bson.binary import Binary
from pymongo.errors import OperationFailure

from .errors import Refused
from .mongo_catalog import BUCKETS

# of a restore with swap and read-back; renames within a database need either their own action or these
_RESTORE = (
    "find",
    "insert",
    "createCollection",
    "createIndex",
    "dropCollection",
    "collMod",
    "bypassDocumentValidation",
)
_CATALOG = ("listCollections", "listIndexes", "collStats")
_NOT_ALLOWED = 13
# a random UUID can name nothing: 13 says that the user may not, anything else that he may; nothing changes either way
_PROBES = {
    "collMod": lambda name, uuid: {"collMod": name, "collectionUUID": uuid},
    "dropCollection": lambda name, uuid: {"drop": name, "collectionUUID": uuid},
    "find": lambda name, uuid: {"find": name, "collectionUUID": uuid, "limit": 1},
    "listCollections": lambda name, uuid: {"listCollections": 1, "nameOnly": False, "filter": {"name": name}},
    "listIndexes": lambda name, uuid: {"listIndexes": name},
    "collStats": lambda name, uuid: {"collStats": name},
}


def missing_privileges(deployment, database_name, timeseries=False):
    """Return what the user lacks for restore, swap and undo: ``[{"privilege", "role", "msg"}]``, empty when nothing.

    Reads the user's privileges, and asks for the impossible where they do not say yes (roles that grant single
    collections, a server without authentication). Changes nothing.
    """
    auth = deployment.command("connectionStatus", showPrivileges=True)["authInfo"]
    privileges = auth["authenticatedUserPrivileges"]
    user = auth["authenticatedUsers"][0] if auth["authenticatedUsers"] else None
    if user is None and _probe(deployment, "collMod", **_side_of(database_name)):
        return []  # a server without authentication knows no privileges and allows everything
    wanted = [(action, _side_of(database_name)) for action in (*_RESTORE, *_CATALOG)]
    if timeseries:
        wanted += [(action, _buckets_of(database_name)) for action in _RESTORE]
    missing = []
    for action, resource in wanted:
        if allows(privileges, action, **resource) or _probe(deployment, action, **resource):
            continue
        missing.append(_words(action, resource, user, timeseries))
    return missing


def refuse_blind(missing):
    """Raise `Refused` when the user may not even look at what would be changed: then no plan can be made."""
    for one in missing:
        if one["privilege"] in ("find", *_CATALOG):
            raise Refused(one["msg"], rule="privileges", details={"missing": missing})


def allows(privileges, action, database, collection):
    """Tell whether privileges as connectionStatus shows them contain an action on a collection; pure."""
    return any(
        action in privilege["actions"] and _covers(privilege["resource"], database, collection)
        for privilege in privileges
    )


def _covers(resource, database, collection):
    if resource.get("anyResource"):
        return True
    buckets = collection.startswith(BUCKETS)
    if "system_buckets" in resource:
        return (
            buckets
            and resource["system_buckets"] in ("", collection[len(BUCKETS) :])
            and (resource.get("db", "") in ("", database))
        )
    if "db" not in resource or resource["db"] not in ("", database):
        return False
    if resource["collection"] == "":
        # a whole database means its ordinary collections, not the system's
        return not collection.startswith("system.")
    return resource["collection"] == collection


def _probe(deployment, action, database, collection):
    """Tell whether the server lets the user do this, by asking for what cannot be done."""
    if action not in _PROBES:
        return False
    command = _PROBES[action](collection, Binary(uuid4().bytes, 4))
    try:
        deployment.command(command, database=database)
    except OperationFailure as error:
        return error.code != _NOT_ALLOWED
    return True


def _side_of(database_name):
    return {"database": database_name, "collection": "__mend_n_probe_"}


def _buckets_of(database_name):
    return {"database": database_name, "collection": BUCKETS + "__mend_n_probe_"}


def _words(action, resource, user, timeseries):
    buckets = resource["collection"].startswith(BUCKETS)
    role = "backup and restore on admin"
    if not timeseries:
        role += f", or readWrite and dbAdmin on {resource['database']}"
    name, where = (user["user"], user["db"]) if user else ("the user", "admin")
    what = "the buckets of time-series collections" if buckets else f"database {resource['database']}"
    return {
        "privilege": action,
        "role": role,
        "msg": f"{name} may not {action} in {what}; grant {role}: "
        f'db.getSiblingDB("{where}").grantRolesToUser("{name}", [{{role: "backup", db: "admin"}}, '
        '{role: "restore", db: "admin"}])',
    }
