"""What clean_docker refuses and what goes wrong with it: the right words, exact counts, and nothing else removed."""

from __future__ import annotations

import contextlib
import json
import os
import time

import pytest
from ansible.module_utils.mendbook import docker_choice, docker_reclaim, docker_removal
from ansible.module_utils.mendbook.host_lock import HostLock

from docker_proxy import DockerProxy, answer
from ordinary_user import as_nobody
from waiting import quickest

pytestmark = pytest.mark.e2e
pytest_plugins = ["docker_clean_lab"]


@pytest.fixture
def proxy(docker):
    """A proxy between the module and the engine."""
    with contextlib.closing(DockerProxy(docker.engine.socket)) as proxy:
        yield proxy


def refused(result):
    """Why a plan or a run ended; nothing may have been done."""
    assert result["rc"] == 1 and not result.get("done"), result
    return result["mend"]["reason"], result["mend"]["rule"]


def test_options_that_cannot_be_meant_and_engines_that_are_not_there(docker, monkeypatch):
    monkeypatch.setattr(docker_choice, "MIN_SECONDS", 60)
    docker.stopped("old")
    nothing = dict.fromkeys(("containers", "images", "networks", "build_cache"), False)
    for options, expected in (
        ({"min_age_seconds": 0}, ("refused", "min_age_seconds")),
        ({"min_age_seconds": 59}, ("refused", "min_age_seconds")),
        ({"min_age_seconds": -604800}, ("refused", "min_age_seconds")),
        ({"keep_images": -1}, ("refused", "keep_images")),
        (nothing, ("nothing", "kinds")),
        ({"docker_host": "ssh://ops@web1"}, (None, "docker_host")),
        ({"docker_host": "unix:///nowhere/docker.sock"}, (None, "docker_absent")),
        ({"docker_host": "tcp://127.0.0.1:1"}, (None, "docker_unreachable")),
        ({"docker_host": "tcp://127.0.0.1:1", "tls_key_file": "/nowhere/key"}, (None, "docker_tls")),
        ({"tls_ca_file": "/nowhere/ca"}, (None, "docker_tls")),
    ):
        assert refused(docker.plan(**{"min_age_seconds": 60, **options})) == expected, options
    assert docker.ids("containers") == {docker.id("old")}


def test_a_user_who_may_not_use_the_socket_is_told_whose_it_is(docker):
    # only what is at the end of the way is closed
    os.chmod(docker.engine.folder, 0o711)  # noqa: S103
    os.chmod(docker.engine.socket, 0o660)
    result = as_nobody(docker.plan)
    assert refused(result) == (None, "docker_permission") and "nobody may not use" in result["msg"]
    assert "belongs to root:" in result["msg"] and "use become" in result["msg"]


def test_more_than_a_cap_is_refused_whole(docker):
    docker.stopped("one"), docker.stopped("two")
    for options, rule in (({"max_objects": 2}, "cap objects"), ({"max_bytes": 1000}, "cap bytes")):
        planned = docker.plan(**options)
        assert planned["changed"] and refused(docker.act(planned, **options)) == ("refused", rule)
    assert len(docker.ids("containers")) == 2


def test_a_container_more_than_was_confirmed_is_drift(docker):
    docker.stopped("planned")
    planned = docker.plan()
    docker.stopped("later")
    result = docker.act(planned)
    assert refused(result) == ("drift", "drift") and "containers was 1 and is now 2" in result["msg"]
    assert refused(docker.act(planned, keep_images=1)) == ("drift", "drift")
    assert len(docker.ids("containers")) == 2


def test_another_engine_of_the_same_name_is_drift(docker, proxy):
    docker.stopped("old")
    planned = docker.plan()
    info = json.loads(docker.cli("info", "--format", "{{json .}}"))
    for _ in range(2):
        proxy.on("GET /v1.41/info", lambda forward: answer("200 OK", json.dumps({**info, "ID": "AAAA:BBBB"}).encode()))
    result = docker.act(planned, docker_host=proxy.docker_host)
    assert refused(result) == ("drift", "drift") and "docker:" in result["msg"]
    assert len(docker.ids("containers")) == 1


def test_of_two_operators_at_once_one_is_told_who_the_other_is(docker, monkeypatch):
    docker.stopped("old")
    planned, real, answers = docker.plan(), docker_removal.remove_container, []

    def meanwhile(engine, one):
        answers.extend([*quickest(lambda: docker.act(planned)), docker.plan()])
        return real(engine, one)

    (_, name_of, _), *rest = docker_reclaim._STEPS
    monkeypatch.setattr(docker_reclaim, "_STEPS", (("containers", name_of, meanwhile), *rest))
    assert docker.act(planned)["state"] == "done"
    second, seconds, check = answers
    assert refused(second) == ("locked", "lock") and seconds < 2
    assert (
        second["mend"]["details"]["pid"] == os.getpid()
        and second["mend"]["details"]["run"] in check["plan"]["notes"][-1]
    )
    # check mode takes no lock, and says who has it
    assert check["rc"] == 0 and any("locked now by run lab-" in note for note in check["plan"]["notes"])
    assert not any("locked now" in note for note in docker.plan()["plan"]["notes"])


def test_the_lock_is_the_engine_s_and_not_the_host_s(docker):
    docker.stopped("old")
    planned = docker.plan()
    with HostLock("docker another engine", "somebody"):
        assert docker.act(planned)["state"] == "done"


def test_an_engine_that_refuses_one_object_is_believed_and_the_rest_goes_on(docker, proxy):
    docker.stopped("kept"), docker.stopped("gone")
    kept = docker.id("kept")
    said = b'{"message": "removal of container %s is already in progress"}' % kept.encode()
    proxy.on(f"DELETE .*{kept}", lambda forward: answer("409 Conflict", said))
    result = docker.clean(docker_host=proxy.docker_host, images=False)
    assert docker.objects(result["done"]) == ["container gone"] and result["state"] == "done"
    assert "already in progress" in docker.reasons(result)["container kept"] and docker.ids("containers") == {kept}


def test_an_error_of_the_engine_half_way_is_partial_with_what_was_done(docker, proxy):
    for name in ("one", "two", "three"):
        docker.stopped(name)
    first, second, _ = docker.objects(docker.plan(images=False)["plan"]["changes"])
    ids = {name: docker.id(name.split()[1]) for name in (first, second)}
    said = b'{"message": "device is busy"}'
    proxy.on(f"DELETE .*{ids[second]}", lambda forward: answer("500 Internal Server Error", said))
    result = docker.clean(docker_host=proxy.docker_host, images=False)
    assert (result["rc"], result["state"], result["mend"]["reason"]) == (1, "partial", "partial")
    assert docker.objects(result["done"]) == [first] and result["msg"].startswith("stopped after 1 of 3: ")
    assert "device is busy" in result["msg"] and len(docker.ids("containers")) == 2
    assert ids[first] not in docker.ids("containers")


@pytest.mark.parametrize("asked", [True, False], ids=["done", "not done"])
def test_an_engine_that_goes_away_in_the_middle_of_a_removal_is_unknown(docker, proxy, asked):
    for name in ("one", "two"):
        docker.stopped(name)
    planned = docker.plan(images=False)
    last = docker.id(docker.objects(planned["plan"]["changes"])[1].split()[1])
    proxy.on(f"DELETE .*{last}", lambda forward: (asked and forward() and b"") or b"")
    result = docker.act(planned, docker_host=proxy.docker_host, images=False)
    assert (result["state"], result["mend"]["rule"]) == ("UNKNOWN", "docker_gone") and len(result["done"]) == 1
    assert f"UNKNOWN whether /containers/{last}" in result["msg"] and "--check shows what is left" in result["msg"]
    assert (last in docker.ids("containers")) is not asked
    again = docker.clean(images=False)
    assert again["state"] == ("nothing to do" if asked else "done") and docker.ids("containers") == set()


def test_an_engine_that_is_gone_between_two_objects_is_partial_with_exact_counts(docker, proxy, monkeypatch):
    docker.stopped("one"), docker.stopped("two")
    real, seen = docker_removal.remove_container, []

    def then_gone(engine, one):
        seen.append(one)
        if len(seen) == 2:
            proxy.close()
        return real(engine, one)

    (_, name_of, _), *rest = docker_reclaim._STEPS
    monkeypatch.setattr(docker_reclaim, "_STEPS", (("containers", name_of, then_gone), *rest))
    result = docker.clean(docker_host=proxy.docker_host, images=False)
    assert (result["state"], result["mend"]["reason"]) == ("partial", "partial")
    assert result["msg"].startswith("stopped after 1 of 2: no Docker engine") and len(docker.ids("containers")) == 1


def test_an_engine_that_does_not_answer_is_given_up(docker, proxy):
    docker.stopped("old")
    proxy.on("GET .*/system/df", lambda forward: time.sleep(30) or b"")
    result = docker.plan(docker_host=proxy.docker_host, timeout_seconds=1)
    assert refused(result) == (None, "docker_timeout") and "in 1 s" in result["msg"]


def test_what_is_there_again_after_it_was_removed_fails_the_read_back(docker, proxy):
    docker.stopped("old")
    old = docker.id("old")
    proxy.on(f"DELETE .*{old}", lambda forward: answer("204 No Content", b""))
    result = docker.clean(docker_host=proxy.docker_host, images=False)
    assert (result["mend"]["reason"], result["mend"]["rule"]) == ("verify", "read_back") and "container old" in result[
        "msg"
    ]


def test_a_second_count_of_the_engine_at_once_is_waited_for(docker, proxy):
    docker.stopped("old")
    busy = b'{"message": "a disk usage operation is already running"}'
    for _ in range(3):
        proxy.on("GET .*/system/df", lambda forward: answer("409 Conflict", busy))
    assert docker.plan(docker_host=proxy.docker_host)["state"] == "planned"
    assert sum("/system/df" in line for line in proxy.requests) == 4
