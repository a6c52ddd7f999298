#!/usr/bin/python
"""For tests: all of what a changing module is, to be compared with CONTRIBUTING. It makes empty files in a folder."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook.change import CHANGE_SPEC, done, run_change
from ansible.module_utils.mendbook.plan import make_plan

ARGUMENT_SPEC = dict(CHANGE_SPEC, folder={"type": "path", "required": True}, names={"type": "list", "elements": "str"})


class Touch:
    @contextmanager
    def open(self, params):
        yield params["folder"]

    @contextmanager
    def lock(self, folder, run):
        with open(os.path.join(folder, ".lock"), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def observe(self, folder):
        return set(os.listdir(folder))

    def plan(self, observed, params):
        changes = [{"op": "+", "object": name} for name in params["names"] if name not in observed]
        target = {"kind": "folder", "id": params["folder"]}
        undo = {"none": "empty files, remove them by hand"}
        return make_plan(
            module="mend_touch", target=target, risk="changes", changes=changes, identity=params["names"], undo=undo
        )

    def act(self, folder, plan, receipt):
        for change in plan["changes"]:
            with open(os.path.join(folder, change["object"]), "x"):
                yield done("+", change["object"])

    def read_back(self, folder, plan):
        return {"there": sorted(self.observe(folder) - {".lock"})}


def main():
    run_change(AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True), Touch())


if __name__ == "__main__":
    main()
