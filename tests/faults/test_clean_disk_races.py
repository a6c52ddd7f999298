"""clean_disk while somebody swaps its folders for links, moves and mounts under it: nothing outside is ever lost."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import mend_disk_reclaim
import pytest
from ansible.module_utils.mendbook import disk_in_use
from ansible.module_utils.mendbook.disk_reclaim import Reclaim
from ansible.module_utils.mendbook.errors import MendError

from requirement import missing

pytestmark = pytest.mark.faults
pytest_plugins = ["disk_lab"]
LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, EXCHANGE, NEW_MOUNTS, BIND, DETACH, PRIVATE = -100, 2, 0x20000, 0x1000, 2, 0x4C000
DEATH_SIGNAL = 1
FILES = 30


def options(disk, **changed):
    """The module's options as ansible fills them in."""
    defaults = {name: option.get("default") for name, option in mend_disk_reclaim.ARGUMENT_SPEC.items()}
    rule = {"min_age_seconds": 86400, "recurse": True, "kind": "logs", **disk.rule()}
    return {**defaults, **disk.options(rules=[rule], max_share=1, **changed)}


def clean(given, outcomes):
    """One whole clean-up in this process, without the module around it; the reasons for what was left."""
    procedure = Reclaim(given)
    try:
        with procedure.open(given) as roots, procedure.lock(roots, "race"):
            plan = procedure.plan(procedure.observe(roots), given)
            if plan["changes"]:
                for item in procedure.act(roots, plan, {}):
                    outcomes[item.get("reason", "removed")] += item.get("objects", 1)
                procedure.read_back(roots, plan)
            outcomes["not entered"] += sum(len(root.elsewhere) for root in roots)
    except MendError as error:
        outcomes[f"{error.reason}: {error.rule}"] += 1


@contextmanager
def racing(swap: Callable[[], int]) -> Iterator[Callable[[], int]]:
    """Another process that calls ``swap`` without a pause until the block ends; gives how often it has done so."""
    counter = ctypes.c_long.from_buffer(mmap.mmap(-1, 8))
    racer = os.fork()
    if not racer:
        LIBC.prctl(DEATH_SIGNAL, signal.SIGKILL)
        while True:
            if swap() == 0:
                counter.value += 1
    try:
        deadline = time.monotonic() + 60
        while not counter.value:
            assert time.monotonic() < deadline, "nothing could be swapped"
        yield lambda: counter.value
    finally:
        os.kill(racer, signal.SIGKILL)
        os.waitpid(racer, 0)


def exchange(one, other):
    """Swap two names in one step of the kernel."""
    names = os.fsencode(one), os.fsencode(other)
    return lambda: LIBC.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], EXCHANGE)


@pytest.fixture
def given(disk, monkeypatch):
    """Options, with the look at all processes done as often as it may be, and victims with the names that go."""
    monkeypatch.setattr(disk_in_use.InUse, "look", lambda self: None)
    for number in range(FILES):
        disk.file(f"f{number}.log", folder=disk.victims, size=1)
    return options(disk)


def refill(disk, folder):
    for number in range(FILES):
        disk.file(f"f{number}.log", folder=folder, size=1)


def test_a_folder_that_is_swapped_for_a_link_all_the_time_costs_no_victim(disk, given, fault_rounds, record_fault):
    rounds, outcomes = fault_rounds(200, 5000), Counter()
    real, trap = disk.root / "sub", disk.root / "trap"
    real.mkdir()
    trap.symlink_to(disk.victims)
    place = disk.root.with_name("filled")
    for _ in range(rounds):
        # filled elsewhere, because through the trap's own name it would be the victims that are filled
        place.mkdir()
        refill(disk, place)
        for name in ("sub", "trap"):
            if not (disk.root / name).is_symlink():
                shutil.rmtree(disk.root / name)
                place.rename(disk.root / name)
        with racing(exchange(real, trap)) as swaps:
            clean(given, outcomes)
            assert swaps() > 0
        assert len(os.listdir(disk.victims)) == FILES, outcomes
    assert outcomes["removed"] > 0, outcomes
    record_fault(
        "a folder that is swapped for a link to elsewhere while it is cleaned",
        rounds=rounds,
        held=f"0 victims lost, {outcomes['removed']} files removed",
    )


def test_a_folder_that_moves_out_of_its_root_takes_nobody_along(disk, given, fault_rounds, record_fault):
    rounds, outcomes = fault_rounds(100, 2000), Counter()
    outside = disk.root.with_name("outside")
    outside.mkdir()
    # the folder itself is swapped with one that has the same names and belongs to somebody else
    for _ in range(rounds):
        sub = disk.root / "sub"
        sub.mkdir(exist_ok=True)
        refill(disk, sub)
        seen = os.stat(sub).st_ino
        planned = Reclaim(given)
        with planned.open(given) as roots, planned.lock(roots, "race"):
            plan = planned.plan(planned.observe(roots), given)
            assert exchange(sub, disk.victims)() == 0
            for item in planned.act(roots, plan, {}):
                outcomes[item.get("reason", "removed")] += item.get("objects", 1)
        assert os.stat(disk.victims).st_ino == seen
        assert exchange(sub, disk.victims)() == 0
        assert len(os.listdir(disk.victims)) == FILES == len(os.listdir(sub))
    assert set(outcomes) == {"its folder is gone, or another one now"}
    record_fault("a folder that was swapped for a foreign one since the look", rounds=rounds, held="nothing removed")


def test_a_mount_that_comes_and_goes_over_a_folder_costs_no_victim(disk, given, fault_rounds, record_fault):
    if os.geteuid():
        missing("only root can mount")
    rounds = fault_rounds(100, 2000)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            # mounts of its own, which end with it
            assert LIBC.unshare(NEW_MOUNTS) == 0 and LIBC.mount(b"none", b"/", None, PRIVATE, None) == 0
            os.write(writing, json.dumps(under_mounts(disk, given, rounds)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        outcomes = json.loads(told.read())
    os.waitpid(child, 0)
    assert len(os.listdir(disk.victims)) == FILES and outcomes["removed"] > 0, outcomes
    held = f"0 victims lost, {outcomes['removed']} files removed, {outcomes.get('not entered', 0)} times not entered"
    record_fault("a mount that comes and goes over a folder while it is cleaned", rounds=rounds, held=held)


def under_mounts(disk, given, rounds):
    sub, victims, outcomes = disk.root / "sub", os.fsencode(disk.victims), Counter()
    sub.mkdir()
    turn = [0]

    def mount_or_not():
        turn[0] ^= 1
        if turn[0]:
            return LIBC.mount(victims, os.fsencode(sub), None, BIND, None)
        return LIBC.umount2(os.fsencode(sub), DETACH)

    for _ in range(rounds):
        refill(disk, sub)
        with racing(mount_or_not):
            clean(given, outcomes)
        while LIBC.umount2(os.fsencode(sub), DETACH) == 0:
            pass
    return outcomes


def test_what_the_runbooks_command_does_in_that_race_is_why_this_one_holds_folders(disk, tmp_path):
    """A witness that the trap works: a list of paths that is used later follows the link."""
    refill(disk, disk.victims)
    refill(disk, disk.root / "sub")
    listed = subprocess.run(["find", str(disk.root), "-name", "*.log", "-print0"], capture_output=True, check=True)
    (disk.root / "sub").rename(tmp_path / "moved")
    (disk.root / "sub").symlink_to(disk.victims)
    subprocess.run(["xargs", "-0", "rm"], input=listed.stdout, check=True)
    assert os.listdir(disk.victims) == []
