# SPDX-License-Identifier: MIT
"""What a Docker engine holds, in one look: containers, images, networks, volumes and build cache as plain dicts.

Times are seconds since 1970 by the engine's clock, sizes are bytes, None is what the engine does not tell.
"""

from __future__ import annotations

import calendar
import glob
import os
import re
import time

from .docker_errors import ApiError

# a container's states in which nothing of it runs, and nothing is about to
STOPPED = ("created", "dead", "exited")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(?:Z|([+-])(\d\d):(\d\d))$")
_NONE = ("<none>:<none>", "<none>@<none>")
_ANONYMOUS = re.compile("[0-9a-f]{64}")
_ANONYMOUS_LABEL = "com.docker.volume.anonymous"
# from Docker 23 on
_ANONYMOUS_LABEL_API = (1, 42)
PROJECT_LABEL = "com.docker.compose.project"
_SERVICE_LABEL = "com.docker.compose.service"
_POLL_SECONDS = 0.1


class Holdings:
    """``engine`` (id, name, version, api, storage_driver, root, now, ...), and lists of what it holds.

    ``parents`` {image id: id of the image that it was built on, or None} also has those that are only steps of a build.
    """

    def __init__(self, engine, containers, images, networks, volumes, cache, used_bytes, parents):
        self.engine = engine
        self.containers = containers
        self.images = images
        self.networks = networks
        self.volumes = volumes
        self.cache = cache
        self.used_bytes = used_bytes
        self.parents = parents


def survey(engine):
    """Return the `Holdings` of an `Engine`."""
    usage = disk_usage(engine)
    facts = _engine_facts(engine)
    return Holdings(
        facts,
        [found for found in (_container(engine, one) for one in usage["Containers"] or ()) if found],
        [found for found in (_image(engine, one, facts) for one in usage["Images"] or ()) if found],
        [network(one) for one in engine.get("/networks")],
        [volume(one, engine.api) for one in usage["Volumes"] or ()],
        [_cache_record(one) for one in usage["BuildCache"] or ()],
        used_bytes(usage),
        {one["Id"]: one.get("ParentId") or None for one in engine.get("/images/json", all=True)},
    )


def disk_usage(engine):
    """Return /system/df; it may take long, and an engine answers one at a time (20.10)."""
    deadline = time.monotonic() + engine.timeout_seconds
    while True:
        try:
            return engine.get("/system/df")
        except ApiError as error:
            if "already running" not in error.text or time.monotonic() > deadline:
                raise
        time.sleep(_POLL_SECONDS)


def used_bytes(usage):
    """Return what all of it takes on the disk by /system/df: each layer once, and no logs."""
    written = [one.get("SizeRw") or 0 for one in usage["Containers"] or ()]
    volumes = [max((one.get("UsageData") or {}).get("Size", 0), 0) for one in usage["Volumes"] or ()]
    cache = [one["Size"] for one in usage["BuildCache"] or () if not one.get("Shared")]
    return usage["LayersSize"] + sum(written) + sum(volumes) + sum(cache)


def networks_of(container):
    """Return the ids and names of the networks of a container as the engine lists or inspects it.

    A container that never ran has names only, and the default one under the name "default".
    """
    settings = (container.get("NetworkSettings") or {}).get("Networks") or {}
    found = set(settings) | {one.get("NetworkID") for one in settings.values() if one}
    return (found | {(container.get("HostConfig") or {}).get("NetworkMode")}) - {None, ""}


def volumes_of(container):
    """Return the names of the volumes of a container, also of one that never ran."""
    return {one["Name"] for one in container.get("Mounts") or () if one.get("Type") == "volume" and one.get("Name")}


def epoch(text):
    """Return an RFC 3339 time of the engine in seconds since 1970, None for none (the year 1) or no such text."""
    parsed = _RFC3339.match(text or "")
    if not parsed or text.startswith("0001-"):
        return None
    whole, fraction, sign, hours, minutes = parsed.groups()
    seconds = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(fraction or 0)
    if sign:
        seconds -= (1 if sign == "+" else -1) * (int(hours) * 3600 + int(minutes) * 60)
    return seconds


def references(image):
    """Return the tags and the digests by which an image as the engine lists or inspects it is known."""
    tags = [tag for tag in image.get("RepoTags") or () if tag not in _NONE]
    digests = [digest for digest in image.get("RepoDigests") or () if digest not in _NONE]
    return sorted(tags), sorted(digests)


def volume(said, api):
    """Return a volume; ``anonymous`` is true only when the engine or, up to Docker 20.10, its name says so."""
    labels = said.get("Labels") or {}
    random = bool(_ANONYMOUS.fullmatch(said["Name"])) and said.get("Driver") == "local" and not said.get("Options")
    usage = said.get("UsageData") or {}
    return {
        "name": said["Name"],
        "created": epoch(said.get("CreatedAt")),
        "labels": labels,
        "anonymous": random and (_ANONYMOUS_LABEL in labels or api < _ANONYMOUS_LABEL_API),
        "bytes": usage["Size"] if usage.get("Size", -1) >= 0 else None,
    }


def network(said):
    return {
        "id": said["Id"],
        "name": said["Name"],
        "created": epoch(said.get("Created")),
        "labels": said.get("Labels") or {},
        "driver": said.get("Driver"),
        "scope": said.get("Scope"),
        # a swarm's, or a template that other networks are made from
        "special": bool(said.get("Ingress") or said.get("ConfigOnly")),
    }


def stopped_at(state, created):
    """Return since when a container has been stopped; one that never ran counts from when it was made."""
    return epoch(state.get("FinishedAt")) or created


def _engine_facts(engine):
    info, version = engine.get("/info"), engine.version
    status = dict(pair for pair in info.get("DriverStatus") or () if len(pair) == 2)
    root = info.get("DockerRootDir")
    return {
        "id": info["ID"],
        "address": engine.docker_host,
        "name": info["Name"],
        "version": version.get("Version"),
        "api": "{}.{}".format(*engine.api),
        "os": info.get("OperatingSystem"),
        "storage_driver": info.get("Driver"),
        # it gives every image a digest, also one that no registry has ever seen
        "containerd_images": status.get("driver-type", "").startswith("io.containerd.snapshotter"),
        "logging_driver": info.get("LoggingDriver"),
        "root": root,
        "root_space": space(root) if engine.is_local and root else None,
        "now": epoch(info.get("SystemTime")),
    }


def space(root):
    """Size and free bytes of the file system of the data root; None where it is not seen from here."""
    try:
        seen = os.statvfs(root)
    except OSError:
        return None
    return {"size_bytes": seen.f_frsize * seen.f_blocks, "free_bytes": seen.f_frsize * seen.f_bavail}


def _container(engine, listed):
    """One container with what only its own page tells; None when it has gone since it was listed."""
    try:
        said = engine.get("/containers/{}/json".format(listed["Id"]))
    except ApiError as error:
        if error.status != 404:
            raise
        return None
    labels = listed.get("Labels") or {}
    return {
        "id": listed["Id"],
        "name": said["Name"].lstrip("/"),
        "image": listed.get("Image"),
        "image_id": listed["ImageID"],
        "state": said["State"]["Status"],
        "created": listed["Created"],
        "stopped": stopped_at(said["State"], listed["Created"]) if said["State"]["Status"] in STOPPED else None,
        "exit_code": said["State"].get("ExitCode"),
        "labels": labels,
        "project": labels.get(PROJECT_LABEL),
        "networks": networks_of(listed),
        "volumes": volumes_of(listed),
        "bytes": listed.get("SizeRw") or 0,
        "log_bytes": _log_bytes(said.get("LogPath")) if engine.is_local else None,
    }


def _log_bytes(path):
    """The size of a container's log with what was rotated; None where it is not a file that is seen from here."""
    if not path or not os.path.exists(path):
        return None
    total = 0
    for name in glob.glob(glob.escape(path) + "*"):
        try:
            total += os.stat(name).st_blocks * 512
        except OSError:
            continue
    return total


def _image(engine, listed, facts):
    """One image with what only its own page tells; None when it has gone since it was listed."""
    try:
        said = engine.get("/images/{}/json".format(listed["Id"]))
    except ApiError as error:
        if error.status != 404:
            raise
        return None
    tags, digests = references(said)
    tagged = epoch((said.get("Metadata") or {}).get("LastTagTime"))
    arrived = _arrived(facts, listed["Id"]) if engine.is_local else None
    labels = listed.get("Labels") or {}
    return {
        "id": listed["Id"],
        "tags": tags,
        "digests": digests,
        "repositories": _repositories(tags, digests, labels),
        "created": listed["Created"],
        # an image that was pulled a minute ago may have been built years ago
        "since": max(listed["Created"], tagged or 0, arrived or 0),
        "labels": labels,
        "layers": (said.get("RootFS") or {}).get("Layers") or [],
        "bytes": listed["Size"],
        "unique_bytes": max(listed["Size"] - max(listed.get("SharedSize") or 0, 0), 0),
        "in_registry": bool(digests) and not facts["containerd_images"],
    }


def _arrived(facts, image_id):
    """When an image came to this host; the API does not tell it, and its file does, where that is seen from here."""
    kind, _, digest = image_id.partition(":")
    try:
        return os.stat(
            os.path.join(facts["root"], "image", facts["storage_driver"], "imagedb/content", kind, digest)
        ).st_mtime
    except OSError:
        return None


def _repositories(tags, digests, labels):
    """Whose releases an image is one of; a service of Compose is known by labels when its tag has moved on."""
    found = {tag.rpartition(":")[0] for tag in tags} | {digest.partition("@")[0] for digest in digests}
    if not found and labels.get(PROJECT_LABEL) and labels.get(_SERVICE_LABEL):
        found = {f"{labels[PROJECT_LABEL]}-{labels[_SERVICE_LABEL]}"}
    return sorted(found)


def _cache_record(said):
    return {
        "id": said["ID"],
        "type": said.get("Type"),
        "bytes": said["Size"],
        "in_use": bool(said.get("InUse")),
        "shared": bool(said.get("Shared")),
        "used": epoch(said.get("LastUsedAt")),
    }
