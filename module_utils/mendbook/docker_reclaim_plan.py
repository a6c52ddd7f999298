# SPDX-License-Identifier: MIT
"""The plan of giving back what a Docker engine holds for nobody. Pure: no engine and no clock."""

from __future__ import annotations

from .docker_choice import image_name
from .docker_layers import freed_bytes
from .plan import cap, make_plan
from .plan_text import age_text, clean

# what must be as it was planned; what the engine holds comes and goes
_SELECTOR = (
    "containers", "images", "networks", "anonymous_volumes", "build_cache", "min_age_seconds", "keep_images",
    "unpullable_images", "protected_names", "protected_labels", "max_objects", "max_bytes",
)  # fmt: skip
CACHE = "build cache"
# images and networks come and go between plan and act: so many, or half of them
_LEEWAY_OBJECTS = 5
_LEEWAY = 0.5
_SHOWN = 5


def reclaim_plan(holdings, choice, histories, locked_by, params):
    """Return the plan (schema 1) of removing what was chosen; ``locked_by`` is who holds the lock now."""
    changes = _changes(holdings, choice, histories)
    lost = len(choice.containers) + len(choice.volumes)
    unpullable = [image for image in choice.images if image["tags"] and not image["in_registry"]]
    count, freed = len(changes), sum(change["bytes"] or 0 for change in changes)
    return make_plan(
        module="mend_docker_reclaim",
        target=target(holdings.engine),
        # a container's own files, a volume and an image of which this is the only copy do not come back
        risk="destroys" if lost or unpullable else "changes",
        changes=changes,
        totals={"containers": len(choice.containers), "volumes": len(choice.volumes), "bytes": freed},
        remains={
            "containers": len(choice.stay),
            "images": len(holdings.images) - len(choice.images),
            "used_bytes": max(holdings.used_bytes - freed, 0),
        },
        caps=[
            cap("objects", params["max_objects"], count, "raise docker_clean_max_objects"),
            cap("bytes", params["max_bytes"], freed, "raise docker_clean_max_bytes"),
        ],
        identity={"engine": holdings.engine["id"], "selector": {name: params[name] for name in _SELECTOR}},
        # what destroys is to be as it was confirmed
        tolerance={"objects": max(_LEEWAY, _LEEWAY_OBJECTS / count) if count else None, "bytes": None, "count": None},
        expected_seconds=round(1 + 0.2 * count),
        undo={"none": "what is removed is gone: an image that a registry has is pulled again, a cache is built again"},
        notes=_notes(holdings, choice, unpullable, params, locked_by),
    )


def target(facts):
    """Return the plan's target; its id is what a person confirms, the engine's own id is part of the fingerprint."""
    shown = ("id", "version", "api", "storage_driver", "root")
    return {
        "kind": "docker",
        "id": "docker:{}".format(facts["name"]),
        "address": facts["address"],
        "facts": {name: facts[name] for name in shown},
    }


def container_object(container):
    return "container {} ({})".format(container["name"], container["id"][:12])


def image_object(image):
    return f"image {image_name(image)}"


def network_object(network):
    return "network {} ({})".format(network["name"], network["id"][:12])


def volume_object(volume):
    return "anonymous volume {}".format(volume["name"])


def _changes(holdings, choice, histories):
    now = holdings.engine["now"]
    going = {image["id"] for image in choice.images}
    kept = [image for image in holdings.images if image["id"] not in going]
    freed = freed_bytes(choice.images, kept, histories)
    changes = []
    for one in choice.containers:
        facts = {"state": one["state"], "image": one["image"], "stopped_seconds": round(now - one["stopped"])}
        changes.append(_change(container_object(one), "containers", one["bytes"] + (one["log_bytes"] or 0), **facts))
    for image in choice.images:
        facts = {"age_seconds": round(now - image["since"]), "size_bytes": image["bytes"]}
        if len(image["tags"]) > 1:
            facts["tags"] = image["tags"]
        if not image["in_registry"]:
            facts["registry"] = "none known"
        changes.append(_change(image_object(image), "images", freed[image["id"]], **facts))
    for one in choice.networks:
        changes.append(_change(network_object(one), "networks", None, age_seconds=round(now - one["created"])))
    for one in choice.volumes:
        facts = {"age_seconds": round(now - one["created"])}
        changes.append(_change(volume_object(one), "volumes", one["bytes"], **facts))
    if choice.cache:
        alone = sum(one["bytes"] for one in choice.cache if not one["shared"])
        changes.append(dict(_change(CACHE, CACHE, alone), count=len(choice.cache)))
    return changes


def _change(name, group, size, **facts):
    return {"op": "-", "object": name, "before": facts or None, "after": None, "bytes": size, "group": group}


def _notes(holdings, choice, unpullable, params, locked_by):
    notes = []
    age = age_text(params["min_age_seconds"])
    if not (choice.containers or choice.images or choice.networks or choice.volumes or choice.cache):
        notes.append(f"nothing to remove: nothing that may go has been out of use for {age}")
    if choice.containers:
        notes.append(
            f"{len(choice.containers)} stopped containers go with what they wrote into themselves and with their logs; "
            "volumes stay"
        )
    if choice.volumes:
        notes.append(f"{len(choice.volumes)} anonymous volumes go with their data; named volumes are never touched")
    if unpullable:
        names = ", ".join(image_name(image) for image in unpullable[:_SHOWN])
        notes.append(
            f"{len(unpullable)} images are in no registry that this engine knows of, and gone for good: {names}"
        )
    untagged = [image for image in choice.images if not image["tags"] and not image["in_registry"]]
    if untagged:
        notes.append(f"{len(untagged)} images have no tag and were never in a registry: what builds have left behind")
    if choice.images and any(one["shared"] for one in holdings.cache):
        notes.append("layers that images share with the build cache are free only when the cache has gone, too")
    for reason, names in sorted(choice.kept.items()):
        shown = ", ".join(clean(name) for name in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        notes.append(f"kept, {reason}: {len(names)} ({shown})")
    if holdings.engine["containerd_images"]:
        notes.append("this engine keeps images in containerd and does not tell which of them a registry has")
    if locked_by:
        notes.append("locked now by run {run} of {holder} on {host} since {since}".format(**locked_by))
    return notes
