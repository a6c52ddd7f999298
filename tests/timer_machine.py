"""A machine of its own for a timer's test: real systemd or real cron in namespaces, whose /srv is a folder of the test.

Nothing of it reaches the machine that the tests run on: its mounts and its processes end with it. It needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from notes import CONTENT
from requirement import missing
from waiting import until

SRV = Path("/srv")
PROGRAMS = Path(sys.executable).parent
_SHARED = "mount --make-rprivate / && mount --make-rshared / && mount -t tmpfs tmpfs /run && mount --bind {folder} /srv"
# the last word of what makes a machine: before it programs would still see the one that the tests run on
_MADE = "touch /srv/made"
# A user's manager reads units, keeps timers and runs services as the machine's own does, and wants no init. What an
# init has made before are the files that are laid over what a unit may not see.
SYSTEMD = (
    "mkdir -p /run/systemd/system /run/systemd/inaccessible/dir /run/user/0 && touch /run/systemd/inaccessible/reg && "
    f"mknod /run/systemd/inaccessible/chr c 0 0 && export XDG_RUNTIME_DIR=/run/user/0 && {_MADE} && "
    "/lib/systemd/systemd --user --unit=basic.target & wait"
)
# Cron's folders are covered by the test's, so that it sees these files only. It is started when they are there: it does
# not notice what is written in the second in which it starts.
CRON = (
    "mount --bind /srv/cron.d /etc/cron.d && mount --bind /srv/empty /etc/crontab && "
    "mount -t tmpfs tmpfs /var/spool/cron && mkdir /var/spool/cron/crontabs && "
    f"mount --bind /srv/logger /usr/bin/logger && {_MADE} && exec sleep infinity"
)


def needed(*programs: str) -> None:
    """Skip where such a machine cannot be made; in CI that is a failure."""
    lacking = [program for program in programs if shutil.which(program, path="/usr/sbin:/usr/bin:/lib/systemd") is None]
    if lacking:
        missing(f"{', '.join(lacking)} is not installed")
    if os.geteuid() != 0:
        missing("namespaces with mounts of their own need root")


@dataclass
class Machine:
    """``folder`` is its /srv as seen from here; ``pid`` its first process, as seen from here."""

    folder: Path
    pid: int

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A program on this machine, to its end."""
        inside = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--wd=/", *words]
        return subprocess.run(
            inside, env=variables() | environment, capture_output=True, text=True, timeout=240, check=False
        )

    def mendbook(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(PROGRAMS / "mendbook"), *words, **environment)

    def systemctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", "--user", "--no-pager", *words)


def variables() -> Mapping[str, str]:
    """The little that every program on the machine gets."""
    return {
        "HOME": str(SRV / "home"),
        "LANG": "C.UTF-8",
        "MENDBOOK_CONTENT": str(CONTENT),
        "MENDBOOK_STATE": str(SRV / "state"),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "TMPDIR": str(SRV / "tmp"),
        "XDG_RUNTIME_DIR": "/run/user/0",
    }


@contextmanager
def machine(folder: Path, first: str) -> Iterator[Machine]:
    """The machine with ``folder`` as its /srv; ``first`` is what its first process does, SYSTEMD or CRON."""
    for name in ("home", "state", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    shell = f"{_SHARED.format(folder=folder)} && {first}"
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", shell]
    log = (folder / "machine.log").open("wb")
    with log, subprocess.Popen(words, env=variables(), stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process:
        try:
            until((folder / "made").exists)
            made = Machine(folder, int(_children(process.pid)[0]))
            if first is SYSTEMD:
                until(lambda: made.systemctl("is-active", "basic.target").stdout.strip() == "active")
            yield made
        finally:
            # the first process goes, and the kernel ends every other one of its namespace
            process.kill()


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
