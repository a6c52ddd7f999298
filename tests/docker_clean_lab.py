"""mend_docker_reclaim against an engine of its own: what it may find there, and what the engine's own client sees."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import mend_docker_info
import mend_docker_reclaim
import pytest
from ansible.module_utils.mendbook import docker_choice

import docker_images
from docker_lab import NO_PYTHON, DockerEngine, needs_engine
from docker_registry import Registry, archive, config, layer
from restore_lab import receipt_for, run_module
from waiting import until

LONG_AGO = "2025-01-02T03:04:05Z"
_LISTS = {
    "containers": ("ps", "--all", "--quiet", "--no-trunc"),
    "images": ("images", "--all", "--quiet", "--no-trunc"),
    "networks": ("network", "ls", "--quiet", "--no-trunc", "--filter", "type=custom"),
    "volumes": ("volume", "ls", "--quiet"),
}
_REMOVE = {
    "containers": ("rm", "--force", "--volumes"),
    "images": ("rmi", "--force"),
    "networks": ("network", "rm"),
    "volumes": ("volume", "rm"),
}


class CleanLab:
    """An engine with a registry. What a test makes in it is gone before the next one."""

    def __init__(self) -> None:
        self.engine = DockerEngine()
        self.registry = Registry(self.engine.netns)
        self.cli = self.engine.cli
        self._runs = 0

    def image(self, *tags: str, layers: Sequence[bytes] = (), labels: Mapping[str, str] = {}, seed: str = "") -> str:
        """An image that was never in a registry; its id. Without tags it is dangling."""
        made = config(self._layers(layers, seed or str(tags)), labels, LONG_AGO)
        loaded = self.cli("load", stdin=archive(tags, self._layers(layers, seed or str(tags)), made))
        return loaded.split()[-1] if not tags else self.cli("inspect", "--format", "{{.Id}}", tags[0])

    def pull(self, name: str, tag: str, layers: Sequence[bytes] = (), seed: str = "") -> str:
        """An image from the registry; its id. A tag that was pulled before moves on."""
        content = self._layers(layers, seed or f"{name}:{tag}")
        reference = self.registry.put(name, tag, content, config(content, {}, LONG_AGO))
        self.cli("pull", "--quiet", reference)
        return self.cli("inspect", "--format", "{{.Id}}", reference)

    @staticmethod
    def _layers(layers: Sequence[bytes], seed: str) -> Sequence[bytes]:
        return layers or [layer(f"file-{seed.replace('/', '-')}", 10_000)]

    def runnable(self, *tags: str) -> str:
        """An image that can be run, of its own."""
        return self.image(*tags, layers=[docker_images.small_tree(), layer(f"file {tags}", 1000)])

    def stopped(self, name: str, image: str = NO_PYTHON, *options: str) -> str:
        """A container that has run and ended; its id."""
        self.engine.image(NO_PYTHON)
        self.cli("run", "--name", name, *options, image, "sh", "-c", "echo said; echo written >/file")
        return self.id(name)

    def created(self, name: str, image: str, *options: str) -> str:
        """A container that was never started; its id."""
        made = self.engine.image(image) if image == NO_PYTHON else image
        return self.cli("create", "--name", name, *options, made, "sleep", "infinity")

    def age(self) -> None:
        """Let all that is here be from long ago: the engine is killed, and its notes are changed."""
        self.registry.close()
        self.engine.stop()
        root = self.engine.data_root
        for path in root.glob("containers/*/config.v2.json"):
            # not the year 1, which stands for never
            path.write_text(re.sub(r'"2\d{3}-\d\d-\d\dT[^"]*Z"', f'"{LONG_AGO}"', path.read_text()))
        for path in root.glob("image/*/imagedb/content/sha256/*"):
            # the order in which they came is kept
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 300 * 86400 * 10**9))
        store = root / "network/files/local-kv.db"
        # of the same length, so that the database stays whole
        store.write_bytes(re.sub(rb'"created":"\d{4}-\d\d-\d\dT', b'"created":"2025-01-02T', store.read_bytes()))
        self.engine.start()
        self.registry = Registry(self.engine.netns)

    def id(self, name: str) -> str:
        return self.cli("inspect", "--format", "{{.Id}}", name)

    def ids(self, kind: str) -> set[str]:
        """What the engine's own client lists of containers, images, networks or volumes."""
        return set(self.cli(*_LISTS[kind]).split())

    def all(self) -> dict[str, Any]:
        """Everything that the client can tell, to see that nothing has changed."""
        found: dict[str, Any] = {kind: self.ids(kind) for kind in _LISTS}
        return {**found, "usage": self.cli("system", "df", "--format", "{{json .}}")}

    def info(self, **options: Any) -> dict[str, Any]:
        return run_module(mend_docker_info, **{"docker_host": self.engine.docker_host, **options})

    def plan(self, **options: Any) -> dict[str, Any]:
        """mend_docker_reclaim in check mode: whatever nobody uses, however young, and no image kept for its age."""
        return run_module(mend_docker_reclaim, **{"check": True, **self._options(options)})

    def act(self, planned: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """The same with the receipt for a plan."""
        self._runs += 1
        return run_module(
            mend_docker_reclaim, receipt=receipt_for(planned, f"lab-{self._runs}"), **self._options(options)
        )

    def clean(self, **options: Any) -> dict[str, Any]:
        """Plan and act at once; the plan's own answer when there is nothing to do, or it failed."""
        planned = self.plan(**options)
        return self.act(planned, **options) if planned["rc"] == 0 and planned["changed"] else planned

    def _options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        given = {"docker_host": self.engine.docker_host, "min_age_seconds": 0, "keep_images": 0}
        return {**given, "unpullable_images": True, **options}

    @staticmethod
    def objects(entries: Sequence[Mapping[str, Any]]) -> list[str]:
        """The objects of changes, or of what was done or skipped, without their ids: "container web"."""
        return [entry["object"].partition(" (")[0] for entry in entries]

    @staticmethod
    def reasons(result: Mapping[str, Any]) -> dict[str, str]:
        """Why objects were skipped."""
        return {entry["object"].partition(" (")[0]: entry["reason"] for entry in result["skipped_objects"]}

    def empty(self) -> None:
        """Remove everything, again where the engine had its hands on it: it starts a container anew that has failed."""
        until(self._removed)
        self.cli("builder", "prune", "--all", "--force")

    def _removed(self) -> bool:
        for kind, words in _REMOVE.items():
            if there := self.ids(kind):
                self.engine.attempt(*words, *there)
        return not any(self.ids(kind) for kind in _LISTS)

    def close(self) -> None:
        self.registry.close()
        self.engine.close()


@pytest.fixture(scope="session")
def clean_engine() -> Iterator[CleanLab]:
    """One per worker; only these tests look at everything that an engine holds, so it is no other test's."""
    needs_engine()
    with contextlib.closing(CleanLab()) as lab:
        yield lab


@pytest.fixture
def docker(clean_engine: CleanLab, monkeypatch: pytest.MonkeyPatch) -> Iterator[CleanLab]:
    """The engine, empty, and what has only just been made is old enough."""
    monkeypatch.setattr(docker_choice, "MIN_SECONDS", 0)
    yield clean_engine
    clean_engine.empty()
