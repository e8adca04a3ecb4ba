"""A program with a worker whose cpu handlers misbehave: it runs so many jobs and says what became of them and of its
memory. `python -m tests.chaos.cpu_storm URL JOBS` prints one line of JSON."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import resource
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from mainspring import Mainspring, Retry, Task
from mainspring.stores.base import Query

app = Mainspring(sys.argv[1] if len(sys.argv) > 1 else "sqlite://:memory:")
ONCE: dict[str, Any] = {"cpu": True, "retry": Retry(1), "max_interruptions": 0}
kept: list[bytes] = []


@app.task(**ONCE)
def good(number: int) -> int:
    return number * 2


@app.task(**ONCE)
def leaks(number: int) -> int:
    kept.append(os.urandom(1_000_000))
    return number


@app.task(**ONCE)
def segfaults(number: int) -> None:
    ctypes.string_at(0)


@app.task(**ONCE)
def exits(number: int) -> None:
    os._exit(number % 7)


@app.task(**ONCE)
def raises(number: int) -> None:
    raise ValueError(f"number {number}")


@app.task(**ONCE, timeout=0.05)
def loops(number: int) -> None:
    while True:
        pass


@app.task
async def beside(number: int) -> int:
    return number


MIX: list[Task[[int], Any]] = [good, leaks, segfaults, exits, raises, good, beside, good, leaks, good]
"""And each hundredth one loops."""


def memory() -> int:
    """Bytes that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def main(jobs: int) -> None:
    after: list[tuple[int, int]] = []
    async with app.worker(concurrency=20, cpu_processes=4, cpu_max_jobs=50, cpu_max_memory="150MB") as worker:
        for first in range(0, jobs, 500):
            batch = [loops if n % 100 == 0 else MIX[n % len(MIX)] for n in range(first, min(first + 500, jobs))]
            await app.enqueue_many([task.job(first + n) for n, task in enumerate(batch)])
            while worker.processed < 0 or await app.jobs.count(status=["pending", "running", "retrying"]):
                with contextlib.suppress(TimeoutError):  # the last change may have come while they were counted
                    await asyncio.wait_for(worker.desk.changed(), 0.5)
            after.append((memory(), open_files()))
    counts = Counter((row.task, row.state.value) for row in await rows())
    print(json.dumps({"after": after, "states": {f"{task} {state}": n for (task, state), n in counts.items()}}))
    await app.close()


async def rows() -> list[Any]:
    found, query = [], Query(limit=500)
    store = (await app.connect()).store
    while True:
        page = await store.find(query)
        found += page.jobs
        if page.cursor is None:
            return found
        query = query.evolve(after=page.cursor)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[2])))
