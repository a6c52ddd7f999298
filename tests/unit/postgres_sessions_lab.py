"""Sessions and servers as a look would see them: what the tests of the PostgreSQL decisions share."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.mendbook.postgres_activity import Activity
from ansible.module_utils.mendbook.postgres_options import LIMITS

SERVER = {
    "system_identifier": "7000", "version": "18.6", "standby": False, "user": "ops", "superuser": True,
    "reads_all": True, "signals": True, "track_activities": True, "max_connections": 100, "superuser_reserved": 3,
    "reserved": 0, "lag_seconds": None, "receiver": None, "upstream": None, "address": "db1:5432", "ip": "10.0.0.1",
    "tls": True, "pooled": False,
}  # fmt: skip
SESSION = {
    "kind": "client backend", "database": "shop", "user": "shop", "application": "shop-api", "client": "10.0.0.5",
    "state": "idle", "wait": "Client: ClientRead", "statement": "select ?", "started": 1, "changed": 2,
    "session_seconds": 900.0, "state_seconds": 600.0, "transaction_seconds": None, "query_seconds": 601.0,
    "blocked_seconds": None, "blocked_by": None, "superuser": False, "monitors": False, "mine": False,
    "holds_lock": False, "listens": False, "own": False, "mendbook": False,
}  # fmt: skip
OPTIONS = {
    "database": "shop", "idle_seconds": 300, "in_transaction_seconds": None, "applications": [], "users": [],
    "clients": [], "exclude_applications": [], "exclude_users": [], "exclude_clients": [],
    "spare": ["superusers", "poolers", "monitoring", "lock_holders", "listeners"], "max_sessions": 200,
    "max_share": 0.9, "limit": 20, **LIMITS,
}  # fmt: skip


def session(pid: int = 1, **facts: Any) -> dict[str, Any]:
    return {**SESSION, "pid": pid, **facts}


def activity(*sessions: dict[str, Any], **server: Any) -> Activity:
    """A look that has seen these sessions; without a pid of their own they are numbered."""
    numbered = [{**one, "pid": number} if one["pid"] == 1 else one for number, one in enumerate(sessions, 1)]
    return Activity({**SERVER, **server}, [], ["postgres", "shop"], numbered)


def options(**changed: Any) -> dict[str, Any]:
    return {**OPTIONS, **changed}
