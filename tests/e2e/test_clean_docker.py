"""clean_docker on a real engine: what goes, what stays, and what came into use meanwhile, as its own client sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    assert docker.plan(min_age_seconds=604800, unpullable_images=False, keep_images=3)["state"] == "nothing to do"


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


def test_a_named_volume_is_never_removed_and_an_anonymous_one_only_when_asked_and_of_nobody(docker):
    docker.stopped("db", NO_PYTHON, "-v", "shop-data:/var/lib/db", "-v", "/scratch")
    docker.created("stays", NO_PYTHON, "-v", "/mine", "--label", "mendbook.keep")
    mine = docker.cli("inspect", "--format", "{{(index .Mounts 0).Name}}", "stays")
    docker.cli("volume", "create", "dangling-and-named")
    named = {"shop-data", "dangling-and-named"}
    docker.clean()
    assert docker.cli("ps", "-a", "--format", "{{.Names}}") == "stays" and len(docker.ids("volumes")) == 4
    planned = docker.plan(anonymous_volumes=True)
    assert planned["plan"]["risk"] == "destroys" and len(planned["plan"]["changes"]) == 1
    docker.act(planned, anonymous_volumes=True)
    assert docker.ids("volumes") == {*named, mine}


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


def test_names_with_odd_characters(docker):
    docker.image("a-b_c.d/e__f:1.2-3_X")
    docker.cli("network", "create", "net [*] $(id) 'q\" ;\u202e")
    docker.stopped("a.b-c_d", NO_PYTHON, "--label", "key=with = and\nnewline\x1b[31m")
    planned = docker.plan()
    assert len(planned["plan"]["changes"]) == 4
    assert docker.objects(docker.act(planned)["done"]) == docker.objects(planned["plan"]["changes"])
    assert docker.ids("networks") == docker.ids("containers") == docker.ids("images") == set()
