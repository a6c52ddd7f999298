"""A Docker engine of its own in namespaces of its own, and images that need no registry; a plugin of the Docker tests.

``unshare`` gives it a network, mounts and process ids that nobody shares, so that its bridge and rules touch nothing of
the machine, and everything of it is gone with its first process: at the end of the session, and also when pytest is
killed. What is left then is a folder, which the next start removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import io
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

import docker_images
from requirement import missing

BASE = "lab/base"
NO_PYTHON = "lab/nopython"
# everything that this machine has, also Python, at no cost; what BASE is run with
USR = ("--volume", "/usr:/usr:ro")
SECONDS = 120
_PREFIX = "mendbook-docker-"
_NEEDED = ("containerd", "docker", "dockerd", "ip", "iptables", "nsenter", "runc", "setpriv", "unshare")
# Debian's own first: another client on this machine may be too new for the engine, or want plugins to build
_PATH = f"{docker_images.PATH}:/usr/local/sbin:/usr/local/bin"
# A fresh machine without systemd has no cgroups mounted. An empty /run hides the machine's own engine, and an own
# /etc/docker its settings and the key that is an engine's identity. The shell collects the orphans of containers.
_FIRST = """
set -e
mount --make-rprivate /
if ! grep -q ' /sys/fs/cgroup' /proc/mounts; then
    mount -t tmpfs cgroup /sys/fs/cgroup
    for kind in $(awk '!/^#/ && $4 == 1 {print $1}' /proc/cgroups); do
        mkdir /sys/fs/cgroup/$kind && mount -t cgroup -o $kind cgroup /sys/fs/cgroup/$kind
    done
fi
mount -t tmpfs tmpfs /run
mkdir -p /etc/docker && mount --bind "$0" /etc/docker
ip link set lo up
"$@" &
wait
"""


class DockerEngine:
    """One running engine; a context manager. ``options`` are more arguments of dockerd.

    To be started by the main thread: the kernel ends the engine with the thread that has started it.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        sweep()
        self.folder, self._lock = _claimed()
        self.socket = str(self.folder / "docker.sock")
        self.docker_host = f"unix://{self.socket}"
        self.data_root = self.folder / "data"
        self.log = self.folder / "dockerd.log"
        self.environment = {"PATH": _PATH, "HOME": str(self.folder), "DOCKER_HOST": self.docker_host}
        self._options = list(options)
        (self.folder / "etc").mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> DockerEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def netns(self) -> str:
        """The engine's network namespace; the addresses of its containers are reached from there."""
        return f"/proc/{self.pid}/ns/net"

    @property
    def enter(self) -> list[str]:
        """The words before a command that is to run in the engine's network."""
        # `ip netns exec` would mount another /sys, without cgroups
        return ["nsenter", f"--net={self.netns}"]

    def start(self) -> None:
        """Start it, again on the same data after ``stop``; returns when it answers."""
        # as a reboot does: the numbers in the files of a killed one may well be those of other processes now
        (self.folder / "dockerd.pid").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        engine = ["dockerd", "--host", self.docker_host, "--data-root", str(self.data_root)]
        engine += ["--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "dockerd.pid")]
        # not systemd's, which a machine with cgroups of version 2 would take and which is not running in here
        engine += ["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{self.folder.name}"]
        words = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
        words += ["--mount-proc", "sh", "-c", _FIRST, str(self.folder / "etc"), *engine, *self._options]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                words, env=self.environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the engine does not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)
        self.pid = int(_children(self._process.pid)[0])

    def answers(self) -> bool:
        """Whether it answers just now."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(connection):
            try:
                connection.sock.connect(self.socket)
                connection.request("GET", "/_ping")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False

    def stop(self) -> None:
        """Kill it, with every container and everything else in its namespaces."""
        process, self._process = self._process, None
        if process is None:
            return
        # the first process of the namespace is reaped last; when it is gone, so are the others and their mounts
        for child in _children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), 9)
        _thaw(self.folder.name)
        process.wait(SECONDS)

    def close(self) -> None:
        """Stop it and remove what it has left; may be called again."""
        self.stop()
        _remove(self.folder)
        self._lock.close()

    def cli(self, *arguments: str, stdin: bytes = b"", **environment: str) -> str:
        """What ``docker ARGUMENTS`` prints, without the last newline; an AssertionError when it fails."""
        done = self.attempt(*arguments, stdin=stdin, **environment)
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr.decode()}"
        return done.stdout.decode().rstrip("\n")

    def attempt(self, *arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        """The same, however it ends."""
        program = shutil.which("docker", path=_PATH) or "docker"
        given = self.environment | environment
        return subprocess.run([program, *arguments], input=stdin, env=given, capture_output=True, timeout=SECONDS)

    def image(self, name: str) -> str:
        """``name`` (BASE or NO_PYTHON), imported when it is not here yet."""
        if not self.cli("images", "--quiet", name):
            tree = docker_images.base_tree() if name == BASE else docker_images.small_tree()
            self.cli("import", "--change", 'CMD ["sleep", "infinity"]', "-", name, stdin=tree)
        return name

    def run(
        self, name: str, image: str, *command: str, labels: Mapping[str, str] = {}, options: Sequence[str] = ()
    ) -> str:
        """Start a container in the background and give its id; without a command it sleeps for ever."""
        given = [
            *(USR if image == BASE else ()),
            *(f"--label={key}={value}" for key, value in labels.items()),
            *options,
        ]
        made = self.image(image) if image in (BASE, NO_PYTHON) else image
        # a first process ignores TERM, and docker stop would wait for ten seconds
        return self.cli("run", "--detach", "--stop-signal", "KILL", "--name", name, *given, made, *command)

    def address(self, container: str) -> str:
        """A container's address on its (only) network."""
        return self.cli("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)


def sweep() -> None:
    """Remove the folders of engines whose tests were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), _locked(folder):
            _remove(folder)


def _claimed() -> tuple[Path, io.FileIO]:
    """A new folder, and the lock by which it is somebody's: the next start leaves it alone."""
    while True:
        # a socket's path cannot be long
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # another start may have found it in between, and removed it
        with contextlib.suppress(OSError):
            lock = _locked(folder)
            if folder.exists():
                return folder, lock
            lock.close()


def _locked(folder: Path) -> io.FileIO:
    """The folder's lock; a BlockingIOError when the tests that own it are alive."""
    lock = io.FileIO(folder / "lock", "a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise
    return lock


def _remove(folder: Path) -> None:
    """Remove the engine's folder, and its cgroups, which outlive the processes in them."""
    _thaw(folder.name)
    roots = Path("/sys/fs/cgroup")
    groups = [*roots.glob(folder.name), *roots.glob(f"*/{folder.name}")]
    for group in groups:
        for inner, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(inner)
    # where something of it is still dying, the folder stays for the next start to find
    if not any(group.exists() for group in groups):
        shutil.rmtree(folder, ignore_errors=True)


def _thaw(name: str) -> None:
    """Let the processes of paused containers die; with cgroups of version 1 not even a kill reaches them."""
    for state in Path("/sys/fs/cgroup/freezer", name).glob("**/freezer.state"):
        with contextlib.suppress(OSError):
            state.write_text("THAWED")


def _children(pid: int) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return []


def needs_engine() -> None:
    """Skip where no engine can be started; in CI that is a failure."""
    lacking = [program for program in _NEEDED if shutil.which(program, path=_PATH) is None]
    if lacking:
        missing(f"no Docker engine for tests, {', '.join(lacking)} is missing: .ci/run has the packages")
    if os.geteuid() != 0:
        missing("a Docker engine for tests is started in namespaces of its own, which needs root")


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerEngine]:
    """An engine for every test that does not look at everything in it, one per worker; others start their own."""
    needs_engine()
    with DockerEngine() as engine:
        yield engine
