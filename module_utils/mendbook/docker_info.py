# SPDX-License-Identifier: MIT
"""What a Docker engine holds, what of it could be given back, and what is largest, as facts."""

from __future__ import annotations

from contextlib import contextmanager

from .docker_choice import image_name
from .docker_engine import engine_of
from .docker_errors import Gone, NoEngine
from .docker_survey import survey
from .plan_text import age_text, bytes_text, clean


class Info:
    """The procedure of mend_docker_info (see change.py)."""

    def __init__(self, params):
        self.params = params

    @contextmanager
    def open(self, params):
        yield engine_of(params)

    def observe(self, engine):
        try:
            holdings = survey(engine)
        except (NoEngine, Gone) as error:
            if self.params["required"]:
                raise
            return {"present": False, "why": {"rule": error.rule, "msg": error.msg}, "summary": [error.msg]}
        found = facts(holdings, self.params["limit"])
        return {"present": True, **found, "summary": summary(found)}


def facts(holdings, limit):
    """Return ``engine``, ``containers``, ``images``, ``volumes`` and ``build_cache``, each list the largest first."""
    return {
        "engine": {name: value for name, value in holdings.engine.items() if name != "now"},
        "used_bytes": holdings.used_bytes,
        "containers": _containers(holdings, limit),
        "images": _images(holdings, limit),
        "volumes": _volumes(holdings, limit),
        "build_cache": _cache(holdings.cache, limit),
    }


def summary(found):
    """Return the facts as sentences for a person."""
    engine, containers, images = found["engine"], found["containers"], found["images"]
    volumes, cache = found["volumes"], found["build_cache"]
    lines = [
        "Docker {} ({}) on {}, {} in use by it".format(
            engine["version"], engine["storage_driver"], clean(engine["name"]), bytes_text(found["used_bytes"])
        )
        + (", {free} of {size} free in {root}".format(**_space_words(engine)) if engine["root_space"] else ""),
        "{} containers, {} stopped; their files {}, of which stopped ones hold {}".format(
            containers["count"], containers["stopped"], bytes_text(containers["bytes"]),
            bytes_text(containers["reclaimable_bytes"]),
        ),
        "{} images, {} unused, {} of them without a tag; at least {} would be free without the unused".format(
            images["count"], images["unused"], images["dangling"], bytes_text(images["reclaimable_bytes"])
        ),
        "{} volumes, {} unused: {} of {}".format(
            volumes["count"], volumes["unused"], bytes_text(volumes["reclaimable_bytes"]), bytes_text(volumes["bytes"])
        ),
        "{} records of build cache, {} of {} not in use".format(
            cache["count"], bytes_text(cache["reclaimable_bytes"]), bytes_text(cache["bytes"])
        ),
    ]  # fmt: skip
    if containers["log_bytes"]:
        largest = containers["largest_logs"][0]
        lines.append(
            "logs of containers: {}, most of it {} with {}".format(
                bytes_text(containers["log_bytes"]), clean(largest["name"]), bytes_text(largest["log_bytes"])
            )
        )
    if containers["longest_stopped"]:
        oldest = containers["longest_stopped"][0]
        lines.append(f"longest stopped: {clean(oldest['name'])}, for {age_text(oldest['stopped_seconds'])}")
    return lines


def _containers(holdings, limit):
    now, found = holdings.engine["now"], holdings.containers
    stopped = [one for one in found if one["stopped"] is not None]
    logs = [one for one in found if one["log_bytes"] is not None]
    states = {}
    for one in found:
        states[one["state"]] = states.get(one["state"], 0) + 1

    def shown(one):
        since = None if one["stopped"] is None else round(now - one["stopped"])
        return {**_only(one, "id", "name", "image", "state", "bytes", "log_bytes"), "stopped_seconds": since}

    return {
        "count": len(found),
        "states": states,
        "stopped": len(stopped),
        "bytes": sum(one["bytes"] for one in found),
        "reclaimable_bytes": sum(one["bytes"] for one in stopped),
        "log_bytes": sum(one["log_bytes"] for one in logs) if logs or not found else None,
        "largest": [shown(one) for one in _top(found, "bytes", limit)],
        "largest_logs": [shown(one) for one in _top(logs, "log_bytes", limit)],
        "longest_stopped": [shown(one) for one in sorted(stopped, key=lambda one: one["stopped"])[:limit]],
    }


def _images(holdings, limit):
    used = {one["image_id"] for one in holdings.containers}
    unused = [one for one in holdings.images if one["id"] not in used]
    now = holdings.engine["now"]

    def shown(one):
        named = {"name": image_name(one), "used": one["id"] in used, "age_seconds": round(now - one["since"])}
        return {**_only(one, "id", "tags", "bytes", "unique_bytes", "in_registry"), **named}

    return {
        "count": len(holdings.images),
        "unused": len(unused),
        "dangling": sum(not one["tags"] for one in unused),
        # without the layers that unused images share with each other: what is free at least
        "reclaimable_bytes": sum(one["unique_bytes"] for one in unused),
        "largest": [shown(one) for one in _top(holdings.images, "bytes", limit)],
    }


def _volumes(holdings, limit):
    used = set().union(*(one["volumes"] for one in holdings.containers))
    unused = [one for one in holdings.volumes if one["name"] not in used]

    def shown(one):
        return {**_only(one, "name", "anonymous", "bytes"), "used": one["name"] in used}

    return {
        "count": len(holdings.volumes),
        "unused": len(unused),
        "anonymous": sum(one["anonymous"] for one in holdings.volumes),
        "bytes": sum(one["bytes"] or 0 for one in holdings.volumes),
        "reclaimable_bytes": sum(one["bytes"] or 0 for one in unused),
        "largest": [shown(one) for one in _top(holdings.volumes, "bytes", limit)],
    }


def _cache(records, limit):
    alone = [one for one in records if not one["shared"]]
    return {
        "count": len(records),
        "in_use": sum(one["in_use"] for one in records),
        "bytes": sum(one["bytes"] for one in alone),
        "reclaimable_bytes": sum(one["bytes"] for one in alone if not one["in_use"]),
        "largest": [_only(one, "id", "type", "bytes", "in_use", "shared") for one in _top(records, "bytes", limit)],
    }


def _top(entries, size, limit):
    return sorted(entries, key=lambda entry: -(entry[size] or 0))[:limit]


def _only(entry, *names):
    return {name: entry[name] for name in names}


def _space_words(engine):
    space = engine["root_space"]
    sizes = {"free": bytes_text(space["free_bytes"]), "size": bytes_text(space["size_bytes"])}
    return {**sizes, "root": clean(engine["root"])}
