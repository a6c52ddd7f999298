"""What somebody does between clean_docker's look under the lock and the removal: it is left, and said."""

from __future__ import annotations

import pytest
from ansible.module_utils.mendbook import docker_reclaim, docker_removal

from docker_lab import NO_PYTHON

pytestmark = pytest.mark.e2e
pytest_plugins = ["docker_clean_lab"]


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
