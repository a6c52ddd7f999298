"""Which images clean_docker takes, which it keeps for a rollback, and what that frees, on a real engine."""

from __future__ import annotations

import json

import pytest

from docker_registry import layer

pytestmark = pytest.mark.e2e
pytest_plugins = ["docker_clean_lab"]


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
