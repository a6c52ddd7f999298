"""The command in a refusal is copied into redis-cli, and then the refusal is another one, until there is none."""

from __future__ import annotations

import pytest

from redis_cli import BUILDS, build, cli

pytestmark = pytest.mark.e2e
pytest_plugins = ["redis_lab", "redis_flush_lab"]
# what redis-cli does not take as it is
NAME = "o\"p's\\é"
QUOTED = '"o\\"p\'s\\\\é"'
# more than there are rights
MOST = 20


def copied(service, message):
    """Copy the command out of a message as it stands, give it to redis-cli, and return what it gives."""
    _, allow, command = message.rpartition("an administrator can allow it: ")
    assert allow and "canary" not in message, message
    assert cli(service, given=command) == "OK", command
    setuser, name, rights = command.partition(f" {QUOTED} ")
    assert setuser == "ACL SETUSER" and name, command
    return rights.split(" ")


def user(lab, *rights):
    lab.witness(lab.service.ports[0]).execute_command("ACL", "SETUSER", NAME, "on", ">canary", *rights)
    return {"username": NAME, "password": "canary"}


@pytest.mark.parametrize("name", BUILDS)
def test_a_flush_goes_when_every_command_in_its_refusals_was_copied(own_redis, name):
    lab = own_redis(binary=build(name))
    lab.fill("a b:1", cache=3, other=3)
    login = user(lab, "~other:*")
    patterns = "other:*", "cache:*", "a b:*"
    given = []
    for _ in range(MOST):
        planned = lab.plan(*patterns, **login)
        refusals = [] if planned["rc"] else planned["plan"]["refusals"]
        if not planned["rc"] and not refusals:
            break
        assert len(lab.keys()) == 7
        assert (refusals[0]["rule"] if refusals else planned["mend"]["rule"]) in ("redis_permission", "lock_permission")
        given += copied(lab.service, refusals[0]["msg"] if refusals else planned["msg"])
    assert len(given) == len(set(given)) and {"+info", "+scan", "+unlink", "+client|list"} <= set(given)
    # in one command, with what an ACL takes in the place of a blank
    assert given[-2:] == ["~cache:*", "~a?b:*"]
    assert lab.removed(lab.act(planned, *patterns, **login)) == 7 and lab.keys() == set()


def test_a_refusal_in_the_middle_says_it_too(own_redis):
    lab = own_redis()
    lab.fill(cache=3)
    login = user(lab, "~*", "+@all", "-flushdb")
    planned = lab.plan(whole_database=True, **login)
    result = lab.act(planned, whole_database=True, **login)
    assert result["mend"]["rule"] == "redis_permission" and copied(lab.service, result["msg"]) == ["+flushdb"]
    assert lab.act(planned, whole_database=True, **login)["state"] == "done" and lab.keys() == set()
    # nothing is found beforehand where the pattern is no beginning of a name
    lab.fill(cache=3)
    login = user(lab, "resetkeys")
    result = lab.flush("cach?:*", **login)
    assert result["mend"]["rule"] == "redis_permission" and copied(lab.service, result["msg"]) == ["~cach?:*"]
    assert lab.removed(lab.flush("cach?:*", **login)) == 3


@pytest.mark.parametrize("name", BUILDS)
def test_a_look_is_whole_when_every_command_in_it_was_copied(own_redis, redis_look, name):
    lab = own_redis(binary=build(name))
    lab.fill(cache=3)
    login = user(lab, "~*")
    given = []
    for _ in range(MOST):
        facts = redis_look(f"redis://127.0.0.1:{lab.service.ports[0]}", **login)
        reasons = [facts["msg"]] if facts["rc"] else [one["reason"] for one in facts["missing"]]
        if not reasons:
            break
        for reason in reasons:
            if not facts["rc"]:
                assert any(line.endswith(reason) for line in facts["summary"]), facts["summary"]
            given += copied(lab.service, reason)
    assert facts["rc"] == 0 and facts["missing"] == []
    assert {"+info", "+slowlog|get", "+latency|latest", "+client|list", "+memory|usage"} <= set(given)
