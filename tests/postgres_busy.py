"""An application with many sessions that rest for a moment and then query, on and on; a program of its own.

    python postgres_busy.py URI SESSIONS REST_SECONDS QUERY_SECONDS

A rest and a query last for any time between two: ``4.5-5.5``.

Says "up" when every session has queried. One that is ended comes back; all go on until the program is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys

import psycopg

Between = tuple[float, float]


async def work(uri: str, rest: Between, query: Between, ready: asyncio.Semaphore) -> None:
    first = True
    while True:
        with contextlib.suppress(psycopg.Error):
            async with await psycopg.AsyncConnection.connect(uri, autocommit=True, application_name="busy") as client:
                while True:
                    await client.execute(f"select pg_sleep({random.uniform(*query):.3f})")
                    if first:
                        first = False
                        ready.release()
                    await asyncio.sleep(random.uniform(*rest))


async def main(uri: str, sessions: int, rest: Between, query: Between) -> None:
    ready = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(work(uri, rest, query, ready)) for _ in range(sessions)]
    for _ in tasks:
        await ready.acquire()
    print("up", flush=True)
    await asyncio.gather(*tasks)


def between(text: str) -> Between:
    least, most = map(float, text.split("-"))
    return least, most


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), *map(between, sys.argv[3:])))
