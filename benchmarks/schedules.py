"""What a tick costs by schedules stored and due: `python -m benchmarks.schedules [--stores sqlite,redis7,mongo6]`.

A tick is what a worker's clock does: ask the store for what is due and who is on duty, look up runs that go on, add the
jobs, write the schedules, forget the runs that the history drops. Rows: how many schedules are stored, and how many of
them are due in each tick; the jobs are ended between two ticks, unmeasured, and histories are full. Round trips are
calls of the store. Medians of 15 ticks.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from rich.console import Console
from rich.table import Table
from tests.servers.mongo import MongoServer
from tests.servers.redis import RedisServer

from benchmarks.bench_app import app
from mainspring.client import Client
from mainspring.core.clock import Clock
from mainspring.core.ids import new_token
from mainspring.core.job import Job, State
from mainspring.core.records import SCHEDULE, Record
from mainspring.core.schedule import encode_schedule
from mainspring.core.schedule_acts import new_schedule
from mainspring.core.ticks import due_at
from mainspring.stores import open_store
from mainspring.stores.base import BATCH_ROWS, Store
from mainspring.triggers.clock import Firing
from mainspring.triggers.duty import Duty
from mainspring.worker.ticker import AT_ONCE

STORED = (100, 1_000, 10_000)
DUE = (0, 1, 10, 100)
ALL_AT_ONCE = 1_000
WARM_UP, ROUNDS = 3, 15
POLL = 5_000
SECOND, DAY = 1_000, 86_400_000


class Cost(NamedTuple):
    """Of one tick."""

    ms: float
    trips: float


class Counting:
    """Hands every call through, and counts it."""

    def __init__(self, inside: Store) -> None:
        self.inside = inside
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inside, name)
        if name not in ("add", "get", "save", "read", "write", "scan", "find"):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            return await method(*args, **kwargs)

        return call


class Bench:
    """Schedules in a store, and a time that is moved."""

    def __init__(self, url: str) -> None:
        self.time = time.time_ns() // 1_000_000
        self.counting = Counting(open_store(url, lambda: self.time))
        self.store = cast(Store, self.counting)
        self.client = Client(self.store, Clock(lambda: self.time, lambda: self.time), app.tasks)
        self.duty = Duty(self.store, self.client.clock, "b:1")
        self.firing = Firing(self.client)

    async def fill(self, stored: int, due: int) -> None:
        """`due` schedules of every second, and others that are due in a day or later."""
        every = [{"every": "1s"} if n < due else {"every": "30d"} for n in range(stored)]
        records = [self._record(f"s{n:05}", options) for n, options in enumerate(every)]
        for first in range(0, stored, BATCH_ROWS):
            await self.store.write(records[first : first + BATCH_ROWS])
        await self.duty.take(None)

    def _record(self, name: str, options: dict[str, Any]) -> Record:
        made = new_schedule(name, "noop", '{"n":1}', {"history": 2, **options}, self.time)
        value = encode_schedule(made, {})
        return Record(kind=SCHEDULE, name=name, written_at=self.time, due_at=due_at(made, self.time), value=value)

    async def tick(self) -> int:
        """As `worker.ticker` does it; answers how many were due."""
        records = await self.store.scan(SCHEDULE, due=self.time + POLL, limit=AT_ONCE)
        now_due = [record for record in records if record.due_at is not None and record.due_at <= self.time]
        if now_due and await self.duty.take(now_due[0]):
            await self.firing.fire(now_due)
        return len(now_due)

    async def cost(self, due: int) -> Cost:
        """The median of a tick with so many due."""
        spent: list[Cost] = []
        for number in range(WARM_UP + ROUNDS):
            self.time += SECOND
            self.counting.calls.clear()
            begun = time.perf_counter()
            fired = await self.tick()
            taken = (time.perf_counter() - begun) * 1_000
            while fired < due and (more := await self.tick()):
                fired += more
                taken = (time.perf_counter() - begun) * 1_000
            assert fired == due, (fired, due)
            if number >= WARM_UP:
                spent.append(Cost(taken, self.counting.calls.total()))
            await self._end_jobs()
        return Cost(statistics.median(one.ms for one in spent), statistics.median(one.trips for one in spent))

    async def _end_jobs(self) -> None:
        while True:
            until = self.time + DAY
            claim = await self.store.claim("default", {"noop": None}, "b:1", new_token(), self.time, until, 200)
            if not claim.jobs:
                return
            await self.store.save([self._ended(job) for job in claim.jobs])

    def _ended(self, job: Job) -> Job:
        kept = {"finished_at": self.time, "expires_at": self.time + 90 * DAY}
        return job.evolve(state=State.COMPLETED, due_at=self.time, settled=job.claims, input=None, **kept)


async def measure(url: str, stored: int, due: int) -> Cost:
    bench = Bench(url)
    await bench.client.open()
    try:
        await bench.fill(stored, due)
        return await bench.cost(due)
    finally:
        await bench.client.close()


@contextmanager
def urls(kind: str) -> Iterator[Iterator[str]]:
    """URLs of empty stores, one after another."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield (f"sqlite:///{folder}/{n}.db" for n in range(100))
    elif kind.startswith("mongo"):
        with MongoServer.started() as mongo:
            yield (mongo.url_of(f"bench{n}") for n in range(100))
    else:
        with RedisServer.started(kind) as server:
            yield (f"{server.url}?namespace=bench{n}" for n in range(100))


def show(console: Console, kind: str) -> None:
    table = Table("stored", "due", "ms per tick", "us per schedule fired", "round trips", title=kind)
    with urls(kind) as fresh:
        scenes = [(stored, due) for due in DUE for stored in STORED] + [(10_000, ALL_AT_ONCE)]
        for stored, due in scenes:
            cost = asyncio.run(measure(next(fresh), stored, due))
            per_schedule = f"{cost.ms * 1_000 / due:,.0f}" if due else ""
            table.add_row(f"{stored:,}", f"{due:,}", f"{cost.ms:.2f}", per_schedule, f"{cost.trips:g}")
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", default="sqlite,redis7,mongo6", help="of sqlite, redis7, redis62, valkey8, mongo6")
    console = Console()
    for kind in parser.parse_args().stores.split(","):
        show(console, kind)
    return 0


if __name__ == "__main__":
    sys.exit(main())
