# SPDX-License-Identifier: MIT
"""A job as a Kubernetes CronJob (batch/v1): one pod at a time, never tried again, not root, on a read-only root."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mendbook.errors import UsageError
from mendbook.schedule.files import File, marked
from mendbook.schedule.job import Job
from mendbook.schedule.on_calendar import to_cron

INVENTORY_FOLDER = "/etc/mendbook"
SECRET_FOLDER = "/run/secrets/mendbook"  # noqa: S105 - a folder
_USER = 10001
# mendbook stops its run at the time limit by itself; the cluster is there for the case that it does not
_GRACE_SECONDS = 120
# what was missed is started late when the cluster is back, but what destroys keeps to its time of day
_LATE_SECONDS = {True: 3600, False: 300}
_LONGEST_NAME = 52
_REFERENCE = re.compile(r"(?:^|[=\"])env(\??):([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class Pod:
    """The pod: its image, and the names of the ConfigMap with the inventory and of the Secret, if there are any."""

    image: str
    folder: Path
    config_map: str | None = None
    secret: str | None = None


def paths(unit: str, folder: Path) -> list[Path]:
    return [folder / f"{unit}.yml"]


def units(job: Job, where: Pod) -> list[File]:
    """The manifest as one file."""
    import yaml

    text = yaml.safe_dump(manifest(job, where), sort_keys=False, allow_unicode=True, width=110)
    return [marked(path, text, job.asked) for path in paths(job.unit, where.folder)]


def manifest(job: Job, where: Pod) -> dict[str, Any]:
    """The CronJob as data."""
    calendar = to_cron(job.calendar)
    name = _name(job.unit)
    labels = {"app.kubernetes.io/name": "mendbook", "app.kubernetes.io/instance": name}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {
            "schedule": calendar.fields,
            "timeZone": "Etc/UTC" if calendar.zone in (None, "UTC") else calendar.zone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _LATE_SECONDS[job.catches_up],
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "spec": {
                    "backoffLimit": 0,
                    "activeDeadlineSeconds": job.timeout_seconds + _GRACE_SECONDS,
                    "template": {"metadata": {"labels": labels}, "spec": _pod(job, where)},
                }
            },
        },
    }


def _pod(job: Job, where: Pod) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [{"name": "state", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    mounts = [_mount("state", "/var/lib/mendbook"), _mount("tmp", "/tmp")]  # noqa: S108 - the pod's own
    if where.config_map:
        volumes.append({"name": "inventory", "configMap": {"name": where.config_map}})
        mounts.append(_mount("inventory", INVENTORY_FOLDER) | {"readOnly": True})
    if where.secret:
        volumes.append({"name": "secrets", "secret": {"secretName": where.secret, "defaultMode": 0o440}})
        mounts.append(_mount("secrets", SECRET_FOLDER) | {"readOnly": True})
    # nobody is called 10001 in an image: programs ask for a name and a home
    plain = {"HOME": "/tmp", "LOGNAME": "mendbook", "LANG": "C.UTF-8", "MENDBOOK_STATE": "/var/lib/mendbook"}  # noqa: S108
    environment = [{"name": name, "value": value} for name, value in plain.items()]
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "mendbook",
                "image": where.image,
                "command": ["mendbook"],
                # Kubernetes replaces $(NAME) in arguments, and $$ is a $
                "args": [word.replace("$", "$$") for word in job.arguments],
                "env": [*environment, *_secrets(job, where)],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }


def _mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "mountPath": path}


def _secrets(job: Job, where: Pod) -> list[dict[str, Any]]:
    """Every ``env:NAME`` of the job from the key NAME of the Secret; ``env?:NAME`` may be missing there."""
    found: dict[str, bool] = {}
    for word in job.arguments:
        for optional, name in _REFERENCE.findall(word):
            found[name] = bool(optional) and found.get(name, True)
    if where.secret is None:
        if needed := [name for name, optional in found.items() if not optional]:
            raise UsageError(f"nothing sets {', '.join(needed)}: name the Secret with these keys, --secret NAME")
        return []
    return [
        {
            "name": name,
            "valueFrom": {
                "secretKeyRef": {"name": where.secret, "key": name} | ({"optional": True} if optional else {})
            },
        }
        for name, optional in found.items()
    ]


def _name(unit: str) -> str:
    """A name of Kubernetes has no underscore, and a CronJob's leaves room for what is added to its jobs' names."""
    name = unit.replace("_", "-")
    if len(name) > _LONGEST_NAME:
        raise UsageError(
            f"{name} is longer than the {_LONGEST_NAME} characters of a CronJob's name: shorten the --label"
        )
    return name
