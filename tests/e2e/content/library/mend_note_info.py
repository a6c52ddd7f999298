#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""A module that only reads, for the tests of the wrapper."""

from __future__ import annotations

from contextlib import contextmanager

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import change

ARGUMENT_SPEC = {"path": {"type": "path", "required": True}}


class Look:
    def __init__(self, params):
        self.params = params

    @contextmanager
    def open(self, params):
        yield params["path"]

    def observe(self, path):
        return {"path": path, "size_bytes": 12}


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    change.run_read(module, Look(module.params))


if __name__ == "__main__":
    main()
