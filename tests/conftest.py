"""What every test may ask for: the content under its names on a target, both versions of ansible-core, the wheel."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import ansible.module_utils
import ansible.release
import hypothesis
import pytest

import requirement
from mendbook.sandbox import ports

ROOT = Path(__file__).resolve().parent.parent
CORES = ("2.19", "2.21")
FULL_COUNTS = os.environ.get("MENDBOOK_FAULTS") == "full"

# what the labs assert is explained as it is in tests, whoever imports them first
_LABS = {path.stem for path in Path(__file__).parent.rglob("*.py")} - {"conftest", "requirement"}
pytest.register_assert_rewrite(*_LABS)
sys.path.insert(0, str(ROOT / "library"))
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
# ansible-playbook started by a test leaves its .pyc files, or every start costs half as much again
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# a job in the background of a shell without job control ignores SIGINT, and so would every process that a test stops
signal.signal(signal.SIGINT, signal.default_int_handler)
# servers get ports where neither another worker nor a program under test looks: a killed one finds its own free again
_PORTS = range(12000, 15000)
_SHARE = len(_PORTS) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
ports._LOWEST = _PORTS.start + _SHARE * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
ports._HIGHEST = ports._LOWEST + _SHARE
# how long an example takes tells how busy this machine is
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


def core_folder(core: str) -> Path | None:
    """The folder of programs of ansible-core ``core`` ("2.19"), or None where it is not installed."""
    if ansible.release.__version__.startswith(f"{core}."):
        return Path(sys.executable).parent
    digits = core.replace(".", "")
    folder = Path(os.environ.get(f"MENDBOOK_TEST_CORE{digits}") or ROOT / f".venv-core{digits}" / "bin")
    return folder if (folder / "ansible-playbook").exists() else None


def without(core: str, in_ci: bool) -> NoReturn:
    """End a test that needs a version that is not installed: a skip that says so, and a failure in CI."""
    words = f"ansible-core {core} is not installed: tools/environments.sh other-core makes it where a Python for it is"
    requirement.missing(words, in_ci)


@pytest.fixture(params=CORES)
def core_bins(request: pytest.FixtureRequest) -> Path:
    """Once for each supported ansible-core: the folder that holds its ansible-playbook."""
    folder = core_folder(request.param)
    if folder is None:
        without(request.param, requirement.in_ci())
    return folder


@contextmanager
def made_once(path: Path) -> Iterator[None]:
    """Hold a lock that the workers of this session share while the first of them makes ``path``."""
    with (path.parent / f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """One folder for the whole session, the same for every worker of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if hasattr(request.config, "workerinput") else base


def uv(*arguments: str) -> str:
    """Run the uv that belongs to this environment, quietly; an AssertionError with its words when it fails."""
    beside = Path(sys.executable).with_name("uv")
    program = str(beside) if beside.exists() else shutil.which("uv")
    assert program, "uv is not installed: make test does it"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def built_wheel(session_folder: Path) -> Path:
    """The wheel of this tree, built once in a session."""
    folder = session_folder / "wheel"
    with made_once(folder):
        if not list(folder.glob("*.whl")):
            command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def installed_wheel(built_wheel: Path, session_folder: Path) -> Path:
    """The folder of programs of an environment that holds the wheel, its dependencies and nothing else."""
    folder = session_folder / "installed"
    with made_once(folder):
        if not (folder / "bin" / "mendbook").exists():
            uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
            uv("pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), str(built_wheel))
    return folder / "bin"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """The TMPDIR of this test's runs, where a killed module's folder goes with it; tmp_path is too long for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="mend-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def fault_rounds() -> Callable[[int, int], int]:
    """How often to repeat a fault: ``fault_rounds(quick, full)`` is quick, or full under ``make faults``."""
    return lambda quick, full: full if FULL_COUNTS else quick


@pytest.fixture
def record_fault(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Say what a fault test saw: ``record_fault("kill -9 in the swap", rounds=40, held="40 all-old or all-new")``.

    The session's end prints one line for each, and ``make faults`` writes them to docs/reliability.md.
    """
    return lambda fault, *, rounds, held: record_property("fault", {"fault": fault, "rounds": rounds, "held": held})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    faults = [
        {**value, "outcome": report.outcome}
        for reports in (terminalreporter.stats.get("passed", []), terminalreporter.stats.get("failed", []))
        for report in reports
        for name, value in report.user_properties
        if name == "fault"
    ]
    if not faults:
        return
    faults.sort(key=lambda entry: entry["fault"])
    terminalreporter.section("faults")
    for entry in faults:
        terminalreporter.line(f"{entry['fault']}: {entry['rounds']} times, {entry['held']} ({entry['outcome']})")
    if FULL_COUNTS:
        (ROOT / "docs" / "reliability.md").write_text(fault_page(faults), encoding="utf-8")


def fault_page(faults: list[dict[str, object]]) -> str:
    """docs/reliability.md: what the fault tests did to mendbook, and what held."""
    lines = ["# What was done to mendbook, and what held", "", "Written by `make faults`.", ""]
    lines += ["| fault | times | held | test |", "|---|---|---|---|"]
    lines += [f"| {entry['fault']} | {entry['rounds']} | {entry['held']} | {entry['outcome']} |" for entry in faults]
    return "\n".join(lines) + "\n"
