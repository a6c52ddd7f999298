# SPDX-License-Identifier: MIT
"""Flushing a Redis as one change: what is meant goes from every master, wherever keys wander, and that is read back."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import redis

from . import redis_options
from .change import done, skipped
from .errors import MendError, Partial, Refused, VerifyFailed
from .held_signals import held_signals
from .plan import refusal
from .progress import Progress
from .redis_client import connect
from .redis_flush_plan import Seen, flush_plan
from .redis_flush_round import Place, Rounds
from .redis_flush_sample import sample
from .redis_flush_select import Selector, check_options
from .redis_lock import Presence, holder
from .redis_masters import masters_now
from .redis_scan import connected

_AT_ONCE = 16
_REPLICA_SECONDS = 2.0


class Flush:
    """The procedure of mend_redis_flush (change.py says what each method promises)."""

    def __init__(self, params):
        self.params = params
        self.figures = {}
        self.warnings = []
        self._selector = self._presence = self._planned = self._databases = self._rounds = None

    def secrets(self, params):
        return redis_options.secrets_in(params)

    @contextmanager
    def open(self, params):
        check_options(params)
        self._selector = Selector(params)
        with connect(params, (params.get("receipt") or {}).get("run")) as access:
            yield access

    @contextmanager
    def lock(self, access, run):
        with Presence(access, run) as presence:
            presence.hold(masters_now(access).nodes)
            self._presence = presence
            yield

    def observe(self, access):
        masters = self._planned = masters_now(access)
        self._databases = self._databases_of(masters, access.db)
        refusals, locked_by = [], None
        try:
            locked_by = None if self._presence else holder(access, masters.nodes)
        except Refused as error:
            refusals.append(refusal(error.rule, error.msg))
        places = self._places_of(masters, access.db)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            samples = list(pool.map(lambda place: self._sample(access, place), places))
            for found in pool.map(lambda node: self._may(access, node), masters.nodes):
                refusals += found
        return Seen(masters.topology, samples, locked_by, refusals)

    def plan(self, observed, params):
        return flush_plan(observed, params)

    def act(self, access, plan, receipt):
        began = time.monotonic()
        rounds = self._rounds = Rounds(
            access,
            self._planned,
            self._presence,
            self._selector,
            self.params,
            lambda masters: self._places_of(masters, access.db),
        )
        failed = None
        with Progress(receipt) as progress:
            try:
                total = plan["totals"]["count"]
                rounds.remove(lambda number: progress.update("removing keys", number, max(number, total), "keys"))
            except Exception as error:
                failed = error
        self.figures.update(
            seconds=round(time.monotonic() - began, 3),
            keys_removed=rounds.removed,
            keys_unanswered=rounds.unanswered,
            rounds=rounds.number,
        )
        with held_signals():
            yield from self._items(plan, failed)
        if failed is not None:
            raise self._told(failed)

    def read_back(self, access, plan):
        rounds = self._rounds
        acted, last = rounds.masters.state, rounds.last
        if last.removed:
            rounds.look_again()
            last = rounds.count()
        if last.found and rounds.masters.state != acted:
            raise VerifyFailed(
                f"{last.found} keys are there that match, after a failover or a move of slots: run again",
                rule="read_back",
                details={"keys": last.found},
            )
        kept = last.kept()
        return {
            "removed": rounds.removed,
            # the masters were the same all the time, so it was not there when the removing ended
            "written_since": last.found if last is not rounds.last else 0,
            "kept": sum(tally.kept for tally in last.tallies.values()),
            "kept_gone": len(rounds.kept - kept),
            "masters": [
                {"master": place.node.address, "database": place.database, "keys": tally.keys, "kept": tally.kept}
                for place, tally in last.tallies.items()
            ],
            "replicas_behind": self._behind(rounds.masters),
        }

    def _databases_of(self, masters, default):
        if not self.params["all_databases"]:
            return [default if self.params["database"] is None else self.params["database"]]
        named = {name for node in masters.nodes for name in node.info if name[:2] == "db" and name[2:].isdigit()}
        return sorted(int(name[2:]) for name in named)

    def _places_of(self, masters, default):
        """Every database of every master, under the name that the plan has for it."""
        return [
            Place(node, database, default, masters.cluster, f"{self._planned_for(node).address}/{database}")
            for node in masters.nodes
            for database in self._databases
        ]

    def _planned_for(self, node):
        """The planned master that this one is, or took over from; a new one counts as the first."""
        planned = self._planned.nodes
        same = [one for one in planned if one.id == node.id]
        firsts = {first for first, _last in node.slots}
        before = [one for one in planned if any(a <= first <= b for a, b in one.slots for first in firsts)]
        return (same + before + planned)[0]

    def _sample(self, access, place):
        try:
            with connected(place.node, place.database, place.default) as connection:
                return sample(connection, place.node.address, place.database, self._selector)
        except redis.RedisError as error:
            raise access.error(error, place.node.host, place.node.port, "looking at keys") from None

    def _may(self, access, node):
        """What this master has against removing keys, as refusals: no right, or it takes no writes."""
        keys = []
        try:
            self._try(node, keys)
        except redis.RedisError as error:
            said = access.error(error, node.host, node.port, "asking whether keys may be removed", keys)
            return [refusal(said.rule, said.msg, said.details.get("command"))]
        return []

    def _try(self, node, keys):
        """Remove a key that cannot be there. That changes nothing, and is refused like the removal of any other.

        ``keys`` gets every pattern of which no key may go.
        There is nothing like it for FLUSHDB, and only newer servers tell beforehand, if they are allowed to.
        """
        if self._selector.at_once:
            try:
                said = node.client.execute_command("ACL", "DRYRUN", node.client.acl_whoami(), "FLUSHDB", "ASYNC")
            except redis.ResponseError:
                return
            if b"permission" in said:
                raise redis.exceptions.NoPermissionError(said.decode())
            return
        name, denied = secrets.token_hex(16).encode(), None
        for pattern in self._selector.patterns:
            plain = not set(b"?[\\") & set(pattern) and b"*" in pattern
            try:
                node.client.execute_command("UNLINK", pattern.replace(b"*", name) if plain else name)
            except (redis.exceptions.MovedError, redis.exceptions.AskError):
                pass  # another master has its slot; the right is there
            except redis.exceptions.NoPermissionError as error:
                if "unlink" in str(error):
                    raise
                if plain:
                    keys.append(pattern)
                    denied = error
        if denied is not None:
            raise denied

    def _items(self, plan, failed):
        rounds = self._rounds
        objects = [change["object"] for change in plan["changes"]]
        for object in objects:
            if rounds.done.get(object):
                yield done("-", object, count=rounds.done[object])
            elif failed is None:
                yield skipped(object, "no matching key was left")
            else:
                yield skipped(object, "not reached, or nothing was removed there")
        for place, tally in (rounds.last.tallies if rounds.last else {}).items():
            for kind, number in tally.spared.items():
                yield skipped(place.object, f"{kind.replace('_', ' ')} by their names, spared", count=number)

    def _told(self, failed):
        """The error with what was done before it."""
        rounds = self._rounds
        if not rounds.removed and not rounds.unanswered:
            # what would be a part of the work is none of it
            return MendError(failed.msg, failed.rule, failed.details) if isinstance(failed, Partial) else failed
        masters = ", ".join(f"{object} {number}" for object, number in rounds.done.items())
        words = f"{rounds.removed} keys are gone ({masters})"
        if rounds.unanswered:
            words += f", and up to {rounds.unanswered} more, whose answer was lost"
        said = failed.msg if isinstance(failed, MendError) else f"{type(failed).__name__}: {failed}"
        details = {**getattr(failed, "details", {}), "masters": rounds.done, "unanswered": rounds.unanswered}
        told = Partial(f"partial: {words}; then: {said}", getattr(failed, "rule", None), details)
        told.__cause__ = failed
        return told

    def _behind(self, masters):
        """The replicas that have not heard of everything yet: if one of them became the master now, keys came back."""
        offsets = {node.id: _offset(node, "master_repl_offset") for node in masters.nodes}
        until = time.monotonic() + _REPLICA_SECONDS
        late = masters.topology.replicas
        # replicas of replicas get the stream of the one master that there is outside a cluster
        needed = max(offsets.values())
        while True:
            late = [node for node in late if _offset(node, "slave_repl_offset") < offsets.get(node.master, needed)]
            if not late or time.monotonic() > until:
                break
            time.sleep(0.02)
        behind = [node.address for node in late]
        if behind:
            self.warnings.append(
                f"not known to be gone at the replicas {', '.join(behind)}: if one became a master now, keys came back"
            )
        return behind


def _offset(node, name):
    """How much of the stream of changes this server has; -1 when it does not tell."""
    try:
        return int(node.client.info("replication")[name]) if node.client else -1
    except redis.RedisError:
        return -1
