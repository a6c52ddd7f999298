"""clean_docker killed at its steps, and raced by somebody who works: the next run goes on, and nothing else is hit."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from ansible.module_utils.mendbook import docker_reclaim, host_lock

from docker_lab import NO_PYTHON
from forked import forked

pytestmark = pytest.mark.faults
pytest_plugins = ["docker_clean_lab"]
OPTIONS = {"anonymous_volumes": True, "protected_names": [NO_PYTHON]}
STEPS = ("lock", "image", "volume", "read back", "after each removal")


def scene(docker):
    """One of everything that goes, and of everything that stays."""
    docker.image("gone:1")
    docker.created("gone", "gone:1", "-v", "/data", "-v", "shop-data:/shop")
    docker.cli("network", "create", "gone")
    docker.image("used:1")
    docker.created("stays", "used:1", "--label", "mendbook.keep", "-v", "/mine")


def left(docker):
    """What is there by kind, as the engine's client sees it."""
    names = {
        "containers": docker.cli("ps", "-a", "--format", "{{.Names}}").split(),
        "images": docker.cli("images", "--format", "{{.Repository}}").split(),
        "networks": docker.cli("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}").split(),
    }
    return {kind: set(found) for kind, found in names.items()} | {"volumes": docker.ids("volumes")}


def act_and_die(docker, planned, step, number):
    """Act in a forked process that gets a signal at one of its steps; its result, None when it was killed."""

    def stepped(name, call, after=False):
        def at_step(*args, **kwargs):
            if name == step:
                os.kill(os.getpid(), number)
            result = call(*args, **kwargs)
            if after and step == "after each removal":
                os.kill(os.getpid(), number)
            return result

        return at_step

    def work():
        docker_reclaim._STEPS = tuple(
            (kind, name_of, stepped(kind[:-1], remove, after=True)) for kind, name_of, remove in docker_reclaim._STEPS
        )
        docker_reclaim.survey = stepped("lock", docker_reclaim.survey)
        docker_reclaim.disk_usage = stepped("read back", docker_reclaim.disk_usage)
        return docker.act(planned, **OPTIONS)

    return forked(work)


@pytest.mark.parametrize(
    ("number", "steps"), [(signal.SIGKILL, STEPS), (signal.SIGTERM, STEPS[-2:])], ids=["SIGKILL", "SIGTERM"]
)
def test_a_signal_at_any_step_leaves_a_part_that_the_next_run_finishes(
    docker, fault_rounds, record_fault, number, steps
):
    rounds, held = fault_rounds(1, 10), []
    docker.engine.image(NO_PYTHON)
    for _ in range(rounds):
        for step in steps:
            scene(docker)
            planned = docker.plan(**OPTIONS)
            assert len(planned["plan"]["changes"]) == 4
            result = act_and_die(docker, planned, step, number)
            there = left(docker)
            gone = ["gone" not in there["containers"], "gone" not in there["images"], "gone" not in there["networks"]]
            gone.append(len(there["volumes"]) == 2)
            if number == signal.SIGTERM:
                assert len(result["done"]) == sum(gone), result
                assert result["rc"] == (0 if result["state"] == "done" else 1), result
            assert {"stays"} <= there["containers"] and {"used", NO_PYTHON} <= there["images"]
            assert "shop-data" in there["volumes"]
            # the lock went with its process
            assert host_lock.holder(docker_reclaim._lock_name(docker.cli("info", "--format", "{{.ID}}"))) is None
            again = docker.clean(**OPTIONS)
            assert (again["state"], len(again.get("done") or ())) == (
                "done" if sum(gone) < 4 else "nothing to do",
                4 - sum(gone),
            )
            assert docker.plan(**OPTIONS)["state"] == "nothing to do"
            there = left(docker)
            assert (there["containers"], there["images"]) == ({"stays"}, {"used", NO_PYTHON}) and len(
                there["volumes"]
            ) == 2
            held.append(sum(gone))
            docker.cli("rm", "--volumes", "stays"), docker.cli("volume", "rm", "shop-data"), docker.cli("rmi", "used:1")
    record_fault(
        f"{number.name} at each step of cleaning Docker",
        rounds=rounds * len(steps),
        held=f"{held.count(0)} nothing removed, {held.count(4)} all, the rest a part; every next run removed the rest",
    )


def test_a_container_that_somebody_starts_or_makes_meanwhile_stays(docker, fault_rounds, record_fault):
    """A person starts old containers and makes new ones of old images while both are being removed."""
    rounds, made = fault_rounds(1, 40), []
    for _ in range(rounds):
        docker.engine.image(NO_PYTHON)
        for number in range(4):
            docker.image(f"release:{number}")
            docker.created(f"idle-{number}", NO_PYTHON)
        planned, ids = docker.plan(**OPTIONS), [docker.id(f"idle-{number}") for number in range(4)]
        mine = []

        def work(ids=ids, mine=mine):
            for number, container in enumerate(ids):
                if docker.engine.attempt("start", container).returncode == 0:
                    mine.append(container)
                created = docker.engine.attempt("create", f"release:{number}", "sleep")
                if created.returncode == 0:
                    mine.append(created.stdout.decode().strip())

        thread = threading.Thread(target=work)
        thread.start()
        result = docker.act(planned, **OPTIONS)
        thread.join()
        assert result["rc"] == 0 or result["mend"]["reason"] == "drift", result
        assert set(mine) <= docker.ids("containers")
        made += mine
        docker.empty()
    record_fault(
        "somebody starts and makes containers while old ones and their images are removed",
        rounds=rounds,
        held=f"none of {len(made)} containers lost",
    )
