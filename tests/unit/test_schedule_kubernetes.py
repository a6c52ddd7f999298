"""The CronJob of `mendbook schedule`: right by the schema of Kubernetes itself, and safe to leave alone."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from mendbook import cli

NOTES = Path(__file__).resolve().parents[1] / "e2e" / "content"
WRITE = ("write_note", "-i", "/etc/mendbook/hosts.yml", "--on-calendar", "daily", "--confirm", "note:a.txt")
# timeZone is stable since this version
VERSIONS = ("1.27", kubernetes_validate.latest_version())


@pytest.fixture
def cronjob(capsys, monkeypatch):
    """`mendbook schedule ... --format kubernetes`: exit code, the manifest as data, stderr."""
    monkeypatch.setenv("MENDBOOK_CONTENT", str(NOTES))

    def run(*words):
        code = cli.command_line(["schedule", *words, "--format", "kubernetes"])
        said = capsys.readouterr()
        return code, yaml.safe_load(said.out), said.err

    return run


def pod(manifest):
    return manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def test_the_manifest_is_right_to_kubernetes_and_a_wrong_one_would_be_found(cronjob):
    words = ("--image", "estore/mendbook:1", "--secret", "estore", "--config-map", "inventory")
    _, manifest, _ = cronjob(*WRITE, *words, "-e", "note_write_password=env:NOTE_PASSWORD")
    for version in VERSIONS:
        kubernetes_validate.validate(manifest, version, strict=True)
    broken = copy.deepcopy(manifest)
    broken["spec"]["jobTemplate"]["spec"]["backofLimit"] = 0
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


def test_it_runs_once_alone_and_without_rights(cronjob):
    code, manifest, _ = cronjob(*WRITE, "--image", "estore/mendbook:1", "--label", "nightly", "--timeout", "2h")
    assert code == 0 and manifest["metadata"]["name"] == "mendbook-write-note-nightly"
    spec = manifest["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("0 0 * * *", "Etc/UTC", "Forbid")
    assert spec["startingDeadlineSeconds"] == 300
    assert (spec["jobTemplate"]["spec"]["backoffLimit"], pod(manifest)["restartPolicy"]) == (0, "Never")
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 7320
    (container,) = pod(manifest)["containers"]
    assert pod(manifest)["securityContext"]["runAsNonRoot"] and not pod(manifest)["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/var/lib/mendbook", "/tmp"}
    assert all("emptyDir" in volume for volume in pod(manifest)["volumes"])


def test_secrets_come_by_reference_and_words_arrive_as_they_were_written(cronjob):
    texts = "note_write_texts=" + json.dumps(["$(HOME) $$ $x", "50% 'a' \"b\"\n: - ünï"])
    secret = ("-e", "note_write_password=env:NOTE_PASSWORD", "-e", "note_path=env?:NOTE_PATH")
    _, manifest, _ = cronjob(*WRITE, "--image", "i", "--secret", "estore", "-e", texts, *secret)
    (container,) = pod(manifest)["containers"]
    references = [entry for entry in container["env"] if "valueFrom" in entry]
    assert references == [
        {"name": "NOTE_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "estore", "key": "NOTE_PASSWORD"}}},
        {"name": "NOTE_PATH", "valueFrom": {"secretKeyRef": {"name": "estore", "key": "NOTE_PATH", "optional": True}}},
    ]
    # Kubernetes makes one $ of two, and replaces nothing then
    assert texts in [word.replace("$$", "$") for word in container["args"]]
    assert pod(manifest)["volumes"][-1] == {"name": "secrets", "secret": {"secretName": "estore", "defaultMode": 0o440}}


def test_a_drill_and_a_zone_of_ones_own(cronjob):
    _, manifest, _ = cronjob("drill:restore_mongo", "--image", "i", "--on-calendar", "Mon 04:00 Europe/Berlin")
    assert (manifest["spec"]["schedule"], manifest["spec"]["timeZone"]) == ("0 4 * * 1", "Europe/Berlin")
    assert manifest["spec"]["startingDeadlineSeconds"] == 3600
    assert pod(manifest)["containers"][0]["args"] == ["drill", "restore_mongo"]
    for version in VERSIONS:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((*WRITE[:1], "-i", "hosts.yml", *WRITE[3:]), 64, "is a path inside the container and must begin with /"),
        ((*WRITE[:1], *WRITE[3:]), 64, "the path that it has inside the container"),
        ((*WRITE, "-e", "@more.yml"), 64, "is a path inside the container"),
        ((*WRITE, "-e", "note_write_password=env:NOTE_PASSWORD"), 64, "nothing sets NOTE_PASSWORD"),
        ((*WRITE, "-e", "note_write_password=geheim"), 64, "is a secret"),
        ((*WRITE, "-e", "note_write_second=1"), 64, "did you mean note_write_seconds"),
        (WRITE[:-2], 6, "nobody is there at night"),
        ((*WRITE, "--label", "a" * 30), 0, ""),
        (("drill:restore_mongo", "--label", "a" * 30), 64, "longer than the 52 characters"),
        ((*WRITE, "--run-as", "root"), 64, "--run-as is for --format systemd or cron"),
        ((*WRITE, "--on-calendar", "*-*~1"), 64, "cron cannot say"),
        ((*WRITE, "--install"), 64, "a cluster is no folder"),
    ],
)
def test_what_a_cluster_would_not_take_is_refused(cronjob, words, code, said):
    ended, manifest, err = cronjob(*words, "--image", "i")
    assert ended == code and said in err
    assert (manifest is None) is (code != 0)
    assert "geheim" not in err
