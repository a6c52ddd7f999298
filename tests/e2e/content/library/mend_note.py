#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""A change that can be slow, stubborn and wrong, for the tests of the wrapper."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from contextlib import contextmanager

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import change, errors
from ansible.module_utils.mendbook.plan import make_plan
from ansible.module_utils.mendbook.progress import Progress

ARGUMENT_SPEC = dict(
    change.CONFIRM_SPEC,
    path={"type": "path", "required": True},
    text={"type": "str", "required": True},
    seconds={"type": "float", "default": 0},
    stubborn={"type": "bool", "default": False},
    fails={"type": "str", "default": "none"},
    password={"type": "str", "no_log": True},
)
STEP_SECONDS = 0.02
FAILURES = {
    "refused": errors.Refused,
    "drift": errors.Drift,
    "nothing": errors.Nothing,
    "locked": errors.Locked,
    "verify": errors.VerifyFailed,
    "partial": errors.Partial,
    "unknown": errors.Unknown,
    "plain": errors.MendError,
}


class Note:
    def __init__(self, params):
        self.params = params
        self.figures = {}

    @contextmanager
    def open(self, params):
        yield params["path"]

    @contextmanager
    def lock(self, client, run):
        yield

    def secrets(self, params):
        return [params["password"]] if params["password"] else []

    def observe(self, path):
        try:
            with open(path) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def plan(self, observed, params):
        path, text = params["path"], self._text()
        entry = {"op": "~", "object": path, "before": observed, "after": text, "count": 1}
        return make_plan(
            module="mend_note",
            target={"kind": "file", "id": "note:" + os.path.basename(path), "address": path, "facts": {}},
            risk="destroys",
            changes=[] if observed == text else [entry],
            identity=[path, text],
            undo={"procedure": "undo_write_note", "variables": {"note_undo_path": path}, "until": None},
            expected_seconds=params["seconds"],
            notes=["everybody can read it"],
        )

    def act(self, path, plan, receipt):
        self._fail()
        if self.params["stubborn"]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        started = time.monotonic()
        with Progress(receipt) as progress:
            # by steps and not by the clock: on a machine that stands still meanwhile it reports no less
            for step in range(round(self.params["seconds"] / STEP_SECONDS)):
                progress.update("write", step * STEP_SECONDS, self.params["seconds"], "seconds")
                time.sleep(STEP_SECONDS)
        with open(path, "w") as file:
            file.write(self._text())
        self.figures["write_seconds"] = time.monotonic() - started
        yield change.done("~", path, count=1)

    def read_back(self, path, plan):
        return {"text": self.observe(path)}

    def _text(self):
        password = self.params["password"]
        return self.params["text"] + (hashlib.sha256(password.encode()).hexdigest() if password else "")

    def _fail(self):
        if self.params["fails"] in FAILURES:
            secret = self.params["password"] or "no password"
            raise FAILURES[self.params["fails"]](f"as ordered, with {secret}", rule="order")


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    change.run_change(module, Note(module.params))


if __name__ == "__main__":
    main()
