"""What mend_docker_info says of a real engine, and of one that is not there."""

from __future__ import annotations

import json
import socket

import pytest

from docker_lab import NO_PYTHON
from docker_registry import layer
from waiting import until

pytestmark = pytest.mark.e2e
pytest_plugins = ["docker_clean_lab"]


def test_it_tells_what_there_is_and_what_of_it_nobody_uses(docker):
    docker.image("large:1", layers=[layer("big", 900_000)]), docker.pull("shop/api", "1"), docker.image(seed="dangling")
    docker.engine.run(
        "web", NO_PYTHON, "sh", "-c", "dd if=/dev/zero of=/f bs=1000 count=50; echo written; sleep infinity"
    )
    docker.stopped("report", NO_PYTHON, "-v", "/data"), docker.cli("volume", "create", "shop-data")
    docker.cli("run", "--name", "talks", NO_PYTHON, "sh", "-c", "dd if=/dev/zero bs=1000 count=300 | cat")
    until(lambda: docker.cli("logs", "web") == "written")
    before = docker.all()
    found = docker.info(limit=2)
    assert found["present"] and found["changed"] is False and docker.all() == before
    containers = found["containers"]
    assert (containers["count"], containers["stopped"]) == (3, 2) and containers["states"] == {
        "exited": 2,
        "running": 1,
    }
    assert [one["name"] for one in containers["largest"]] == ["web", "report"] and containers["bytes"] >= 50_000
    assert containers["largest_logs"][0]["name"] == "talks" and containers["log_bytes"] > 300_000
    assert {one["name"] for one in containers["longest_stopped"]} == {"report", "talks"}
    images = found["images"]
    assert (images["count"], images["unused"], images["dangling"]) == (4, 3, 1)
    assert images["reclaimable_bytes"] == 920_000 and len(images["largest"]) == 2
    assert images["largest"][1]["tags"] == ["large:1"] and not images["largest"][1]["used"]
    volumes = found["volumes"]
    assert (volumes["count"], volumes["unused"], volumes["anonymous"]) == (2, 1, 1)
    engine = found["engine"]
    assert engine["version"] == docker.cli("version", "--format", "{{.Server.Version}}")
    assert engine["storage_driver"] == docker.cli("info", "--format", "{{.Driver}}")
    assert 0 < engine["root_space"]["free_bytes"] < engine["root_space"]["size_bytes"]
    assert any("3 containers, 2 stopped" in line for line in found["summary"])
    assert any("most of it talks" in line for line in found["summary"])


def test_build_cache_and_what_images_share_of_it(docker):
    docker.runnable("base:1")
    recipe = b"FROM base:1\nRUN dd if=/dev/zero of=/big bs=1000 count=700\n"
    docker.cli("build", "--tag", "built:1", "-", stdin=recipe, DOCKER_BUILDKIT="1")
    shared = docker.info()["build_cache"]
    assert shared["count"] >= 2 and shared["bytes"] < 700_000
    docker.cli("rmi", "built:1")
    assert docker.info()["build_cache"]["reclaimable_bytes"] >= 700_000


def test_an_empty_engine_is_no_error(docker):
    found = docker.info()
    assert found["containers"]["count"] == found["images"]["count"] == found["used_bytes"] == 0


@pytest.mark.parametrize(
    ("host", "rule"), [("unix:///nowhere/docker.sock", "docker_absent"), ("unix:///etc/passwd", "docker_stopped")]
)
def test_an_engine_that_is_not_there_is_a_fact_where_none_is_required(docker, host, rule):
    found = docker.info(docker_host=host, required=False)
    assert (found["rc"], found["present"], found["why"]["rule"]) == (0, False, rule)
    assert found["summary"] == [found["why"]["msg"]] and json.dumps(found)
    failed = docker.info(docker_host=host)
    assert (failed["rc"], failed["mend"]["rule"]) == (1, rule)


def test_an_engine_that_hangs_is_a_fact_where_none_is_required(docker, tmp_path):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "docker.sock"))
        silent.listen()
        found = docker.info(docker_host=f"unix://{tmp_path}/docker.sock", required=False, timeout_seconds=1)
    assert (found["rc"], found["present"], found["why"]["rule"]) == (0, False, "docker_timeout")
    assert "has not answered GET /version in 1 s" in found["summary"][0]


def test_an_address_that_cannot_be_meant_is_an_error_also_where_no_engine_is_required(docker):
    assert docker.info(docker_host="docker.sock", required=False)["mend"]["rule"] == "docker_host"
