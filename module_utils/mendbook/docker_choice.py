# SPDX-License-Identifier: MIT
"""What of a Docker engine's holdings may go, in the order in which it goes, and why the rest stays. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase

from .docker_survey import PROJECT_LABEL, STOPPED
from .errors import Nothing, Refused

# what is younger may be a step between two commands of somebody: create and start, pull and run, tag and push
MIN_SECONDS = 60
KINDS = ("containers", "images", "networks", "volumes", "build_cache")
# what every engine has, and a swarm's bridge
_OWN_NETWORKS = ("bridge", "docker_gwbridge", "host", "ingress", "none")
# the engine never takes these from a build cache by itself
_OWN_CACHE = ("internal", "frontend")


def check_options(params):
    """Raise `MendError` for options that cannot be meant, before anybody is asked."""
    if params["min_age_seconds"] < MIN_SECONDS:
        raise Refused(
            f"refused: min_age_seconds is {params['min_age_seconds']}: what somebody has just made and not started yet "
            f"would be hit; {MIN_SECONDS} is the least",
            rule="min_age_seconds",
            details={"value": params["min_age_seconds"], "limit": MIN_SECONDS},
        )
    if params["keep_images"] < 0:
        raise Refused(f"refused: keep_images is {params['keep_images']}", rule="keep_images")
    if not any(params[kind] for kind in ("containers", "images", "networks", "anonymous_volumes", "build_cache")):
        raise Nothing("nothing is asked for: each kind of object is switched off", rule="kinds")


class Choice:
    """``containers``, ``images``, ``networks``, ``volumes``: those that go, in this order; ``cache``: its records.

    ``kept`` {reason: [name]} has what is old and unused enough, and stays all the same.
    """

    def __init__(self, holdings, params):
        self.kept = {}
        self._params = params
        self._now = holdings.engine["now"]
        self.containers = self._containers(holdings) if params["containers"] else []
        gone = {one["id"] for one in self.containers}
        # what is free once these containers are gone goes in the same run, or a second run would find more to do
        self.stay = [one for one in holdings.containers if one["id"] not in gone]
        self.images = self._images(holdings) if params["images"] else []
        self.networks = self._networks(holdings) if params["networks"] else []
        self.volumes = self._volumes(holdings) if params["anonymous_volumes"] else []
        self.cache = self._cache(holdings) if params["build_cache"] else []

    def _containers(self, holdings):
        found = [one for one in holdings.containers if one["state"] in STOPPED and self._is_old(one["stopped"])]
        return [one for one in found if not self._is_protected([one["name"]], one["labels"], one["name"])]

    def _images(self, holdings):
        used = {one["image_id"] for one in self.stay}
        latest = self._latest(holdings.images)
        chosen = []
        for image in holdings.images:
            name = image_name(image)
            if image["id"] in used or not self._is_old(image["since"]):
                continue
            if image["id"] in latest:
                self._keep("one of the last keep_images of its repository", name)
            elif self._is_protected([*image["tags"], *image["repositories"]], image["labels"], name):
                continue
            elif image["tags"] and not image["in_registry"] and not self._params["unpullable_images"]:
                self._keep("in no registry that this engine knows of (unpullable_images)", name)
            else:
                chosen.append(image)
        return self._without_parents(chosen, holdings)

    def _latest(self, images):
        """The ids of the newest images of each repository."""
        by_repository = {}
        for image in images:
            for repository in image["repositories"]:
                by_repository.setdefault(repository, []).append(image)
        latest = set()
        for members in by_repository.values():
            members.sort(key=lambda image: (image["since"], image["id"]), reverse=True)
            latest.update(image["id"] for image in members[: self._params["keep_images"]])
        return latest

    def _without_parents(self, chosen, holdings):
        """What another image that stays was built on stays, too; children go before what they were built on."""
        going = {image["id"] for image in chosen}
        needed = {parent for one in holdings.images if one["id"] not in going for parent in ancestors(one, holdings)}
        for image in chosen:
            if image["id"] in needed:
                self._keep("another image was built on it", image_name(image))
        free = [image for image in chosen if image["id"] not in needed]
        return sorted(free, key=lambda image: (-len(ancestors(image, holdings)), image["since"], image["id"]))

    def _networks(self, holdings):
        taken = set().union(*(one["networks"] for one in self.stay))
        projects = {one["project"] for one in self.stay}
        chosen = []
        for one in holdings.networks:
            if one["name"] in _OWN_NETWORKS or one["special"] or one["scope"] != "local":
                continue
            if one["id"] in taken or one["name"] in taken or not self._is_old(one["created"]):
                continue
            if one["labels"].get(PROJECT_LABEL, "") in projects:
                self._keep("its Compose project has containers", one["name"])
            elif not self._is_protected([one["name"]], one["labels"], one["name"]):
                chosen.append(one)
        return chosen

    def _volumes(self, holdings):
        taken = set().union(*(one["volumes"] for one in self.stay))
        found = [one for one in holdings.volumes if one["anonymous"] and one["name"] not in taken]
        found = [one for one in found if self._is_old(one["created"])]
        return [one for one in found if not self._is_protected([one["name"]], one["labels"], one["name"][:12])]

    def _cache(self, holdings):
        found = [one for one in holdings.cache if not one["in_use"] and one["type"] not in _OWN_CACHE]
        # what an image shares is free when the image has gone
        return [one for one in found if self._is_old(one["used"] or 0) and (not one["shared"] or self.images)]

    def _is_old(self, since):
        return since is not None and self._now - since >= self._params["min_age_seconds"]

    def _is_protected(self, names, labels, shown):
        protected = matches(names, self._params["protected_names"]) or any(
            labels.get(key) == value if equals else key in labels
            for key, equals, value in (label.partition("=") for label in self._params["protected_labels"])
        )
        if protected:
            self._keep("protected by name or label", shown)
        return protected

    def _keep(self, reason, name):
        self.kept.setdefault(reason, []).append(name)


def matches(names, patterns):
    # a name may hold the very characters that are wildcards
    return any(name == pattern or fnmatchcase(name, pattern) for name in names for pattern in patterns)


def ancestors(image, holdings):
    """Return the ids of the images that an image was built on, the nearest first."""
    found, parent = [], holdings.parents.get(image["id"])
    while parent and parent not in found:
        found.append(parent)
        parent = holdings.parents.get(parent)
    return found


def image_name(image):
    """Return how an image is called in plans: by a tag or a repository, and always by its id."""
    known = image["tags"][0] if image["tags"] else "{}:<none>".format(next(iter(image["repositories"]), "<none>"))
    return "{} ({})".format(known, image["id"].partition(":")[2][:12])
