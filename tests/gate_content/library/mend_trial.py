#!/usr/bin/python
"""For tests: a changing module that misbehaves on request. It makes files in a folder, like mend_touch."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from contextlib import contextmanager

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import errors, progress
from ansible.module_utils.mendbook.change import CONFIRM_SPEC, done, run_change, skipped
from ansible.module_utils.mendbook.held_signals import held_signals
from ansible.module_utils.mendbook.plan import cap, make_plan, refusal

ARGUMENT_SPEC = dict(
    CONFIRM_SPEC,
    folder={"type": "path", "required": True},
    names={"type": "list", "elements": "str", "default": ["one", "two"]},
    count={"type": "int"},
    risk={"type": "str", "default": "changes"},
    target={"type": "str"},
    refuse={"type": "bool", "default": False},
    cap={"type": "int"},
    drift={"type": "str", "choices": ["identity", "totals", "within tolerance", "gone"]},
    fail={"type": "str"},
    fail_after={"type": "int", "default": 1},
    skip={"type": "list", "elements": "str", "default": []},
    pause={"type": "float", "default": 0},
    fill={"type": "path"},
    password={"type": "str", "no_log": True, "aliases": ["secret"]},
    uri={"type": "str", "no_log": True},
    account={"type": "dict", "options": {"user": {"type": "str"}, "token": {"type": "str", "no_log": True}}},
    leak={"type": "bool", "default": False},
)


class Trial:
    figures = {"trial_seconds": 0.5}

    def __init__(self, params):
        self.params = params
        self.warnings = ["a word of warning"] if params["leak"] else []

    def secrets(self, params):
        return [params["password"]]

    @contextmanager
    def open(self, params):
        if params["fail"] == "crash":
            _die_talking(params["password"])
        if params["fail"] == "open":
            raise errors.MendError("cannot connect", rule="trial")
        yield params["folder"]

    @contextmanager
    def lock(self, folder, run):
        with open(os.path.join(folder, ".lock"), "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise errors.Locked("locked by another run", details={"holder": "another"}) from None
            try:
                yield
            finally:
                os.unlink(os.path.join(folder, ".lock"))

    def observe(self, folder):
        return set(os.listdir(folder))

    def plan(self, observed, params):
        acting = bool(params["receipt"])
        names = params["names"] if params["count"] is None else [f"n{i:06}" for i in range(params["count"])]
        if acting and params["drift"] in ("totals", "within tolerance"):
            names = [*names, "more"]
        if acting and params["drift"] == "gone":
            names = []
        secrets = " ".join(filter(None, [params["password"], params["uri"], (params["account"] or {}).get("token")]))
        leaked = "leaked " + secrets if params["leak"] else None
        return make_plan(
            module="mend_trial",
            target={"kind": "folder", "id": params["target"] or params["folder"], "address": "trial.example:1"},
            risk=params["risk"],
            changes=[
                {"op": "+", "object": name, "bytes": 1, "after": leaked} for name in names if name not in observed
            ],
            caps=[cap("files", params["cap"], len(names), f"-e trial_cap={len(names)}")] if params["cap"] else [],
            identity=acting if params["drift"] == "identity" else None,
            tolerance={"objects": 1, "bytes": 1} if params["drift"] == "within tolerance" else None,
            expected_seconds=2.5,
            undo={"procedure": "untouch", "variables": {"names": names[:1]}, "until": "2026-12-01T00:00:00Z"},
            source={"name": "backup", "age_seconds": 60},
            notes=["files appear one after the other", *([leaked] if leaked else [])],
            refusals=[refusal("age", "the backup is too old", 90, 60, "-e trial_max_age=90")]
            if params["refuse"]
            else [],
        )

    def act(self, folder, plan, receipt):
        params = self.params
        with progress.Progress(receipt) as shown:
            for number, change in enumerate(plan["changes"]):
                if params["fail"] and number == params["fail_after"]:
                    self._fail(folder)
                if change["object"] in params["skip"]:
                    yield skipped(change["object"], "not wanted")
                    continue
                if params["fill"]:
                    _fill(params["fill"])
                # until it is told that it is there
                with held_signals(), open(os.path.join(folder, change["object"].replace("/", "_")[:200]), "x"):
                    shown.update("make", number + 1, len(plan["changes"]), "files")
                    yield done("+", change["object"], bytes=1)
                time.sleep(params["pause"])
            if params["fail"] == "unplanned":
                yield done("+", "not in the plan")

    def read_back(self, folder, plan):
        if self.params["fail"] == "verify":
            raise errors.VerifyFailed("a file is not there", rule="trial")
        if self.params["fail"] == "read back":
            raise errors.MendError("connection lost")
        there = self.observe(folder) - {".lock"}
        return {"there": len(there), "became": os.environ.get("TRIAL_BECAME"), "user": self.params["account"]}

    def _fail(self, folder):
        how = self.params["fail"]
        if how == "kill":
            _die_talking(self.params["password"])
        if how == "exit":
            os._exit(0)
        if how == "term":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        if how == "bug":
            raise KeyError(f"no such thing: {self.params['password']}")
        kinds = {"error": errors.MendError, "unknown": errors.Unknown, "undone": errors.Undone}
        if how in kinds:
            raise kinds[how](f"the trial has failed: {self.params['password']}", rule="trial")


def _die_talking(password):
    """Die as a crash of a driver would, past all of ansible's masking."""
    print(f"core dumped: {password}", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def _fill(path):
    with open(path, "ab", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass


def main():
    module = AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True)
    run_change(module, Trial(module.params))


if __name__ == "__main__":
    main()
