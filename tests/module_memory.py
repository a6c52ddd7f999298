"""One run of a module in a process of its own, and the peak of its memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_SECONDS = 600
# The module as ansible runs it; what that process had of its parent before is not its own.
_CHILD = """
import atexit, importlib, json, sys
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[1] + "/module_utils")
sys.path.insert(0, sys.argv[1] + "/library")
module = importlib.import_module(sys.argv[2])
from ansible.module_utils.testing import patch_module_args

def tell():
    with open("/proc/self/status") as file:
        peak = next(line for line in file if line.startswith("VmHWM"))
    print(peak.split()[1], file=sys.stderr)

atexit.register(tell)
with patch_module_args(json.load(sys.stdin)):
    module.main()
"""


def measured(module: str, **arguments: Any) -> tuple[dict[str, Any], int]:
    """The result of ``library/<module>.py`` with these arguments, and the peak of its memory in bytes."""
    ended = subprocess.run(
        [sys.executable, "-c", _CHILD, str(ROOT), module],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout), int(ended.stderr.split()[-1]) * 1024
