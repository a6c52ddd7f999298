"""An application with many sessions that rest for a moment and then query, on and on; a program of its own.

    python postgres_busy.py URI SESSIONS REST_SECONDS QUERY_SECONDS

A rest and a query last for any time between two: ``4.5-5.5``.

Says "up" when every session has queried; on TERM it prints how many queries were answered and ends.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys

import psycopg

Between = tuple[float, float]


async def work(uri: str, rest: Between, query: Between, counts: dict[str, int], ready: asyncio.Semaphore) -> None:
    first = True
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(uri, autocommit=True, application_name="busy") as client:
                while True:
                    await client.execute(f"select pg_sleep({random.uniform(*query):.3f})")
                    counts["queries"] += 1
                    if first:
                        first = False
                        ready.release()
                    await asyncio.sleep(random.uniform(*rest))
        except psycopg.Error:
            counts["reconnected"] += 1


async def main(uri: str, sessions: int, rest: Between, query: Between) -> None:
    counts, ready, over = {"queries": 0, "reconnected": 0}, asyncio.Semaphore(0), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    tasks = [asyncio.create_task(work(uri, rest, query, counts, ready)) for _ in range(sessions)]
    for _ in tasks:
        await ready.acquire()
    print("up", flush=True)
    await over.wait()
    print(json.dumps(counts), flush=True)
    for task in tasks:
        task.cancel()


def between(text: str) -> Between:
    least, most = map(float, text.split("-"))
    return least, most


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), *map(between, sys.argv[3:])))
