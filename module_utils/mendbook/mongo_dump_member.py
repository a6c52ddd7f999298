# SPDX-License-Identifier: MIT
"""Which member of a deployment a dump is read from, and the reads of that one member at one cluster time."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymongo
from bson.codec_options import CodecOptions
from pymongo import errors as driver
from pymongo.read_preferences import ReadPreference

from .errors import MendError
from .mongo import only_member

# A secondary that is further behind makes a backup that is older than it looks; the primary is read instead.
MOST_LAG_SECONDS = 30


@dataclass(frozen=True)
class Choice:
    """The member to read from, and why this one; ``lag_seconds`` is None where nothing is behind anything."""

    address: tuple  # (host, port)
    role: str  # "secondary", "primary" or "standalone"
    lag_seconds: int | None
    why: str

    @property
    def name(self):
        return f"{self.address[0]}:{self.address[1]}"

    def facts(self):
        return {"address": self.name, "role": self.role, "lag_seconds": self.lag_seconds, "why": self.why}


def choose(servers, preference="secondary_preferred"):
    """The Choice among pymongo's ServerDescriptions; pure. MendError (rule "member") when none can be read from.

    ``preference`` "secondary_preferred" takes the secondary that is the least behind, if that is not much, so that the
    primary's clients keep its time for themselves; "primary" takes the primary.
    """
    primary = next((one for one in servers if one.server_type_name == "RSPrimary"), None)
    secondaries = [one for one in servers if one.server_type_name == "RSSecondary"]
    single = next((one for one in servers if one.server_type_name == "Standalone"), None)
    if single is not None:
        return Choice(single.address, "standalone", None, "a standalone server")
    # whole seconds: what the servers say is no finer
    lags = {one.address: round(_lag_seconds(one, primary, secondaries)) for one in secondaries}
    near = sorted((lag, address) for address, lag in lags.items() if lag <= MOST_LAG_SECONDS)
    if preference != "primary" and near:
        lag, address = near[0]
        return Choice(address, "secondary", lag, f"a secondary, {lag} s behind")
    if primary is not None:
        why = "the primary, as asked for"
        if preference != "primary":
            why = "the primary: no secondary can be reached" if len(servers) > 1 else "the only member that is known"
            if lags:
                least = f"{min(lags.values())} s, and {MOST_LAG_SECONDS} s are allowed"
                why = f"the primary: every secondary is behind by {least}"
        return Choice(primary.address, "primary", None, why)
    raise MendError(
        "no member of the set can be read from: there is no primary"
        + (f", and no secondary less than {MOST_LAG_SECONDS} s behind" if preference != "primary" else ""),
        rule="member",
    )


def _lag_seconds(secondary, primary, secondaries):
    """How far a secondary is behind the primary, or behind the newest secondary while there is none."""
    if primary is not None:
        # the two answered at different times; what lies between is no lag
        ages = [one.last_update_time - (one.last_write_date or 0) for one in (secondary, primary)]
        return max(0.0, ages[0] - ages[1])
    return max(one.last_write_date or 0 for one in secondaries) - (secondary.last_write_date or 0)


def chosen(deployment, preference="secondary_preferred"):
    """The Choice for this deployment, once its members had a moment to answer."""
    client = deployment.client
    if len(deployment.hello.get("hosts") or ()) > 1:
        wanted = ReadPreference.PRIMARY if preference == "primary" else ReadPreference.SECONDARY
        try:
            with pymongo.timeout(deployment.params.get("connect_timeout_seconds") or 5):
                client.admin.command("ping", read_preference=wanted)
        except driver.PyMongoError:
            pass  # then there is none that can be reached, or none was elected yet
    return choose(list(client.topology_description.server_descriptions().values()), preference)


class Member:
    """One member: ``database`` for everything that is read as it is now, `command` for reads at ``moment``.

    ``moment`` is a cluster time that holds all that was acknowledged before this began, or None on a standalone.
    """

    def __init__(self, client, choice, name, moment, cluster_time):
        self.client = client
        self.choice = choice
        self.database = client.get_database(name, read_preference=ReadPreference.NEAREST)
        self.moment = moment
        self._cluster_time = cluster_time

    @contextmanager
    def session(self):
        """A session that knows the moment, for a read concern to name it."""
        # a causally consistent one would add its own time to the read concern
        with self.client.start_session(causal_consistency=False) as session:
            if self._cluster_time:
                session.advance_cluster_time(self._cluster_time)
            yield session

    def read_concern(self, snapshot=True):
        """The read concern of a read at the moment, or of one of now that no election takes back."""
        if snapshot and self.moment:
            return {"level": "snapshot", "atClusterTime": self.moment}
        return {"level": "majority"}

    def command(self, command, database=None, session=None, codec_options: CodecOptions[Any] | None = None):
        """Run one command on the member; ``database`` is its name, if it is another one."""
        where = self.client[database] if database else self.database
        return where.command(
            command, read_preference=ReadPreference.NEAREST, session=session, codec_options=codec_options
        )

    def incarnation(self):
        """What changes when the member is restarted, or another one answers at its address."""
        hello = self.command({"hello": 1}, "admin")
        process = (hello.get("topologyVersion") or {}).get("processId")
        return [hello.get("me"), str(process)]


@contextmanager
def member(deployment, choice, name):
    """Give the `Member` for database ``name`` at the choice's address; it has caught up with the moment."""
    with only_member(deployment, choice.address) as client:
        moment = cluster_time = None
        if deployment.kind == "replica_set":
            hello = deployment.command("hello", read_preference=ReadPreference.PRIMARY_PREFERRED)
            moment, cluster_time = hello["lastWrite"]["opTime"]["ts"], hello.get("$clusterTime")
        found = Member(client, choice, name, moment, cluster_time)
        try:
            with deployment.deadline():
                _wait_for(found)
        except driver.PyMongoError as error:
            if not isinstance(error, driver.ConnectionFailure) and not error.timeout:
                raise
            raise MendError(
                f"{choice.name} cannot be read, or does not catch up with the primary: run it again, another member "
                f"may do; {deployment.translate(error).msg}",
                rule="member",
            ) from None
        yield found


def _wait_for(member):
    """Wait until a secondary has come as far as the moment: what it lists then is what was there."""
    if member.moment is None:
        return
    with member.session() as session:
        reached = {"level": "local", "afterClusterTime": member.moment}
        member.command({"listCollections": 1, "nameOnly": True, "readConcern": reached}, session=session)
