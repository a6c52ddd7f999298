"""An application with many sessions that rest for milliseconds and then query; a program of its own.

    python postgres_busy.py URI SESSIONS LONGEST_REST_SECONDS

Says "up" when every session has queried; on TERM it prints how many queries were answered and ends.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys

import psycopg


async def work(uri: str, rest: float, counts: dict[str, int], ready: asyncio.Semaphore) -> None:
    first = True
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(uri, autocommit=True, application_name="busy") as client:
                while True:
                    await client.execute("select pg_sleep(0.003)")
                    counts["queries"] += 1
                    if first:
                        first = False
                        ready.release()
                    await asyncio.sleep(random.uniform(0, rest))
        except psycopg.Error:
            counts["reconnected"] += 1


async def main(uri: str, sessions: int, rest: float) -> None:
    counts, ready, over = {"queries": 0, "reconnected": 0}, asyncio.Semaphore(0), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    tasks = [asyncio.create_task(work(uri, rest, counts, ready)) for _ in range(sessions)]
    for _ in tasks:
        await ready.acquire()
    print("up", flush=True)
    await over.wait()
    print(json.dumps(counts), flush=True)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
