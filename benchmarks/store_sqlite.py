"""The bare SQLite store: what adds, claims and saves cost, from 1,000 to 1,000,000 rows. Prints a table.

    python benchmarks/store_sqlite.py [--rows 1000 100000 1000000] [--folder DIR]

Run it on an idle machine; each number is one run on a fresh file.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from mainspring.core.ids import new_id, new_token
from mainspring.core.job import Job, State
from mainspring.stores.base import Query
from mainspring.stores.sqlite import SQLiteStore

NOW = 1_700_000_000_000
ADD, CLAIM = 500, 100


def jobs(count: int, due_at: int = NOW) -> list[Job]:
    return [
        Job(id=new_id(), task="send-email", due_at=due_at, created_at=NOW, scheduled_at=NOW, input='{"to":"a@b.c"}')
        for _ in range(count)
    ]


async def fill(store: SQLiteStore, rows: int) -> float:
    """Adds per second."""
    batches = [jobs(ADD, NOW + at) for at in range(rows // ADD)]
    started = time.perf_counter()
    for batch in batches:
        await store.add(batch)
    return rows / (time.perf_counter() - started)


async def cycle(store: SQLiteStore, rounds: int) -> float:
    """Jobs per second through claim and save."""
    done = 0
    started = time.perf_counter()
    for _ in range(rounds):
        now = NOW + 10_000_000
        taken, _ = await store.claim("default", {"send-email": None}, "w:1", new_token(), now, now + 15_000, CLAIM)
        await store.save(
            [job.evolve(state=State.COMPLETED, settled=job.claims, finished_at=now, expires_at=now) for job in taken]
        )
        done += len(taken)
    return done / (time.perf_counter() - started)


async def latency(call: Callable[[], Awaitable[object]], rounds: int = 200) -> float:
    """Median microseconds of one call."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        await call()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e6


async def measure(folder: Path, rows: int) -> list[float]:
    store = SQLiteStore(f"sqlite:///{folder}/{rows}.db")
    await store.open()
    try:
        added = await fill(store, rows)
        cycled = await cycle(store, min(100, rows // CLAIM // 2))
        single = iter(jobs(10_000, NOW + 20_000_000))
        known = (await store.find(Query(limit=1))).jobs[0].id

        async def claim_one() -> None:
            now = NOW + 10_000_000
            await store.claim("default", {"send-email": None}, "w:1", new_token(), now, now + 15_000, 1)

        async def claim_none() -> None:
            await store.claim("default", {"other": None}, "w:1", new_token(), NOW, NOW + 15_000, 1)

        return [
            added,
            cycled,
            await latency(lambda: store.add([next(single)])),
            await latency(claim_one),
            await latency(claim_none),
            await latency(lambda: store.get([known])),
            await latency(lambda: store.find(Query(limit=50))),
        ]
    finally:
        await store.close()


async def main(rows: list[int], folder: str | None) -> None:
    print(
        f"{'rows':>10} {'add/s':>9} {'cycle/s':>9}   {'add':>6} {'claim':>6} {'empty':>6} {'get':>6} {'find 50':>8} us"
    )
    with tempfile.TemporaryDirectory(dir=folder) as place:
        for count in rows:
            added, cycled, *calls = await measure(Path(place), count)
            add, claim, empty, get, find = calls
            print(
                f"{count:>10,} {added:>9,.0f} {cycled:>9,.0f}   "
                f"{add:>6.0f} {claim:>6.0f} {empty:>6.0f} {get:>6.0f} {find:>8.0f}"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", help="where to put the files (default: the system's temporary folder)")
    options = parser.parse_args()
    asyncio.run(main(options.rows, options.folder))
