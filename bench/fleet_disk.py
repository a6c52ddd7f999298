#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""clean_disk on a fleet of SSH hosts: against ansible's modules with its default settings, and a canary against none.

    python bench/fleet_disk.py --hosts 60 --rounds 3

As root; every host is a network namespace with an sshd and its own root. In turns, with one old log on each host: what
one writes without mendbook (find, file for each, find again), with ansible's forks, pipelining and ssh arguments;
clean_disk under these same settings; clean_disk under those of our ansible.cfg, all hosts at once; and the playbook as
it is, one host first. Seconds from start to exit, the least of all rounds, with the least seconds of CPU of the
control node beside them. Hosts and control node share this machine's cores, so what a module costs on its host counts,
too. The goals are 0.45 of ansible's own for ours, and 1.25 of all at once for the canary.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]
THEIRS = {
    "ANSIBLE_FORKS": "5",
    "ANSIBLE_PIPELINING": "false",
    "ANSIBLE_SSH_ARGS": "-C -o ControlMaster=auto -o ControlPersist=60s",
}
BY_HAND = """
- hosts: hosts
  gather_facts: false
  become: true
  tasks:
    - find: {paths: /var/log, patterns: "*.log", age: 30d, recurse: true}
      register: old
    - file: {path: "{{ item.path }}", state: absent}
      loop: "{{ old.files }}"
    - find: {paths: /var/log, patterns: "*.log", age: 30d, recurse: true}
      register: left
      failed_when: left.matched > 0
"""
OURS_GOAL, CANARY_GOAL = 0.45, 1.25
OLD = 1_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    from ssh_lab import SshHosts

    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        by_hand = Path(folder) / "by_hand.yml"
        by_hand.write_text(BY_HAND)
        at_once = without_brakes(Path(folder))
        names = [f"host{number}" for number in range(options.hosts)]
        canary = ROOT / "playbooks" / "clean_disk.yml"
        runs = {
            "find, file, find": (by_hand, THEIRS),
            "ours, their settings": (at_once, THEIRS),
            "ours": (at_once, {}),
            "ours, canary first": (canary, {}),
        }
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, (playbook, settings) in runs.items():
                # new hosts each time: nobody finds the other's open connections
                with SshHosts(Path(tempfile.mkdtemp(dir=folder)), names, size="size=16m") as lab:
                    figures[name].append(measured(lab, playbook, settings | {"MENDBOOK_STATE": f"{folder}/state"}))
    show(figures)


def without_brakes(folder: Path) -> Path:
    """The playbook for all hosts at once."""
    plays = yaml.safe_load((ROOT / "playbooks" / "clean_disk.yml").read_text())
    plays[0].pop("serial")
    path = folder / "clean_disk.yml"
    path.write_text(yaml.safe_dump(plays))
    return path


def measured(lab: Any, playbook: Path, settings: dict[str, str]) -> tuple[float, float]:
    """(seconds, seconds of CPU) of one run that has removed the log of every host."""
    logs = [lab[name].root / "var/log/shop.log" for name in lab.names]
    for log in logs:
        log.write_bytes(b"x" * 10_000)
        os.utime(log, (OLD, OLD))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(  # noqa: S603
        [program, str(playbook), "-i", str(lab.inventory())],
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")} | settings,
        capture_output=True,
        text=True,
    )
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or any(log.exists() for log in logs):
        raise SystemExit(done.stdout + done.stderr)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def show(figures: dict[str, list[tuple[float, float]]]) -> None:
    walls = {name: min(wall for wall, _ in found) for name, found in figures.items()}
    theirs = walls["find, file, find"]
    for name, found in figures.items():
        cpu = min(used for _, used in found)
        print(f"{name:21} {walls[name]:7.1f} s  {cpu:7.1f} s of CPU  {walls[name] / theirs:5.2f}")
    ours, canary = walls["ours"] / theirs, walls["ours, canary first"] / walls["ours"]
    print(
        f"ours to ansible's own {ours:.2f} (goal {OURS_GOAL}), canary to all at once {canary:.2f} (goal {CANARY_GOAL})"
    )


if __name__ == "__main__":
    main()
