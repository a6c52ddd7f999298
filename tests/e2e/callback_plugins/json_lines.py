"""For tests only: one JSON line per host and task into the file $MENDBOOK_TEST_RESULTS."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: json_lines
type: aggregate
short_description: Write each task result as a JSON line
description: Tests read results from here, because ansible-core ships no JSON output.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "json_lines"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, status, result):
        line = {
            "host": result.host.get_name(),
            "task": result.task.get_name(),
            "module": result.task.action,
            "status": status,
            "result": result.result,
        }
        with open(os.environ["MENDBOOK_TEST_RESULTS"], "a") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result):
        self._write("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._write("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_skipped(self, result):
        self._write("skipped", result)

    def v2_runner_on_unreachable(self, result):
        self._write("unreachable", result)
