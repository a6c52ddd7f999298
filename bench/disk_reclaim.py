"""Removing old files against find, and against ansible's find and file: seconds, ratios and memory.

    python bench/disk_reclaim.py --files 100000 --rounds 5

In turns, on the same files in memory: find that only lists and our plan; find that deletes and our removal,
where each file is looked at again and the result is read back. The module as a whole plans twice and acts once, each
time as a process of its own; that is printed beside it. At last the playbook against a playbook of ansible's find and
file for ``--ansible-files`` files, once. The goals are 2.6 for the plan and 1.5 for the removal.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "library")]
PLAN_GOAL, ACT_GOAL = 2.6, 1.5
FILES_IN_A_FOLDER = 1000
OLD = 1_600_000_000
DAYS = 30
ALONE = "MENDBOOK_BENCH_ALONE"
THEIRS = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Find old logs
      ansible.builtin.find: {paths: "{{ folder }}", patterns: "*.log", age: 30d, recurse: true}
      register: found
    - name: Remove them
      ansible.builtin.file: {path: "{{ item.path }}", state: absent}
      loop: "{{ found.files }}"
      loop_control: {label: "{{ item.path }}"}
"""


class Bench:
    """A folder of old logs, made anew for each contender that removes them."""

    def __init__(self, folder: Path, files: int) -> None:
        self.folder = folder
        self.files = files

    def fill(self, files: int = 0) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for number in range(files or self.files):
            below = self.folder / f"{number // FILES_IN_A_FOLDER:04}"
            if number % FILES_IN_A_FOLDER == 0:
                below.mkdir(parents=True)
            path = f"{below}/app-{number:06}.log"
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
            os.utime(path, (OLD, OLD))

    def left(self) -> int:
        return sum(len(names) for _, _, names in os.walk(self.folder))

    def options(self) -> dict[str, Any]:
        rule = {"root": str(self.folder), "patterns": ["*.log"], "min_age_seconds": DAYS * 86400}
        most = {"max_files": 10**9, "max_share": 1.0}
        return {"rules": [rule], "allowed_roots": [str(self.folder)], **most}

    def find(self) -> float:
        return self._find()

    def find_delete(self) -> float:
        self.fill()
        return self._find("-delete")

    def _find(self, *action: str) -> float:
        command = ["find", str(self.folder), "-type", "f", "-name", "*.log", "-mtime", f"+{DAYS}", *action]
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)  # noqa: S603
        return time.perf_counter() - began

    def plan(self) -> float:
        return self._ours(act=False)

    def act(self) -> float:
        self.fill()
        return self._ours(act=True)

    def _ours(self, act: bool) -> float:
        """Seconds of our plan, or of our removal with its read-back."""
        import mend_disk_reclaim
        from ansible.module_utils.mendbook.disk_reclaim import Reclaim

        given = {name: option.get("default") for name, option in mend_disk_reclaim.ARGUMENT_SPEC.items()}
        given.update(self.options())
        given["rules"] = [{"kind": "logs", "recurse": True, **given["rules"][0]}]
        procedure = Reclaim(given)
        began = time.perf_counter()
        with procedure.open(given) as roots:
            plan = procedure.plan(procedure.observe(roots), given)
            planned = time.perf_counter()
            if not act:
                return planned - began
            done = sum(item.get("objects", 1) for item in procedure.act(roots, plan, {}) if "op" in item)
            procedure.read_back(roots, plan)
            taken = time.perf_counter() - planned
        if done != self.files or self.left():
            raise SystemExit(f"ours removed {done} of {self.files} files, {self.left()} are left")
        return taken

    def whole(self) -> tuple[float, int]:
        """Seconds of what the gate does, two processes; and the peak of their memory in bytes."""
        from module_memory import measured
        from restore_lab import receipt_for

        self.fill()
        began = time.perf_counter()
        planned, first = measured("mend_disk_reclaim", _ansible_check_mode=True, **self.options())
        receipt = receipt_for(planned, "bench")
        _, second = measured("mend_disk_reclaim", receipt=receipt, **self.options())
        return time.perf_counter() - began, max(first, second)


def playbooks(bench: Bench, files: int) -> tuple[float, float]:
    """Seconds of clean_disk and of ansible's find and file."""
    programs = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "theirs.yml").write_text(THEIRS)
        variables = {f"disk_clean_{key}": value for key, value in bench.options().items()}
        variables |= {"folder": str(bench.folder), "disk_clean_become": False, "mend_hosts": "all"}
        (folder / "variables.yml").write_text(yaml.safe_dump(variables))
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"here": host}}}))
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "MENDBOOK_STATE": str(folder / "state"),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        }
        taken = []
        for playbook in (ROOT / "playbooks" / "clean_disk.yml", folder / "theirs.yml"):
            bench.fill(files)
            command = [str(programs / "ansible-playbook"), str(playbook), "-i", str(folder / "hosts.yml")]
            began = time.perf_counter()
            subprocess.run(  # noqa: S603
                [*command, "-e", f"@{folder / 'variables.yml'}"],
                env=environment,
                stdout=subprocess.DEVNULL,
                check=True,
            )
            taken.append(time.perf_counter() - began)
            if bench.left():
                raise SystemExit(f"{playbook.name} left {bench.left()} of {files} files")
    return taken[0], taken[1]


def compared(names: tuple[str, str], contenders: tuple[Callable[[], float], Callable[[], float]], rounds: int) -> float:
    """Print the seconds of two contenders that take turns; the ratio of the minima: noise only adds."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for taken, contender in zip(times, contenders, strict=True):
            taken.append(contender())
    least, middle = (measure(times[1]) / measure(times[0]) for measure in (min, statistics.median))
    for name, taken in zip(names, times, strict=True):
        print(f"{name:28} {min(taken):7.3f} {statistics.median(taken):7.3f}")
    print(f"{'ratio':28} {least:7.2f} {middle:7.2f}")
    return least


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder on a file system in memory, as root; else wherever temporary files are."""
    with tempfile.TemporaryDirectory() as name:
        mount = ["mount", "-t", "tmpfs", "-o", "size=2g,nr_inodes=0", "bench", name]
        if ALONE in os.environ:
            subprocess.run(mount, check=True)  # noqa: S603
        try:
            yield Path(name)
        finally:
            if ALONE in os.environ:
                subprocess.run(["umount", name], check=True)  # noqa: S603, S607


def main() -> int:
    if os.geteuid() == 0 and ALONE not in os.environ:
        # mounts of its own, which end with it however it ends
        os.environ[ALONE] = "yes"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])  # noqa: S606, S607
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ansible-files", type=int, default=1000)
    options, _others = parser.parse_known_args()
    import conftest  # noqa: F401, makes the content importable under its names on a target

    with in_memory() as folder:
        bench = Bench(folder / "logs", options.files)
        bench.fill()
        print(f"{options.files:,} files, {options.rounds} rounds: seconds (min, median)")
        planned = compared(("find", "our plan"), (bench.find, bench.plan), options.rounds)
        acted = compared(("find -delete", "our removal and read-back"), (bench.find_delete, bench.act), options.rounds)
        taken, peak = bench.whole()
        print(f"the module as a whole, two processes: {taken:.2f} s, {peak / 1e6:.0f} MB at most")
        if options.ansible_files:
            ours, theirs = playbooks(bench, options.ansible_files)
            print(f"{options.ansible_files:,} files: clean_disk {ours:.1f} s, ansible's find and file {theirs:.1f} s")
            print(f"{'ratio':28} {ours / theirs:7.3f}")
    print(f"goals: plan at most {PLAN_GOAL}, removal at most {ACT_GOAL} of find: ", end="")
    print("met" if planned <= PLAN_GOAL and acted <= ACT_GOAL else "missed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
