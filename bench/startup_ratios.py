#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures what the wrapper costs: `--help` and `list` against `import click` and bare Python, `run` against bare
ansible-playbook.

    python bench/startup_ratios.py --rounds 11

Every contender is a process of its own, from start to exit, and they take turns in every round. Printed are the minimum
and the median of all rounds in milliseconds and their ratios to the baseline, beside the goal.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What the installed `mendbook` script does; it is not on every machine that has a checkout.
MENDBOOK = [sys.executable, "-c", "import sys; from mendbook.__main__ import main; sys.argv[0] = 'mendbook'; main()"]
FILES = {
    "ansible.cfg": "[defaults]\nroles_path = roles\nlibrary = library\n[connection]\npipelining = True\n",
    "playbooks/do_nothing.yml": (
        "- name: Do nothing\n  hosts: all\n  gather_facts: false\n"
        "  vars: {mend_procedure: {risk: reads, summary: Do nothing}}\n  roles: [nothing_do]\n"
    ),
    "roles/nothing_do/tasks/main.yml": "- name: Do nothing\n  nothing:\n",
    "library/nothing.py": (
        "#!/usr/bin/python\nfrom ansible.module_utils.basic import AnsibleModule\n"
        "AnsibleModule({}, supports_check_mode=True).exit_json(changed=False)\n"
    ),
    "inventory": f"here ansible_connection=local ansible_python_interpreter={sys.executable}\n",
}


def measure(contenders: Mapping[str, Sequence[str]], rounds: int, env: Mapping[str, str]) -> dict[str, list[float]]:
    """Milliseconds of each round after one that is not counted; the contenders take turns."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, command in contenders.items():
            began = time.perf_counter()
            subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)  # noqa: S603
            if number:
                times[name].append((time.perf_counter() - began) * 1000)
    return times


def show(times: Mapping[str, list[float]], goals: Mapping[str, float]) -> bool:
    """Print one table, the first contender being the baseline; whether the minima meet every goal: noise only adds."""
    baseline = next(iter(times.values()))
    met = True
    for name, taken in times.items():
        ratios = (min(taken) / min(baseline), statistics.median(taken) / statistics.median(baseline))
        goal = goals.get(name)
        met = met and (goal is None or ratios[0] <= goal)
        wanted = "" if goal is None else f"   goal {goal:.2f}"
        print(
            f"{name:34} {min(taken):7.0f} ms {statistics.median(taken):7.0f} ms   "
            f"{ratios[0]:5.2f} {ratios[1]:5.2f}{wanted}"
        )
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    # without .pyc files everything costs half as much again, and not equally
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPATH"] = str(ROOT / "src")
    with tempfile.TemporaryDirectory() as folder:
        content = Path(folder)
        for name, text in FILES.items():
            (content / name).parent.mkdir(parents=True, exist_ok=True)
            (content / name).write_text(text)
        print(f"{'':34} {'minimum':>10} {'median':>10}   ratios")
        start = {"import click": [sys.executable, "-c", "import click"]}
        start |= {"python, nothing else": [sys.executable, "-c", "pass"]}
        start |= {"mendbook --help": [*MENDBOOK, "--help"], "mendbook list": [*MENDBOOK, "list"]}
        met = show(measure(start, rounds * 3, env), {"mendbook --help": 1.2, "mendbook list": 1.5})
        env |= {
            "MENDBOOK_CONTENT": folder,
            "ANSIBLE_CONFIG": f"{folder}/ansible.cfg",
            "MENDBOOK_STATE": f"{folder}/state",
        }
        inventory = f"{folder}/inventory"
        bare = str(Path(sys.executable).with_name("ansible-playbook"))
        runs = {
            "ansible-playbook, one module": [bare, "-i", inventory, f"{folder}/playbooks/do_nothing.yml"],
            "mendbook run, the same": [*MENDBOOK, "run", "do_nothing", "-i", inventory],
        }
        met = show(measure(runs, rounds, env), {"mendbook run, the same": 1.15}) and met
    print("goals met" if met else "goals NOT met")


if __name__ == "__main__":
    main()
