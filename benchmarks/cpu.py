"""What a process of its own costs a handler: `python -m benchmarks.cpu [JOBS]`.

The same jobs with a handler in a thread, with `cpu=True`, and, without any queue, by the standard library's pool of
processes, which is the floor; then handlers that compute for 5 ms, and ones that end their process each time. SQLite,
one worker, as many processes as processors.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from rich.console import Console
from rich.table import Table

from mainspring import Mainspring, Retry, Task

app = Mainspring(os.environ.setdefault("MAINSPRING_BENCH_CPU", f"sqlite:///{tempfile.mkdtemp()}/cpu.db"))
ROUNDS = 3
WORK = 60_000
"""Steps of a loop: about 5 ms."""


def compute(steps: int) -> int:
    total = 0
    for n in range(steps):
        total += n
    return total


@app.task
def in_thread(steps: int) -> int:
    return compute(steps)


@app.task(cpu=True)
def in_process(steps: int) -> int:
    return compute(steps)


@app.task(cpu=True, max_interruptions=0, retry=Retry(1))
def ends(steps: int) -> None:
    os._exit(1)


async def drain(task: Task[[int], Any], jobs: int, steps: int) -> float:
    """Jobs per second from the first claim to the last settle."""
    await app.enqueue_many([task.job(steps) for _ in range(jobs)])
    async with app.worker(concurrency=20, poll=60) as worker:
        begun = time.perf_counter()
        while worker.processed < jobs:
            await worker.desk.changed()
            if not worker.desk.holds and not await app.jobs.count(status=["pending", "running"]):
                break
        return jobs / (time.perf_counter() - begun)


def pool(jobs: int, steps: int) -> float:
    with ProcessPoolExecutor(os.cpu_count()) as executor:
        executor.submit(compute, 1).result()
        begun = time.perf_counter()
        for future in [executor.submit(compute, steps) for _ in range(jobs)]:
            future.result()
        return jobs / (time.perf_counter() - begun)


async def main(jobs: int) -> None:
    table = Table("handler", "in a thread", "cpu=True", "bare pool", "cpu=True / thread")
    for name, steps in (("no-op", 1), ("5 ms", WORK)):
        rates: dict[str, list[float]] = {"thread": [], "process": [], "pool": []}
        for _ in range(ROUNDS):
            rates["thread"].append(await drain(in_thread, jobs, steps))
            rates["process"].append(await drain(in_process, jobs, steps))
            rates["pool"].append(await asyncio.to_thread(pool, jobs, steps))
        thread, process, bare = (statistics.median(found) for found in rates.values())
        table.add_row(name, f"{thread:,.0f}/s", f"{process:,.0f}/s", f"{bare:,.0f}/s", f"{process / thread:.2f}")
    deaths = statistics.median([await drain(ends, jobs // 10, 1) for _ in range(ROUNDS)])
    table.add_row("ends its process", "", f"{deaths:,.0f}/s", "", "")
    Console().print(table)
    await app.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
