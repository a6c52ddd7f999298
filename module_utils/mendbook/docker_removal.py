# SPDX-License-Identifier: MIT
"""Removing one object of a Docker engine: looked at again, by its id, and never by force against somebody's use.

Each function returns None when the object was removed, or in words why it was left. `Unknown` says that the engine went
away while it was being asked.
"""

from __future__ import annotations

from .docker_errors import ApiError, Gone
from .docker_survey import STOPPED, networks_of, references, stopped_at, volume, volumes_of
from .errors import Unknown

_GONE = "it had gone by itself"


def remove_container(engine, container):
    path = "/containers/{}".format(container["id"])
    said = _look(engine, f"{path}/json")
    if said is None:
        return _GONE
    state = said["State"]["Status"]
    if state not in STOPPED:
        return f"it is {state} now"
    if stopped_at(said["State"], container["created"]) != container["stopped"]:
        return "it was started and has stopped again meanwhile"
    # its volumes are no part of it, and without force a container that runs stays
    return _remove(engine, path, v=False, force=False)


def remove_image(engine, image):
    path = "/images/{}".format(image["id"])
    for one in engine.get("/containers/json", all=True, filters={"ancestor": [image["id"]]}):
        return f"container {_name(one)} uses it now"
    said = _look(engine, f"{path}/json")
    if said is None:
        return _GONE
    if references(said) != (image["tags"], image["digests"]):
        return "it has other tags now"
    # With more than one reference the engine wants force, which is not heard where a container runs. The other way, tag
    # by tag, goes by name: a tag that moves in that moment would take a new image with it.
    return _remove(engine, path, force=len(image["tags"]) > 1 or len(image["repositories"]) > 1, noprune=False)


def remove_network(engine, network):
    path = "/networks/{}".format(network["id"])
    said = _look(engine, path)
    if said is None:
        return _GONE
    # the engine itself removes a network that only stopped containers have, and they never start again
    names = {network["id"], network["name"]}
    for one in engine.get("/containers/json", all=True):
        if names & networks_of(one):
            return f"container {_name(one)} uses it now"
    return _remove(engine, path)


def remove_volume(engine, chosen):
    path = "/volumes/{}".format(chosen["name"])
    said = _look(engine, path)
    if said is None:
        return _GONE
    now = volume(said, engine.api)
    if (now["anonymous"], now["created"], now["labels"]) != (True, chosen["created"], chosen["labels"]):
        return "it is another volume now"
    for one in engine.get("/containers/json", all=True):
        if chosen["name"] in volumes_of(one):
            return f"container {_name(one)} uses it now"
    return _remove(engine, path, force=False)


def prune_cache(engine, min_age_seconds):
    """Remove the records of the build cache that nobody has used for so long; return (how many, their bytes).

    The engine chooses by itself, in the moment in which it removes: what a build uses stays.
    """
    try:
        said = engine.post("/build/prune", filters={"until": [f"{min_age_seconds}s"]})
    except Gone as error:
        raise _unknown("the build cache", error) from error
    return len(said.get("CachesDeleted") or ()), said.get("SpaceReclaimed") or 0


def _look(engine, path):
    try:
        return engine.get(path)
    except ApiError as error:
        if error.status != 404:
            raise
        return None


def _remove(engine, path, **how):
    try:
        engine.delete(path, **how)
    except ApiError as error:
        if error.status == 404:
            return _GONE
        # 403: a network has a container again; 409: everything else that came into use
        if error.status not in (403, 409):
            raise
        return f"the engine keeps it: {error.text}"
    except Gone as error:
        raise _unknown(path, error) from error
    return None


def _unknown(what, error):
    return Unknown(
        f"UNKNOWN whether {what} was removed: {error.msg}; when it is back, --check shows what is left",
        rule=error.rule,
        details=error.details,
    )


def _name(container):
    return container["Names"][0].lstrip("/") if container.get("Names") else container["Id"][:12]
