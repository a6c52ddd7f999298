#!/usr/bin/python
"""For tests: all of what a reading module is. It lists a folder."""

from __future__ import annotations

import os
from contextlib import contextmanager

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook.change import run_read

ARGUMENT_SPEC = {"folder": {"type": "path", "required": True}}


class Look:
    @contextmanager
    def open(self, params):
        yield params["folder"]

    def observe(self, folder):
        return {"there": sorted(os.listdir(folder))}


def main():
    run_read(AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True), Look())


if __name__ == "__main__":
    main()
