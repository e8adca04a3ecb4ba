"""The engine on SQLite beside Huey on SQLite: same machine, same run, defaults on. `make bench`.

Prints one row per workload: ours, Huey's, the ratio. Nothing here is a test, and no test depends on a time. What each
row measures stands beside it; rows that we lose are printed like the others.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.bench_app import app as our_app
from benchmarks.processes import ROOT, cpu_seconds, environment, family, huey_worker, mainspring_worker, rss_mb, running
from mainspring import Mainspring
from mainspring.core.job import State
from mainspring.stores.base import Query

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
PATIENCE = 60.0
LOOK = 0.02
"""Seconds between two looks at what is left: looking costs the two cores too."""
JOBS = int(os.environ.get("BENCH_JOBS", "20000"))


def median(measure: Callable[[Path], float]) -> float:
    """The median over fresh folders."""
    values = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            values.append(measure(Path(folder)))
    return statistics.median(values)


# -- enqueueing ----------------------------------------------------------------------------------------------------


def _timed_enqueue(folder: Path, how: Callable[[Mainspring], Any], jobs: int) -> float:
    async def main() -> float:
        app = Mainspring(f"sqlite:///{folder}/jobs.db")
        app.task(our_app.tasks["noop"].function)
        await app.open()
        begun = time.perf_counter()
        await how(app)
        taken = time.perf_counter() - begun
        await app.close()
        return jobs / taken

    return asyncio.run(main())


def our_bulk(folder: Path) -> float:
    async def how(app: Mainspring) -> None:
        noop = app.tasks["noop"]
        for first in range(0, JOBS, 1_000):
            await app.enqueue_many([noop.job(n) for n in range(first, first + 1_000)])

    return _timed_enqueue(folder, how, JOBS)


def our_single(folder: Path) -> float:
    async def how(app: Mainspring) -> None:
        noop = app.tasks["noop"]
        for n in range(JOBS // 4):
            await noop.enqueue(n)

    return _timed_enqueue(folder, how, JOBS // 4)


def our_concurrent(folder: Path) -> float:
    async def how(app: Mainspring) -> None:
        noop = app.tasks["noop"]
        for first in range(0, JOBS // 2, 100):
            await asyncio.gather(*(noop.enqueue(n) for n in range(first, first + 100)))

    return _timed_enqueue(folder, how, JOBS // 2)


def huey_single(folder: Path, jobs: int = JOBS // 4) -> float:
    filled = subprocess.run(
        [sys.executable, "-c", "from benchmarks.huey_app import main; main()", str(jobs)],
        env=environment(HUEY_BENCH_FILE=f"{folder}/huey.db"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(filled.stdout)


# -- draining ------------------------------------------------------------------------------------------------------


def our_drain(processes: int, concurrency: int, task: str = "noop") -> Callable[[Path], float]:
    def measure(folder: Path) -> float:
        url = f"sqlite:///{folder}/jobs.db"
        return asyncio.run(_our_drain(url, processes, concurrency, task))

    return measure


async def _our_drain(url: str, processes: int, concurrency: int, task: str) -> float:
    app = Mainspring(url)
    app.task(name=task)(our_app.tasks[task].function)
    client = await app.connect()
    noop = app.tasks[task]
    for first in range(0, JOBS, 1_000):
        await app.enqueue_many([noop.job(n) for n in range(first, first + 1_000)])
    # Completed rows are trimmed to 10,000 by the janitor, so what is left to do is what counts.
    query = Query(states=(State.WAITING, State.RUNNING))
    with running(mainspring_worker(processes, concurrency), MAINSPRING_BENCH_URL=url):

        async def left() -> int:
            return sum(row.jobs for row in await client.store.count(query))

        rate = await _rate(left)
    await app.close()
    return rate


async def _rate(left: Callable[[], Awaitable[int]]) -> float:
    """Jobs per second from the first look at which some are done to the last."""
    while (first := await left()) >= JOBS:
        await asyncio.sleep(LOOK)
    begun = time.perf_counter()
    while await left() > 0:
        await asyncio.sleep(LOOK)
    return first / (time.perf_counter() - begun)


def huey_drain(workers: int) -> Callable[[Path], float]:
    def measure(folder: Path) -> float:
        huey_single(folder)
        file = f"{folder}/huey.db"
        return _huey_rate(file, sqlite3.connect(file, timeout=30), workers)

    return measure


def _huey_rate(file: str, connection: sqlite3.Connection, workers: int) -> float:
    def left() -> int:
        return int(connection.execute("SELECT count(*) FROM task").fetchone()[0])

    with running(huey_worker(workers), HUEY_BENCH_FILE=file):
        give_up = time.perf_counter() + PATIENCE
        while (first := left()) >= JOBS // 4 and time.perf_counter() < give_up:
            time.sleep(LOOK)
        begun = time.perf_counter()
        while left() > 0:
            if time.perf_counter() > give_up:
                raise TimeoutError(f"Huey drained nothing within {PATIENCE:.0f} s")
            time.sleep(LOOK)
        return first / (time.perf_counter() - begun)


# -- latency and idling --------------------------------------------------------------------------------------------


def our_pick_up(folder: Path) -> list[float]:
    """ms from just before the enqueue to the first line of the handler, in another, idle process."""
    url = f"sqlite:///{folder}/jobs.db"

    async def main() -> list[float]:
        app = Mainspring(url)
        when = app.task(our_app.tasks["when"].function)
        await app.open()
        delays = []
        with running(mainspring_worker(1, 20), MAINSPRING_BENCH_URL=url):
            await (await when.enqueue()).result(timeout=30)
            for _ in range(200):
                await asyncio.sleep(random.uniform(0.03, 0.06))
                begun = time.time()
                handle = await when.enqueue()
                delays.append((await handle.result(timeout=30) - begun) * 1000)
        await app.close()
        return delays

    return asyncio.run(main())


def our_idle(folder: Path, seconds: float = 10) -> tuple[float, float, float]:
    """CPU in percent of one core and RSS in MB of an idle worker process, and RSS of its parent."""
    url = f"sqlite:///{folder}/jobs.db"
    with running(mainspring_worker(1, 20), MAINSPRING_BENCH_URL=url) as parent:
        time.sleep(4)
        pids = family(parent.pid)
        before = cpu_seconds(pids)
        time.sleep(seconds)
        cpu = (cpu_seconds(pids) - before) / seconds * 100
        return cpu, rss_mb(pids[-1]), rss_mb(parent.pid)


# -- the table -----------------------------------------------------------------------------------------------------


def main() -> int:
    console = Console()
    table = Table("workload", "Mainspring", "Huey", "ratio", title=f"{JOBS:,} jobs, median of {ROUNDS}, jobs/s")

    def row(name: str, ours: float, huey: float | None) -> None:
        ratio = "" if huey is None else f"{ours / huey:.1f}x"
        table.add_row(name, f"{ours:,.0f}", "" if huey is None else f"{huey:,.0f}", ratio)
        console.print(f"{name}: {ours:,.0f}" + ("" if huey is None else f" (Huey {huey:,.0f}, {ratio})"))

    single = median(huey_single)
    row("bulk enqueue", median(our_bulk), single)
    row("enqueue one by one, awaited", median(our_single), single)
    row("enqueue, 100 at once", median(our_concurrent), single)
    one, two = median(huey_drain(1)), median(huey_drain(2))
    row("drain no-op coroutines, 1 process, concurrency 100", median(our_drain(1, 100)), one)
    row("drain no-op coroutines, 1 process, concurrency 10", median(our_drain(1, 10)), one)
    row("drain no-op functions in threads, 1 process", median(our_drain(1, 20, "noop-in-thread")), one)
    row("drain no-op coroutines, 2 processes", median(our_drain(2, 100)), two)
    console.print(table)
    with tempfile.TemporaryDirectory() as folder:
        delays = sorted(our_pick_up(Path(folder)))
    console.print(f"pick-up from another process: p50 {delays[100]:.1f} ms, p99 {delays[197]:.1f} ms")
    with tempfile.TemporaryDirectory() as folder:
        cpu, child, parent = our_idle(Path(folder))
    console.print(f"idle: {cpu:.1f} % of one core, worker {child:.0f} MB, its parent {parent:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
