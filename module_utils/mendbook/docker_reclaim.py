# SPDX-License-Identifier: MIT
"""Give back what a Docker engine holds for nobody: planned, looked at again one by one, removed, and read back."""

from __future__ import annotations

import time
from contextlib import contextmanager

from . import docker_removal as removal
from . import host_lock
from .change import done, skipped
from .docker_choice import Choice, check_options
from .docker_engine import engine_of
from .docker_reclaim_plan import CACHE, container_object, image_object, network_object, reclaim_plan, volume_object
from .docker_survey import disk_usage, space, survey, used_bytes
from .errors import VerifyFailed
from .held_signals import held_signals
from .host_lock import HostLock

# kind of object, its name in plans, what removes it; in this order, because each may be what holds the next
_STEPS = (
    ("containers", container_object, removal.remove_container),
    ("images", image_object, removal.remove_image),
    ("networks", network_object, removal.remove_network),
    ("volumes", volume_object, removal.remove_volume),
)
# where what is there is listed, and how it is named there
_LISTS = {
    "containers": ("/containers/json", {"all": True}, "Id"),
    "images": ("/images/json", {"all": True}, "Id"),
    "networks": ("/networks", {}, "Id"),
    "volumes": ("/volumes", {}, "Name"),
}


class Reclaim:
    """The procedure of mend_docker_reclaim (see change.py); one object serves one run."""

    def __init__(self, params):
        self.params = params
        self.figures = {}
        self._choice = self._facts = self._used_bytes = None
        self._locked = False
        self._removed = []

    @contextmanager
    def open(self, params):
        check_options(params)
        yield engine_of(params)

    @contextmanager
    def lock(self, engine, run):
        with HostLock(_lock_name(engine.get("/info")["ID"]), run):
            self._locked = True
            yield

    def observe(self, engine):
        holdings = survey(engine)
        choice = Choice(holdings, self.params)
        histories = {
            image["id"]: [step["Size"] for step in engine.get("/images/{}/history".format(image["id"]))]
            for image in choice.images
        }
        self._choice, self._facts, self._used_bytes = choice, holdings.engine, holdings.used_bytes
        held_by = None if self._locked else host_lock.holder(_lock_name(holdings.engine["id"]))
        return holdings, choice, histories, held_by

    def plan(self, observed, params):
        return reclaim_plan(*observed, params)

    def act(self, engine, plan, receipt):
        began = time.monotonic()
        planned = {change["object"]: change for change in plan["changes"]}
        for kind, name_of, remove in _STEPS:
            for one in getattr(self._choice, kind):
                name = name_of(one)
                with held_signals():
                    reason = remove(engine, one)
                    if reason is None:
                        self._removed.append((kind, one, name))
                        yield done("-", name, bytes=planned[name]["bytes"], group=kind)
                if reason is not None:
                    yield skipped(name, reason)
        if self._choice.cache:
            with held_signals():
                yield self._prune_cache(engine)
        self.figures["seconds"] = round(time.monotonic() - began, 3)

    def read_back(self, engine, plan):
        """What is really free now, by the engine's own count, and that everything that was removed is gone."""
        there = {kind: _names(engine, *listed) for kind, listed in _LISTS.items()}
        left = [name for kind, one, name in self._removed if one["name" if kind == "volumes" else "id"] in there[kind]]
        if left:
            raise VerifyFailed(
                "{} of {} objects were removed and are there again: {}".format(
                    len(left), len(self._removed), ", ".join(left[:5])
                ),
                rule="read_back",
                details={"left": left},
            )
        used = used_bytes(disk_usage(engine))
        after = space(self._facts["root"]) if self._facts["root_space"] else None
        return {
            "removed": len(self._removed),
            "used_bytes": used,
            "freed_bytes": self._used_bytes - used,
            "root_free_bytes": after and after["free_bytes"],
        }

    def _prune_cache(self, engine):
        count, size = removal.prune_cache(engine, self.params["min_age_seconds"])
        if not count:
            return skipped(CACHE, "its records were used meanwhile, or images share them")
        return done("-", CACHE, count=count, bytes=size, group=CACHE)


def _names(engine, path, query, field):
    listed = engine.get(path, **query)
    return {one[field] for one in (listed["Volumes"] or () if path == "/volumes" else listed)}


def _lock_name(engine_id):
    return f"docker {engine_id}"
