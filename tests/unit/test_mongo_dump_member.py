# SPDX-License-Identifier: MIT
"""Which member of a deployment a dump is read from."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.mongo_dump_member import MOST_LAG_SECONDS, Member, choose


def server(kind, port, written=1000.0, answered=500.0):
    """A ServerDescription: its last write by the server's clock, and when it said so by ours."""
    return SimpleNamespace(
        server_type_name=kind, address=("db", port), last_write_date=written, last_update_time=answered
    )


PRIMARY = server("RSPrimary", 1)


@pytest.mark.parametrize(
    ("servers", "port", "role"),
    [
        ([PRIMARY, server("RSSecondary", 2), server("RSSecondary", 3, 990.0)], 2, "secondary"),
        ([PRIMARY, server("RSSecondary", 3), server("RSSecondary", 2)], 2, "secondary"),
        ([PRIMARY, server("RSSecondary", 2, 1000.0 - MOST_LAG_SECONDS - 1)], 1, "primary"),
        ([PRIMARY, server("RSSecondary", 2, 1000.0 - MOST_LAG_SECONDS)], 2, "secondary"),
        # it answered a minute before the primary did, and was up to date then
        ([server("RSPrimary", 1, 1060.0, 560.0), server("RSSecondary", 2, 1000.0, 500.0)], 2, "secondary"),
        # it answered a minute after the primary did, and has written nothing since
        ([PRIMARY, server("RSSecondary", 2, 1000.0, 560.0)], 1, "primary"),
        ([PRIMARY, server("RSArbiter", 2), server("RSOther", 3), server("Unknown", 4, None)], 1, "primary"),
        ([server("RSSecondary", 2, 900.0), server("RSSecondary", 3, 1000.0)], 3, "secondary"),
        ([server("RSSecondary", 2)], 2, "secondary"),
        ([server("Standalone", 9, None)], 9, "standalone"),
    ],
)
def test_the_member_that_is_read(servers, port, role):
    found = choose(servers)
    assert (found.address, found.role, found.name) == (("db", port), role, f"db:{port}")
    assert found.why and (found.lag_seconds is None) == (role != "secondary")


def test_the_primary_is_read_when_asked_for():
    assert choose([PRIMARY, server("RSSecondary", 2)], "primary").role == "primary"


def test_the_words_say_why_it_is_not_a_secondary():
    late = choose([PRIMARY, server("RSSecondary", 2, 100.0)])
    assert "behind by 900 s" in late.why and f"{MOST_LAG_SECONDS} s are allowed" in late.why
    assert "no secondary can be reached" in choose([PRIMARY, server("Unknown", 2)]).why
    assert "only member" in choose([PRIMARY]).why


@pytest.mark.parametrize(
    ("servers", "preference"),
    [
        ([], "secondary_preferred"),
        ([server("RSArbiter", 2), server("Unknown", 3)], "secondary_preferred"),
        ([server("RSSecondary", 2)], "primary"),
    ],
)
def test_without_a_member_that_can_be_read_it_is_said(servers, preference):
    with pytest.raises(MendError, match="no member of the set can be read") as caught:
        choose(servers, preference)
    assert caught.value.rule == "member"


class Client:
    """A client whose one database answers hello as told."""

    def __init__(self, *hellos):
        self.hellos = list(hellos)

    def get_database(self, name, read_preference):
        return self

    def __getitem__(self, name):
        return self

    def command(self, command, **options):
        return self.hellos.pop(0)


def test_a_restart_and_another_server_are_other_incarnations():
    hellos = [("a:1", "p1"), ("a:1", "p1"), ("a:1", "p2"), ("b:1", "p2")]
    member = Member(Client(*({"me": me, "topologyVersion": {"processId": p}} for me, p in hellos)), None, "x", 1, None)
    first, same, restarted, other = (member.incarnation() for _ in hellos)
    assert first == same and len({str(first), str(restarted), str(other)}) == 3


@pytest.mark.parametrize(
    ("moment", "snapshot", "level"), [(7, True, "snapshot"), (7, False, "majority"), (None, True, "majority")]
)
def test_only_what_is_read_at_the_moment_names_it(moment, snapshot, level):
    concern = Member(Client(), None, "x", moment, None).read_concern(snapshot)
    assert concern["level"] == level and concern.get("atClusterTime") == (7 if level == "snapshot" else None)
