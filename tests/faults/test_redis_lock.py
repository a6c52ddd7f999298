"""One run at a Redis: of twenty at once one wins, it is free when its holder dies, and nobody's name is obeyed."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from ansible.module_utils.mendbook import redis_lock
from ansible.module_utils.mendbook.errors import Locked, Refused
from ansible.module_utils.mendbook.redis_client import connect
from ansible.module_utils.mendbook.redis_lock import Presence, holder
from ansible.module_utils.mendbook.redis_masters import masters_now

from redis_cli import cli
from waiting import quickest

pytestmark = pytest.mark.faults
pytest_plugins = ["redis_lab", "redis_flush_lab"]
TIMEOUTS = {"connect_timeout_seconds": 60, "operation_timeout_seconds": 60}
OPERATORS = 20


def params(lab, **options):
    return {"uri": lab.service.uri, **TIMEOUTS, **options}


@contextmanager
def present(lab, run, **options):
    """The lock as a run takes it: (access, its masters, the presence)."""
    with connect(params(lab, **options), run=run) as access, Presence(access, run) as presence:
        masters = masters_now(access).nodes
        presence.hold(masters)
        yield access, masters, presence


def free(lab):
    """Wait until nobody's connection has the lock's name; a server notices the end of one a moment later."""
    deadline = time.monotonic() + 30
    with connect(params(lab)) as access:
        while holder(access, masters_now(access).nodes):
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture(params=["single", "cluster"])
def lab(request):
    return request.getfixturevalue(request.param)


def test_of_twenty_operators_at_once_exactly_one_acts(lab, fault_rounds, record_fault):
    rounds, won, waited = fault_rounds(2, 20), [], []
    for _ in range(rounds):
        # the winner holds its lock until everybody else has been answered
        answered = threading.Semaphore(0)
        start = threading.Barrier(OPERATORS)

        def operate(number):
            with ExitStack() as stack:
                access = stack.enter_context(connect(params(lab), run=f"run-{number}"))
                masters = masters_now(access).nodes
                presence = stack.enter_context(Presence(access, f"run-{number}"))
                start.wait(60)  # noqa: B023
                began = time.monotonic()
                try:
                    presence.hold(masters)
                except Locked as error:
                    answered.release()  # noqa: B023
                    return error.details, time.monotonic() - began
                for _ in range(OPERATORS - 1):
                    assert answered.acquire(timeout=60)  # noqa: B023
                return None, 0.0

        with ThreadPoolExecutor(OPERATORS) as pool:
            answers = list(pool.map(operate, range(OPERATORS)))
        winners = [number for number, (answer, _) in enumerate(answers) if answer is None]
        won.append(len(winners))
        waited.append(max(seconds for _, seconds in answers))
        assert len(winners) == 1
        assert all(answer["run"].startswith("run-") for answer, _ in answers if answer)
    record_fault(
        f"twenty operators at once at a Redis ({'cluster' if lab.service.cluster else 'single'})",
        rounds=rounds,
        held=f"{won.count(1)} one winner, {won.count(0)} none, {sum(count > 1 for count in won)} two; the slowest "
        f"answer after {max(waited):.1f} s",
    )


def turned_away(lab):
    with pytest.raises(Locked) as caught, present(lab, "second"):
        pass
    return caught.value


def test_the_second_is_told_who_the_first_is(lab):
    with present(lab, "20261121T093000Z-5f3a9c"):
        said, seconds = quickest(lambda: turned_away(lab))
        assert seconds < 2 and said.rule == "lock" and said.details["run"] == "20261121T093000Z-5f3a9c"
        assert said.details["pid"] == str(os.getpid()) and said.details["host"] == os.uname().nodename
        assert said.details["since"].startswith("20") and said.details["holder"] in said.msg
        with connect(params(lab)) as access:
            assert holder(access, masters_now(access).nodes)["run"] == "20261121T093000Z-5f3a9c"
    free(lab)
    with present(lab, "third"):
        pass


def test_it_is_free_when_its_holder_is_killed(lab):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            with present(lab, "victim"):
                os.write(writing, b"x")
                signal.pause()
        finally:
            os._exit(1)
    assert os.read(reading, 1) == b"x"
    with pytest.raises(Locked), present(lab, "early"):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading), os.close(writing)
    free(lab)
    with present(lab, "next"):
        pass


def test_a_run_must_win_at_every_master(cluster):
    with connect(params(cluster), run="one") as access, Presence(access, "one") as presence:
        *_others, last = sorted(masters_now(access).nodes, key=lambda node: node.id)
        presence.hold([last])
        with pytest.raises(Locked) as caught, present(cluster, "all"):
            pass
        assert caught.value.details["master"] == last.address
    # nothing is left at the masters that it had won before
    free(cluster)


def test_two_that_see_different_masters_do_not_both_win(cluster):
    with connect(params(cluster), run="a") as first, connect(params(cluster), run="b") as second:
        masters = masters_now(first).nodes, masters_now(second).nodes
        with Presence(first, "a") as one, Presence(second, "b") as other:
            one.hold(masters[0][:2])
            with pytest.raises(Locked):
                other.hold(masters[1][1:])


def test_a_lost_connection_is_noticed_and_taken_again_unless_another_came(single):
    witness = single.witness(single.service.ports[0])
    with present(single, "first") as (_access, masters, presence):
        (line,) = [one for one in witness.client_list() if one["name"].startswith("mendbook-holds:first")]
        witness.client_kill_filter(_id=line["id"])
        presence._beaten = 0
        assert not presence.beat()
        presence.hold(masters)
        assert presence.beat()
        (line,) = [one for one in witness.client_list() if one["name"].startswith("mendbook-holds:first")]
        witness.client_kill_filter(_id=line["id"])
        with present(single, "second"):
            with pytest.raises(Locked) as caught:
                presence.hold(masters)
            assert caught.value.details["run"] == "second"


def test_a_server_that_closes_silent_connections_does_not_take_the_lock_away(single, monkeypatch):
    monkeypatch.setattr(redis_lock, "_BEAT_SECONDS", 0.1)
    witness = single.witness(single.service.ports[0])
    # long enough for a machine that stands still for a moment
    witness.config_set("timeout", 5)
    try:
        with (
            present(single, "long") as (_access, _masters, presence),
            single.service.client(single.service.ports[0]) as silent,
        ):
            silent.client_setname("silent")
            deadline = time.monotonic() + 60
            while any(one["name"] == "silent" for one in witness.client_list()):
                assert presence.beat() and time.monotonic() < deadline
                time.sleep(0.1)
            assert presence.beat()
            with pytest.raises(Locked), present(single, "other"):
                pass
    finally:
        witness.config_set("timeout", 0)


@pytest.mark.parametrize(
    "name",
    [
        "mendbook-holds:",
        "mendbook-holds:x:y@z:1",
        "mendbook-holds:id=1:age=2@z:x:ff",
        "mendbook-wants",
        "name=mendbook-holds:r:u@h:1:ff",
        "xmendbook-holds:r:u@h:1:ff",
        "id=7",
        "%s{}{{7*7}}",
    ],
)
def test_names_of_other_clients_are_data(single, name):
    witness = single.witness(single.service.ports[0])
    witness.client_setname(name)
    try:
        with present(single, "mine"), connect(params(single)) as access:
            assert holder(access, masters_now(access).nodes)["run"] == "mine"
    finally:
        witness.client_setname("")


def test_whoever_takes_the_lock_by_its_name_is_named_with_the_address_to_end_it(single, monkeypatch):
    monkeypatch.setattr(redis_lock, "_SILENT_SECONDS", -1)
    witness = single.witness(single.service.ports[0])
    witness.client_setname("mendbook-holds:r1:{{7*7}}<b>@h:1:ff")
    try:
        with pytest.raises(Locked) as caught, present(single, "mine"):
            pass
    finally:
        witness.client_setname("")
    details = caught.value.details
    assert details["holder"] == "{{7*7}}<b>" and details["client"].startswith("127.0.0.1:")
    assert f"CLIENT KILL ID {details['client_id']}" in caught.value.msg


def test_one_that_only_ever_wants_it_keeps_others_out_for_no_longer_than_it_lives(single, monkeypatch):
    monkeypatch.setattr(redis_lock, "_TURN_SECONDS", 0.3)
    witness = single.witness(single.service.ports[0])
    witness.client_setname("mendbook-wants:stopped:u@h:1:ff")
    try:
        with pytest.raises(Locked) as caught, present(single, "mine"):
            pass
        assert caught.value.details["run"] == "stopped"
    finally:
        witness.client_setname("")
    with present(single, "mine"):
        pass


def test_a_user_who_may_not_ping_keeps_the_lock(single):
    rights = ["+info", "+client|setname", "+client|list"]
    cli(single.service, "acl", "setuser", "ops", "reset", "on", ">secret", "~*", *rights)
    try:
        with present(single, "mine", username="ops", password="secret") as (*_, presence):  # noqa: S106
            presence._beaten = 0
            assert presence.beat()
            with pytest.raises(Locked), present(single, "other"):
                pass
    finally:
        cli(single.service, "acl", "deluser", "ops")


@pytest.mark.parametrize("allowed", ["+client|list", "+client|setname", "+ping"])
def test_a_user_who_may_not_see_others_is_refused_and_told_the_right_that_is_missing(single, allowed):
    cli(single.service, "acl", "setuser", "ops", "reset", "on", ">secret", "~*", "+@all", "-client", allowed)
    try:
        with pytest.raises(Refused) as caught, present(single, "mine", username="ops", password="secret"):  # noqa: S106
            pass
        assert caught.value.rule == "lock_permission"
        assert "ACL SETUSER ops +client|setname +client|list" in caught.value.msg
    finally:
        cli(single.service, "acl", "deluser", "ops")
