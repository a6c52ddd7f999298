#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures how mend_disk_info finds what fills a disk: against du, which says less, on a tree that is made on the spot.

    python bench/disk_info.py --files 100000 --rounds 7

Both read the same tree in turns. du sums up each folder and prints it (`du -x`, sorted by nobody); ours sums up, keeps
the largest folders and files and the folders with most files, and looks for time, hard links and mounts. Each is a
process of its own from start to end; ours is also shown without Python's start. The peak of memory is that of ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# one walk, timed from inside and from outside
WALK = """
import json, resource, sys, time
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[1] + "/module_utils")
from ansible.module_utils.mendbook.disk_walk import walk
started = time.monotonic()
*_, found = walk(sys.argv[2], {}, 600, 20)
took = time.monotonic() - started
print(json.dumps([took, found["bytes"], found["inodes"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


def make(folder: Path, files: int) -> None:
    """Folders of 100 files, ten of them in a folder above."""
    for number in range(files // 100):
        below = folder / str(number // 10) / str(number)
        below.mkdir(parents=True)
        for name in range(100):
            (below / f"file-{name}").touch()


def ours(folder: Path) -> tuple[float, list[Any]]:
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", WALK, str(ROOT), str(folder)], capture_output=True, check=True)  # noqa: S603 our own
    return time.monotonic() - started, json.loads(done.stdout)


def du(folder: Path) -> tuple[float, int]:
    started = time.monotonic()
    done = subprocess.run(["du", "-x", "-B1", str(folder)], capture_output=True, check=True)  # noqa: S603, S607 coreutils
    return time.monotonic() - started, int(done.stdout.splitlines()[-1].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", default=None, help="where the tree is made; the folder for temporary files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        tree = Path(folder)
        make(tree, options.files)
        process, walked, peer, peak = [], [], [], 0
        for _ in range(options.rounds):
            whole, (inside, size, inodes, kilobytes) = ours(tree)
            seconds, sum_of_du = du(tree)
            assert size == sum_of_du, "both count the same"  # noqa: S101
            process.append(whole), walked.append(inside), peer.append(seconds)
            peak = max(peak, kilobytes)
    base = min(peer), statistics.median(peer)
    print(f"{inodes} files and folders, {options.rounds} rounds in turns; min ratio / median ratio to du -x")
    print(f"du -x                 1.00 / 1.00  ({base[0]:.3f} s)")
    for name, taken in (("ours, without start", walked), ("ours, a process", process)):
        print(
            f"{name:<20}  {min(taken) / base[0]:.2f} / {statistics.median(taken) / base[1]:.2f}  ({min(taken):.3f} s)"
        )
    print(f"peak of memory {peak / 1000:.0f} MB")


if __name__ == "__main__":
    main()
