#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures ending idle PostgreSQL sessions: ours against psql with the statement that runbooks have.

    python bench/postgres_terminate.py --sessions 500 --rounds 7

Both end the same number of idle sessions, in turns, on a server of the sandbox, and are timed until the sessions are
gone. psql's time begins with its start; a witness looks every 10 ms who is left. Ours begins with the login: lock,
look, choose, plan, look at each again and end it, read back. Printed beside it are psql's start to exit, our statement
and its read-back alone, and the module as a process of its own, with Python's start and its imports. The goal is 1.2.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg

import mendbook.sandbox
from mendbook.sandbox.services.postgres import Service

ROOT = Path(__file__).resolve().parents[1]
GOAL = 1.2
RAW = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'leaky' and state = 'idle'"
LEFT = "select count(*) from pg_stat_activity where application_name = 'leaky'"
ROLE = "leaky"


def content() -> None:
    """Make the content importable under its names on a target."""
    import ansible.module_utils

    sys.path.insert(0, str(ROOT / "library"))
    ansible.module_utils.__path__.append(str(ROOT / "module_utils"))


def defaults() -> dict[str, Any]:
    """What ansible fills in."""
    import mend_postgres_terminate
    from ansible.module_utils.mendbook import postgres_terminate_plan

    postgres_terminate_plan.MIN_SECONDS = 0
    return {name: option.get("default") for name, option in mend_postgres_terminate.ARGUMENT_SPEC.items()}


def params(uri: str, sessions: int) -> dict[str, Any]:
    """The module's options: whoever is called leaky, however short it rests."""
    return {
        "uri": uri,
        "database": "*",
        "applications": [ROLE],
        "idle_seconds": 0,
        "max_sessions": sessions,
        "max_share": 1.0,
        "connect_timeout_seconds": 10,
        "operation_timeout_seconds": 30,
    }


class Bench:
    """A server with a role whose logins are cheap, and ``sessions`` of it that rest."""

    def __init__(self, service: Service, sessions: int) -> None:
        self.service = service
        self.sessions = sessions
        self.open: list[psycopg.Connection[Any]] = []
        self.exits: list[float] = []
        self.acts: list[float] = []
        self.witness = psycopg.connect(service.uri, autocommit=True)
        self.witness.execute(f"create role {ROLE} login password '{ROLE}'")

    def fill(self) -> None:
        """Open the sessions of the next round."""
        for session in self.open:
            session.close()
        login = {"user": ROLE, "password": ROLE, "application_name": ROLE, "autocommit": True}
        self.open = [psycopg.connect(self.service.uri, **login) for _ in range(self.sessions)]

    def psql(self) -> float:
        """Seconds of psql, start until the sessions are gone."""
        program = str(self.service.found.with_name("psql"))
        environment = os.environ | {"PGPASSFILE": str(self.service.folder / "pgpass")}
        address = ["-h", "127.0.0.1", "-p", str(self.service.ports[0]), "-U", "postgres"]
        began = time.perf_counter()
        subprocess.run([program, *address, "-qAtc", RAW], env=environment, stdout=subprocess.DEVNULL, check=True)  # noqa: S603
        self.exits.append(time.perf_counter() - began)
        while self.witness.execute(LEFT).fetchone() != (0,):
            time.sleep(0.01)
        return time.perf_counter() - began

    def ours(self) -> float:
        """Seconds of ours, login to the last look."""
        from ansible.module_utils.mendbook.postgres_terminate import Terminate

        given = {**defaults(), **params(self.service.uri, self.sessions)}
        procedure = Terminate(given)
        began = time.perf_counter()
        with procedure.open(given) as server, procedure.lock(server, "bench"):
            plan = procedure.plan(procedure.observe(server), given)
            acted = time.perf_counter()
            done = sum("op" in item for item in procedure.act(server, plan, {}))
            self.acts.append(time.perf_counter() - acted)
            procedure.read_back(server, plan)
        taken = time.perf_counter() - began
        if done != self.sessions:
            raise SystemExit(f"ours ended {done} of {self.sessions} sessions")
        return taken

    def process(self) -> float:
        """Seconds of the module with a receipt, as a process of its own."""
        given = params(self.service.uri, self.sessions)
        plan = json.loads(self._module({**given, "_ansible_check_mode": True})[0])["plan"]
        kept = {name: value for name, value in plan.items() if name != "changes"}
        receipt = {"run": "bench", "plan": kept, "plan_sha256": plan["sha256"], "journal": "0" * 64}
        printed, taken = self._module({**given, "receipt": receipt})
        if json.loads(printed)["read_back"]["ended"] != self.sessions:
            raise SystemExit(f"the module did not end all: {printed[:500]}")
        return taken

    def _module(self, arguments: dict[str, Any]) -> tuple[str, float]:
        path = self.service.folder / "arguments.json"
        path.write_text(json.dumps(arguments))
        began = time.perf_counter()
        done = subprocess.run(  # noqa: S603
            [sys.executable, __file__, "--module", str(path)], capture_output=True, text=True, check=True
        )
        return done.stdout, time.perf_counter() - began


def run_module(path: Path) -> None:
    """What ansible runs, with these arguments."""
    import mend_postgres_terminate
    from ansible.module_utils.mendbook import postgres_terminate_plan
    from ansible.module_utils.testing import patch_module_args

    postgres_terminate_plan.MIN_SECONDS = 0
    with patch_module_args(json.loads(path.read_text())):
        mend_postgres_terminate.main()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--module", type=Path, help=argparse.SUPPRESS)
    options, _others = parser.parse_known_args()
    content()
    if options.module:
        run_module(options.module)
        return 0
    service = Service(max_connections=options.sessions + 20, settings={"scram_iterations": "1"})
    with mendbook.sandbox.start([service]):
        bench = Bench(service, options.sessions)
        times: dict[str, list[float]] = {"psql, the runbooks' statement": [], "ours": [], "ours, a whole process": []}
        for number in range(options.rounds + 1):
            for name, contender in zip(times, (bench.psql, bench.ours, bench.process), strict=True):
                bench.fill()
                taken = contender()
                if number:
                    times[name].append(taken)
    print(f"{options.sessions} idle sessions, {options.rounds} rounds: seconds (min, median), ratio to psql")
    baseline = next(iter(times.values()))
    ratio = 0.0
    for name, taken in times.items():
        ratios = min(taken) / min(baseline), statistics.median(taken) / statistics.median(baseline)
        print(f"{name:32} {min(taken):7.3f} {statistics.median(taken):7.3f}   {ratios[0]:.2f} {ratios[1]:.2f}")
        ratio = ratios[0] if name == "ours" else ratio
    for name, parts in (("psql, start to exit", bench.exits[1:]), ("ours, end and read back", bench.acts[1:])):
        print(f"  of which {name:23} {min(parts):7.3f} {statistics.median(parts):7.3f}")
    print(f"goal: ours at most {GOAL} of psql: {'met' if ratio <= GOAL else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
