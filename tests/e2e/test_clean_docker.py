"""clean_docker on a real engine: what goes, what stays, and what came into use meanwhile, as its own client sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.module_utils.mendbook import docker_reclaim, docker_removal

from docker_lab import NO_PYTHON
from docker_registry import layer
from local_inventory import local_inventory

pytestmark = pytest.mark.e2e
pytest_plugins = ["docker_clean_lab"]


@pytest.fixture
def inventory(clean_engine, tmp_path) -> Path:
    """One host in the group docker, which is this machine with the engine of the lab."""
    return local_inventory(tmp_path / "inventory.yml", "web1", "docker", docker_host=clean_engine.engine.docker_host)


@pytest.fixture
def sandbox_secrets() -> dict[str, str]:
    return {}


def test_the_playbook_gives_back_what_is_old_and_unused_and_nothing_else(docker, playbook):
    old = [docker.pull("shop/api", f"1.{number}") for number in range(5)]
    stopped = docker.stopped("nightly-report")
    never = docker.created("never-started", NO_PYTHON)
    network = docker.cli("network", "create", "left-over")
    docker.cli("volume", "create", "shop-data")
    dangling = docker.image(seed="dangling")
    docker.age()
    young = docker.stopped("just-now")
    docker.engine.run("shop", NO_PYTHON)

    before = docker.all()
    played = playbook("clean_docker", "--check")
    result = played.of("mend_docker_reclaim")[0]
    assert played.rc == 0 and result["state"] == "planned" and docker.all() == before
    plan = result["plan"]
    assert sorted(docker.objects(plan["changes"])) == sorted(
        ["container nightly-report", "container never-started", "network left-over", "image <none>:<none>"]
        + [f"image 127.0.0.1:5000/shop/api:1.{number}" for number in (0, 1)]
    )
    target = plan["target"]["id"]
    assert plan["risk"] == "destroys" and f"docker_clean_confirm={target}" in played.stdout

    played = playbook("clean_docker")
    assert played.rc != 0 and played.of("mend_docker_reclaim")[0]["mend"]["rule"] == "confirm"
    assert docker.all() == before

    # what wants no confirmation is done without one
    played = playbook("clean_docker", variables={"docker_clean_containers": False})
    result = played.of("mend_docker_reclaim")[0]
    assert played.rc == 0 and (result["state"], result["plan"]["risk"]) == ("done", "changes")
    assert docker.objects(result["done"])[-1] == "network left-over" and len(result["done"]) == 4
    assert docker.ids("images") & {*old, dangling} == set(old[2:])
    assert docker.ids("containers") >= {stopped, never, young} and network not in docker.ids("networks")

    played = playbook("clean_docker", variables={"docker_clean_confirm": target})
    assert played.rc == 0 and set(docker.objects(played.of("mend_docker_reclaim")[0]["done"])) == {
        "container nightly-report", "container never-started",
    }  # fmt: skip
    assert docker.ids("containers") == {young, docker.id("shop")} and docker.ids("volumes") == {"shop-data"}
    (end,) = [line for line in played.journal() if line["event"] == "end" and line["target"]["id"] == target][-1:]
    assert end["state"] == "done"

    played = playbook("clean_docker", variables={"docker_clean_confirm": target})
    result = played.of("mend_docker_reclaim")[0]
    assert played.rc == 0 and (result["changed"], result["state"]) == (False, "nothing to do")


def test_check_mode_changes_nothing_and_the_second_run_finds_nothing(docker):
    docker.image("a:1"), docker.pull("b", "1"), docker.stopped("old"), docker.cli("network", "create", "n")
    docker.cli("volume", "create", "kept"), docker.created("with-volume", NO_PYTHON, "-v", "/data")
    before = docker.all()
    planned = docker.plan(anonymous_volumes=True)
    assert planned["changed"] and docker.all() == before
    result = docker.act(planned, anonymous_volumes=True)
    assert result["state"] == "done" and docker.objects(result["done"]) == docker.objects(planned["plan"]["changes"])
    assert docker.plan(anonymous_volumes=True)["state"] == "nothing to do"
    assert docker.ids("volumes") == {"kept"}


def test_without_a_receipt_nothing_is_removed(docker):
    docker.stopped("old")
    result = docker.plan(check=False)
    assert (result["rc"], result["mend"]["rule"]) == (1, "receipt") and len(docker.ids("containers")) == 1


def test_the_images_that_a_rollback_needs_stay_also_without_a_tag(docker):
    api = [docker.pull("shop/api", "stable", seed=f"api-{number}") for number in range(4)]
    web = [docker.pull("shop/web", f"{number}") for number in range(2)]
    planned = docker.plan(keep_images=2)
    # a tag that moves on leaves the release before it without one: that is what one goes back to
    assert {change["object"][-13:-1] for change in planned["plan"]["changes"]} == {one[7:19] for one in api[:2]}
    assert "one of the last keep_images of its repository" in " ".join(docker.plan(keep_images=3)["plan"]["notes"])
    docker.act(planned, keep_images=2)
    assert docker.ids("images") == {*api[2:], *web}


def test_what_compose_has_built_before_is_a_release_of_its_service(docker):
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "api"}
    builds = [docker.image("shop-api:latest", labels=labels, seed=f"build {number}") for number in range(3)]
    assert docker.clean(keep_images=2)["state"] == "done"
    assert docker.ids("images") == set(builds[1:])


def test_an_image_from_no_registry_stays_unless_it_is_asked_for_and_confirmed(docker):
    local, pulled = docker.image("shop-tools:1"), docker.pull("shop/api", "1")
    planned = docker.plan(unpullable_images=False)
    assert docker.objects(planned["plan"]["changes"]) == ["image 127.0.0.1:5000/shop/api:1"]
    assert planned["plan"]["risk"] == "changes"
    assert any("kept, in no registry" in note and "shop-tools:1" in note for note in planned["plan"]["notes"])
    asked = docker.plan()["plan"]
    assert asked["risk"] == "destroys" and any("gone for good: shop-tools:1" in note for note in asked["notes"])
    docker.act(planned, unpullable_images=False)
    assert docker.ids("images") == {local} and pulled


def test_a_named_volume_is_never_removed_and_an_anonymous_one_only_when_asked_and_of_nobody(docker):
    docker.stopped("db", NO_PYTHON, "-v", "shop-data:/var/lib/db", "-v", "/scratch")
    docker.created("stays", NO_PYTHON, "-v", "/mine", "--label", "mendbook.keep")
    mine = docker.cli("inspect", "--format", "{{(index .Mounts 0).Name}}", "stays")
    docker.cli("volume", "create", "dangling-and-named")
    named = {"shop-data", "dangling-and-named"}
    docker.clean()
    assert "db" not in docker.cli("ps", "-a") and len(docker.ids("volumes")) == 4
    planned = docker.plan(anonymous_volumes=True)
    assert planned["plan"]["risk"] == "destroys" and len(planned["plan"]["changes"]) == 1
    docker.act(planned, anonymous_volumes=True)
    assert docker.ids("volumes") == {*named, mine}


def test_an_image_with_several_tags_goes_whole_or_stays_whole(docker):
    image = docker.image("shop/api:1", "shop/api:old", "mirror/api:1")
    docker.image("mirror/api:2")
    # the newest of one of its repositories
    assert docker.plan(keep_images=1)["plan"]["changes"] == []
    (change,) = [one for one in docker.plan()["plan"]["changes"] if image[7:19] in one["object"]]
    assert change["before"]["tags"] == ["mirror/api:1", "shop/api:1", "shop/api:old"]
    docker.clean(protected_names=["mirror/api:2"])
    assert docker.cli("images", "--format", "{{.Repository}}:{{.Tag}}") == "mirror/api:2"


def test_an_image_goes_with_the_stopped_container_that_was_its_last_user(docker):
    image = docker.image("tool:1")
    docker.created("one-off", "tool:1")
    # with the container kept, its image is kept
    assert docker.plan(containers=False)["plan"]["changes"] == []
    result = docker.clean()
    assert docker.objects(result["done"]) == ["container one-off", "image tool:1"] and image not in docker.ids("images")


def test_what_runs_waits_or_was_only_made_just_now_stays(docker):
    docker.engine.run("runs", NO_PYTHON), docker.engine.run("paused", NO_PYTHON)
    docker.cli("pause", "paused")
    docker.cli("run", "-d", "--restart", "always", "--name", "crashes", NO_PYTHON, "false")
    docker.created("made", NO_PYTHON)
    assert docker.plan(min_age_seconds=3600)["plan"]["changes"] == []
    result = docker.clean()
    assert docker.objects(result["done"]) == ["container made"]
    assert {docker.id(name) for name in ("runs", "paused", "crashes")} == docker.ids("containers")


def test_what_is_protected_by_name_or_label_stays(docker):
    for name, label in {
        "backup-db": "a",
        "by-key": "mendbook.keep=yes",
        "by-value": "team=shop",
        "other": "team=web",
    }.items():
        docker.stopped(name, NO_PYTHON, "--label", label)
    docker.stopped("pod", NO_PYTHON, "--label", "io.kubernetes.pod.uid=1")
    docker.image("shop/api:1", layers=[layer("b")]), docker.image("shop/web:1"), docker.image("tools:1")
    docker.cli("network", "create", "--label", "team=shop", "net"), docker.cli("network", "create", "backup-net")
    planned = docker.plan(
        protected_names=["backup-*", "shop/api", "shop/web:1", NO_PYTHON], protected_labels=["team=shop"]
    )
    gone = ["container by-key", "container other", "container pod", "image tools:1"]
    assert sorted(docker.objects(planned["plan"]["changes"])) == gone
    assert sorted(docker.objects(docker.plan(protected_names=["*"])["plan"]["changes"])) == []
    docker.engine.attempt("rm", "backup-db")
    kept = docker.plan(images=False, networks=False)["plan"]
    assert docker.objects(kept["changes"]) == ["container other", "container by-value"]
    assert any(note.startswith("kept, protected by name or label: 2") for note in kept["notes"])


def test_networks_of_stopped_containers_and_of_compose_projects_stay(docker):
    for name in ("of-stopped", "of-created", "unused"):
        docker.cli("network", "create", name)
    project = "com.docker.compose.project=shop"
    docker.cli("network", "create", "--label", project, "shop_default")
    docker.cli("network", "create", "--label", "com.docker.compose.project=gone", "gone_default")
    docker.stopped("stopped", NO_PYTHON, "--network", "of-stopped", "--label", project)
    docker.created("created", NO_PYTHON, "--network", "of-created")
    # docker network prune takes them all, and neither container starts again
    result = docker.clean(containers=False, images=False)
    assert sorted(docker.objects(result["done"])) == ["network gone_default", "network unused"]
    docker.cli("start", "stopped"), docker.cli("start", "created")


def test_layers_that_are_shared_count_once_and_the_read_back_says_what_was_freed(docker):
    base, own = layer("base", 400_000), [layer(f"own-{number}", 100_000) for number in range(3)]
    docker.image("app:1", layers=[base, layer("folder"), own[0]])
    docker.image("app:2", layers=[base, layer("folder"), own[1]])
    kept = docker.image("other:1", layers=[base, own[2]])
    docker.created("user", "other:1")
    planned = docker.plan(containers=False)["plan"]
    assert [change["bytes"] for change in planned["changes"]] == [100_000, 100_000]
    result = docker.clean(containers=False)
    assert result["read_back"]["freed_bytes"] == 200_000 and docker.ids("images") == {kept}
    assert result["read_back"]["root_free_bytes"] > 0
    # with all of them gone, what they share goes once
    docker.image("app:1", layers=[base, own[0]])
    planned = docker.plan()
    assert planned["plan"]["totals"]["bytes"] == 600_000
    assert docker.act(planned)["read_back"]["freed_bytes"] == 600_000


def test_an_image_that_another_was_built_on_stays_and_goes_after_it(docker):
    base = docker.runnable("base:1")
    docker.cli("build", "--tag", "app:1", "-", stdin=b"FROM base:1\nRUN echo 1 >/one\nENV A=b\n", DOCKER_BUILDKIT="0")
    docker.created("user", "app:1")
    planned = docker.plan(containers=False)
    assert planned["plan"]["changes"] == [] and "kept, another image was built on it" in " ".join(
        planned["plan"]["notes"]
    )
    result = docker.clean()
    assert docker.objects(result["done"]) == ["container user", "image app:1", "image base:1"]
    assert docker.ids("images") == set() and base
    assert docker.plan()["state"] == "nothing to do"


def test_build_cache_goes_by_age_and_what_images_share_goes_with_them(docker):
    docker.runnable("base:1")
    recipe = b"FROM base:1\nRUN dd if=/dev/zero of=/big bs=1000 count=700\n"
    docker.cli("build", "--tag", "built:1", "-", stdin=recipe, DOCKER_BUILDKIT="1")
    assert docker.plan(min_age_seconds=3600)["plan"]["changes"] == []
    # while an image has its layers, the cache holds next to nothing of its own
    (change,) = docker.plan(images=False)["plan"]["changes"]
    assert change["object"] == "build cache" and change["bytes"] < 700_000
    result = docker.clean(protected_names=["base"])
    assert (
        docker.objects(result["done"]) == ["image built:1", "build cache"]
        and result["read_back"]["freed_bytes"] >= 700_000
    )
    assert docker.plan(protected_names=["base"])["state"] == "nothing to do"
    assert json.loads(docker.cli("system", "df", "--format", "{{json .}}").splitlines()[3])["Size"] == "0B"


def test_names_with_odd_characters(docker):
    docker.image("a-b_c.d/e__f:1.2-3_X")
    docker.cli("network", "create", "net [*] $(id) 'q\" ;\u202e")
    docker.stopped("a.b-c_d", NO_PYTHON, "--label", "key=with = and\nnewline\x1b[31m")
    planned = docker.plan()
    assert len(planned["plan"]["changes"]) == 4
    assert docker.objects(docker.act(planned)["done"]) == docker.objects(planned["plan"]["changes"])
    assert docker.ids("networks") == docker.ids("containers") == docker.ids("images") == set()


@pytest.fixture
def just_before(monkeypatch):
    """Do something between the look under the lock and the moment in which objects are removed."""

    def call(kind, hook):
        name = f"remove_{kind}"
        real, hooks = getattr(docker_removal, name), [hook]

        def remove(engine, one):
            if hooks:
                hooks.pop()()
            return real(engine, one)

        steps = [(words, name_of, remove if step is real else step) for words, name_of, step in docker_reclaim._STEPS]
        monkeypatch.setattr(docker_reclaim, "_STEPS", tuple(steps))

    return call


def test_what_came_into_use_or_went_between_plan_and_removal_is_left_and_said(docker, just_before):
    docker.created("started", NO_PYTHON)
    for name in ("restarted", "gone", "replaced", "idle"):
        docker.stopped(name)
    new = []

    def meanwhile():
        (
            docker.cli("start", "started"),
            docker.cli("start", "--attach", "restarted"),
            docker.cli("rm", "gone", "replaced"),
        )
        new.append(docker.created("replaced", NO_PYTHON))

    just_before("container", meanwhile)
    result = docker.clean()
    assert docker.objects(result["done"]) == ["container idle"]
    assert docker.reasons(result) == {
        "container started": "it is running now",
        "container restarted": "it was started and has stopped again meanwhile",
        "container gone": "it had gone by itself",
        "container replaced": "it had gone by itself",
        f"image {NO_PYTHON}:latest": "container replaced uses it now",
    }
    assert docker.ids("containers") == {*new, docker.id("started"), docker.id("restarted")}
    assert result["rc"] == 0 and result["state"] == "done"


def test_images_networks_and_volumes_that_came_into_use_are_left_and_said(docker, just_before):
    for name in ("used", "tagged", "gone", "twice", "idle"):
        docker.image(f"{name}:1")
    docker.cli("tag", "twice:1", "twice:2")
    docker.cli("network", "create", "net"), docker.stopped("vol", NO_PYTHON, "-v", "/data"), docker.cli("rm", "vol")
    (volume,) = docker.ids("volumes")

    def meanwhile():
        docker.created("user", "used:1", "--network", "net", "-v", f"{volume}:/data")
        docker.created("of-twice", "twice:2")
        docker.cli("tag", "tagged:1", "keep:me"), docker.cli("rmi", "gone:1")

    just_before("image", meanwhile)
    options = {"anonymous_volumes": True, "protected_names": [NO_PYTHON]}
    result = docker.clean(**options)
    assert docker.objects(result["done"]) == ["image idle:1"]
    assert docker.reasons(result) == {
        "image used:1": "container user uses it now",
        "image tagged:1": "it has other tags now",
        "image gone:1": "it had gone by itself",
        "image twice:1": "container of-twice uses it now",
        "network net": "container user uses it now",
        f"anonymous volume {volume}": "container user uses it now",
    }
    assert docker.ids("volumes") == {volume}
    assert docker.cli("inspect", "--format", "{{.RepoTags}}", "keep:me") == "[keep:me tagged:1]"
