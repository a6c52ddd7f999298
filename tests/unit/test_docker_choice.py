"""What of an engine's holdings may go, as a table; the engine's side of it is in tests/e2e/test_clean_docker.py."""

from __future__ import annotations

import pytest
from ansible.module_utils.mendbook.docker_choice import Choice, check_options
from ansible.module_utils.mendbook.docker_reclaim_plan import reclaim_plan
from ansible.module_utils.mendbook.docker_survey import Holdings, epoch, networks_of, volume
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.plan import refusals_in

NOW = 1_800_000_000.0
DAY = 86400
PARAMS = {
    "containers": True, "images": True, "networks": True, "anonymous_volumes": True, "build_cache": True,
    "min_age_seconds": 7 * DAY, "keep_images": 1, "unpullable_images": False, "protected_names": [],
    "protected_labels": [], "max_objects": 500, "max_bytes": None,
}  # fmt: skip
ENGINE = {"id": "AAAA", "name": "web1", "now": NOW, "address": "unix:///d", "version": "20.10", "api": "1.41"}
ENGINE |= {"storage_driver": "overlay2", "root": "/d", "containerd_images": False}


def container(name, state="exited", days=30, image="sha256:none", **facts):
    made = {
        "id": name * 8,
        "name": name,
        "state": state,
        "stopped": NOW - days * DAY,
        "image_id": image,
        "image": image,
    }
    made |= {"labels": {}, "project": None, "networks": set(), "volumes": set(), "bytes": 5, "log_bytes": 7}
    return {**made, **facts}


def image(name, days=30, repository="shop", digests=("shop@sha256:1",), **facts):
    made = {"id": f"sha256:{name}", "tags": [f"{repository}:{name}"], "digests": list(digests), "labels": {}}
    made |= {"repositories": [repository], "since": NOW - days * DAY, "layers": [name], "bytes": 9, "unique_bytes": 9}
    return {**made, "in_registry": bool(digests), **facts}


def network(name, days=30, **facts):
    made = {"id": f"{name}-id", "name": name, "created": NOW - days * DAY, "labels": {}, "scope": "local"}
    return {**made, "special": False, **facts}


def anonymous(name, days=30, **facts):
    return {"name": name, "created": NOW - days * DAY, "labels": {}, "anonymous": True, "bytes": 3, **facts}


def record(days=30, **facts):
    return {
        "id": "r",
        "type": "regular",
        "bytes": 100,
        "in_use": False,
        "shared": False,
        "used": NOW - days * DAY,
        **facts,
    }


def holdings(containers=(), images=(), networks=(), volumes=(), cache=(), parents=(), engine=ENGINE):
    return Holdings(
        engine, list(containers), list(images), list(networks), list(volumes), list(cache), 1000, dict(parents)
    )


def choose(params=(), **what):
    return Choice(holdings(**what), {**PARAMS, **dict(params)})


def names(entries):
    return [entry.get("name") or entry["id"].removeprefix("sha256:") for entry in entries]


@pytest.mark.parametrize("state", ["running", "paused", "restarting", "removing"])
def test_a_container_of_which_something_runs_or_will_is_never_chosen(state):
    assert choose(containers=[container("a", state, stopped=None)]).containers == []


def test_stopped_containers_go_by_when_they_stopped():
    found = [
        container("old", days=8),
        container("young", days=6),
        container("dead", "dead"),
        container("new", "created"),
    ]
    assert names(choose(containers=found).containers) == ["old", "dead", "new"]
    assert choose({"containers": False}, containers=found).containers == []


def test_an_engine_whose_clock_is_behind_loses_nothing():
    assert choose(containers=[container("a", days=-400)], images=[image("1", days=-400)]).containers == []


@pytest.mark.parametrize(
    ("keep", "used", "expected"),
    [
        (0, None, ["1", "2", "3"]),
        (1, None, ["1", "2"]),
        (2, None, ["1"]),
        (9, None, []),
        # what is in use counts as one of the last, and stays however old it is
        (1, "1", ["2"]),
        (1, "3", ["1", "2"]),
    ],
)
def test_the_last_images_of_a_repository_and_those_in_use_stay(keep, used, expected):
    images = [image(str(number), days=90 - number) for number in (1, 2, 3)]
    running = [container("app", "running", stopped=None, image=f"sha256:{used}")] if used else []
    assert names(choose({"keep_images": keep}, images=images, containers=running).images) == expected


def test_two_images_of_the_same_second_have_an_order_all_the_same():
    images = [image(name) for name in ("b", "a", "c")]
    assert names(choose(images=images).images) == names(choose(images=images[::-1]).images) == ["a", "b"]


def test_an_image_in_two_repositories_stays_when_one_of_them_needs_it():
    both = image("both", repositories=["shop", "mirror"])
    assert choose(images=[both, image("new", days=8)]).images == []


def test_an_image_goes_with_its_last_user_and_stays_with_one_that_stays():
    images = [image("1", days=40), image("2")]
    users = [container("gone", image="sha256:1"), container("kept", image="sha256:1", days=1)]
    assert names(choose(containers=users[:1], images=images).images) == ["1"]
    assert choose(containers=users, images=images).images == []


def test_children_go_before_what_they_were_built_on_and_keep_it():
    images = [image("base", repository="base"), image("app", repository="app"), image("new", days=1, repository="new")]
    parents = {"sha256:app": "sha256:step", "sha256:step": "sha256:base"}
    assert names(choose({"keep_images": 0}, images=images, parents=parents).images) == ["app", "base"]
    parents["sha256:new"] = "sha256:step"
    kept = choose({"keep_images": 0}, images=images, parents=parents)
    assert names(kept.images) == ["app"] and list(kept.kept) == ["another image was built on it"]


@pytest.mark.parametrize(
    "facts", [{"special": True}, {"scope": "swarm"}, {"name": "bridge"}, {"name": "docker_gwbridge"}]
)
def test_networks_that_are_the_engine_s_or_a_swarm_s_stay(facts):
    assert choose(networks=[{**network("n"), **facts}]).networks == []


def test_networks_of_containers_that_stay_stay_by_id_and_by_name():
    users = [container("a", days=1, networks={"x-id"}), container("b", "created", days=1, networks={"y"})]
    assert names(choose(containers=users, networks=[network(name) for name in "xyz"]).networks) == ["z"]


def test_a_volume_that_is_named_or_has_a_container_stays():
    users = [container("a", days=1, volumes={"taken"}), container("gone", volumes={"free"})]
    volumes = [anonymous("taken"), anonymous("free"), anonymous("young", days=1), anonymous("named", anonymous=False)]
    assert names(choose(containers=users, volumes=volumes).volumes) == ["free"]
    assert choose({"anonymous_volumes": False}, volumes=volumes).volumes == []


HEX = "0123456789abcdef" * 4
LABEL = {"com.docker.volume.anonymous": ""}


@pytest.mark.parametrize(
    ("said", "api", "expected"),
    [
        ({"Name": HEX}, (1, 41), True),
        ({"Name": HEX, "Labels": LABEL}, (1, 43), True),
        # from Docker 23 on the engine says it of what it has named itself: without that a person may have named it
        ({"Name": HEX}, (1, 42), False),
        ({"Name": "shop-data", "Labels": LABEL}, (1, 43), False),
        ({"Name": HEX[:-1]}, (1, 41), False),
        ({"Name": HEX.upper()}, (1, 41), False),
        ({"Name": HEX, "Driver": "nfs"}, (1, 41), False),
        ({"Name": HEX, "Options": {"device": "/dev/sdb1"}}, (1, 41), False),
    ],
)
def test_a_volume_is_anonymous_only_when_that_is_sure(said, api, expected):
    assert volume({"Driver": "local", **said}, api)["anonymous"] is expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, 1),
        ({"used": None}, 1),
        ({"days": 1}, 0),
        ({"in_use": True}, 0),
        ({"type": "internal"}, 0),
        ({"shared": True}, 0),
    ],
)
def test_a_cache_goes_by_when_a_build_last_used_it(facts, expected):
    assert len(choose(cache=[record(**facts)]).cache) == expected


def plan(params=(), locked_by=None, **what):
    given = {**PARAMS, **dict(params)}
    held = holdings(**what)
    return reclaim_plan(held, Choice(held, given), {}, locked_by, given)


def test_only_what_does_not_come_back_wants_a_confirmation():
    local = image("1", digests=(), days=40)
    pulled = [image("2", days=40, repository="web"), image("3", repository="web"), image("4", repository="shop")]
    rest = {"networks": [network("n")], "cache": [record()], "images": [local, *pulled]}
    assert plan(**rest)["risk"] == "changes" and "kept, in no registry" in " ".join(plan(**rest)["notes"])
    assert plan({"unpullable_images": True}, **rest)["risk"] == "destroys"
    assert plan(containers=[container("a")])["risk"] == plan(volumes=[anonymous(HEX)])["risk"] == "destroys"
    # what a build has left behind is nobody's: nothing names it
    assert plan(images=[image("1", tags=[], repositories=[], digests=())])["risk"] == "changes"


def test_an_engine_that_cannot_tell_what_a_registry_has_is_said_to():
    notes = plan(engine={**ENGINE, "containerd_images": True})["notes"]
    assert any("does not tell which of them a registry has" in note for note in notes)


def test_the_plan_has_the_bytes_of_files_and_logs_and_the_caps():
    made = plan({"max_objects": 1, "max_bytes": 10}, containers=[container("a")], cache=[record()])
    assert made["totals"] == {"objects": 2, "count": 1, "bytes": 112, "containers": 1, "volumes": 0}
    assert [entry["rule"] for entry in refusals_in(made)] == ["cap objects", "cap bytes"]
    assert made["target"]["id"] == "docker:web1" and made["remains"]["used_bytes"] == 888


def test_the_fingerprint_is_of_the_engine_and_the_options_and_not_of_what_comes_and_goes():
    assert plan(containers=[container("a")])["fingerprint"] == plan()["fingerprint"]
    assert plan({"keep_images": 2})["fingerprint"] != plan()["fingerprint"]
    assert plan(engine={**ENGINE, "id": "BBBB"})["fingerprint"] != plan()["fingerprint"]


def test_names_from_outside_are_printable_in_the_notes():
    notes = " ".join(plan({"protected_names": ["*"]}, networks=[network("evil\x1b[31m\nname")])["notes"])
    assert "\x1b" not in notes and "\n" not in notes and "evil\\x1b" in notes


@pytest.mark.parametrize(
    ("changed", "rule"), [({"min_age_seconds": 59}, "min_age_seconds"), ({"keep_images": -1}, "keep_images")]
)
def test_options_that_cannot_be_meant(changed, rule):
    with pytest.raises(MendError) as caught:
        check_options({**PARAMS, **changed})
    assert caught.value.rule == rule


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T15:53:15Z", 1795276395),
        ("2026-11-21T15:53:15.5Z", 1795276395.5),
        ("2026-11-21T16:53:15.500000000+01:00", 1795276395.5),
        ("2026-11-21T10:23:15-05:30", 1795276395),
        ("0001-01-01T00:00:00Z", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_times_of_the_engine(text, expected):
    assert epoch(text) == expected


def test_networks_of_a_container_that_never_ran_are_known_by_name():
    said = {
        "HostConfig": {"NetworkMode": "shop"},
        "NetworkSettings": {"Networks": {"shop": {"NetworkID": ""}, "b": None}},
    }
    assert networks_of(said) == {"shop", "b"} and networks_of({}) == set()
