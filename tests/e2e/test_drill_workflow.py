"""The nightly workflow: its own command lines, run as they stand, drill and report; it asks for no more than that."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import junitparser
import pytest
import yaml

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "drill.yml"
# BaseLoader: YAML 1.1 takes the word on for a boolean, GitHub does not
WORDS = yaml.load(WORKFLOW.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - makes text only
STEPS = WORDS["jobs"]["restore_mongo"]["steps"]


@pytest.fixture
def runner(tmp_path):
    """Run one step as GitHub does: its lines by ``bash -e``, in a checkout with an environment."""
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / ".venv").symlink_to(Path(sys.executable).parents[1])
    for name in ("temp", "state"):
        (tmp_path / name).mkdir()

    def run(name, **more):
        (step,) = [step for step in STEPS if step.get("name") == name]
        variables = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "MENDBOOK_STATE": str(tmp_path / "state"),
            "RUNNER_TEMP": str(tmp_path / "temp"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        }
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-c", step["run"]],
            cwd=tmp_path / "checkout",
            env=variables | more,
            capture_output=True,
            text=True,
            timeout=840,
            check=False,
        )

    return run


def test_the_workflows_own_command_line_drills_and_reports(runner, tmp_path):
    done = runner("Drill")
    assert done.returncode == 0, done.stderr
    report = tmp_path / "temp" / "drill"
    result = json.loads((report / "drill.jsonl").read_text().splitlines()[-1])
    assert result["result"] == "passed" and result["rto_seconds"] > 0 and result["rpo_seconds"] > 0
    suites = junitparser.JUnitXml.fromfile(str(report / "junit.xml"))
    assert suites.tests > 3 and suites.failures == suites.errors == 0
    summary = (tmp_path / "summary.md").read_text()
    assert "RTO" in summary and "RPO" in summary and "passed" in summary

    trend = runner("Draw the trend")
    assert trend.returncode == 0, trend.stderr
    assert "<svg" in (report / "trend.svg").read_text()
    # what is uploaded, and nothing else was left in the checkout
    assert {file.name for file in report.iterdir()} == {"drill.jsonl", "drills.jsonl", "junit.xml", "trend.svg"}
    assert [file.name for file in (tmp_path / "checkout").iterdir()] == [".venv"]


@pytest.mark.parametrize("code", [2, 5, 70])
def test_a_drill_that_fails_fails_the_job_and_its_report_is_uploaded(runner, tmp_path, code):
    (tmp_path / "checkout" / ".venv").unlink()
    program = tmp_path / "checkout" / ".venv" / "bin" / "mendbook"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{{}}'\nexit {code}\n")
    program.chmod(0o755)
    assert runner("Drill").returncode == code
    after = STEPS[[step.get("name") for step in STEPS].index("Drill") + 1 :]
    assert [step.get("if") for step in after] == ["always()"] * len(after)
    assert after[-1]["uses"].startswith("actions/upload-artifact@") and after[-1]["with"]["path"].endswith("/drill")


def test_the_environment_is_that_of_make_drill():
    (step,) = [step for step in STEPS if step.get("name") == "Make the environment"]
    planned = subprocess.run(
        ["make", "-n", *step["run"].split()[1:]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    drill = subprocess.run(["make", "-n", "drill"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert planned.stdout and drill.startswith(planned.stdout)
    # the same drill, with reports
    assert re.search(r"\.venv/bin/mendbook drill restore_mongo\b", drill)


def test_it_has_a_time_limit_no_rights_and_actions_of_a_stated_version():
    (job,) = WORDS["jobs"].values()
    assert WORDS["permissions"] == {"contents": "read"} and "permissions" not in job
    assert 0 < int(job["timeout-minutes"]) <= 60
    assert set(WORDS["on"]) == {"schedule", "workflow_dispatch"}
    for entry in WORDS["on"]["schedule"]:
        assert re.fullmatch(r"\d+ \d+ (\*|\d+) (\*|\d+) (\*|\d)", entry["cron"])
    for step in STEPS:
        assert ("uses" in step) is not ("run" in step)
        assert re.fullmatch(r"actions/[a-z/-]+@v\d+", step.get("uses", "actions/x@v1"))
    # an expression inside a script would be code of whoever may name a branch
    assert not [step["run"] for step in STEPS if "${{" in step.get("run", "")]
    assert "secrets." not in WORKFLOW.read_text(encoding="utf-8")
