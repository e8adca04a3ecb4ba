"""What the MongoDB store's calls cost: `python -m benchmarks.store_mongo [--million] [--tmpfs]`.

Rows: how many jobs wait, in how many lanes, and what floods the queue before them: 100,000 jobs of a higher priority
that may not run, for their task is not named (`unnamed`) or they are due later (`later`). Of each call: ms that it
takes, ms of the server's CPU, and index keys that the server looks at, which no other work on the machine disturbs.
An idle claim finds nothing due; a save settles what a claim took, all of it at once.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.mongo.server import DISK, MEMORY, BenchServer, started
from mainspring.core.ids import new_id, new_token
from mainspring.core.job import Job, State
from mainspring.stores import open_store
from mainspring.stores.base import BATCH_ROWS, Store

LATER = 3_600_000
FLOOD = 100_000
TASKS = [f"task-{n:03}" for n in range(300)]
STRANGER = "unknown-task"
INPUT = '{"to":"a@example.org"}'
TIMES = {10: 40, 100: 10}
"""Calls of a claim by its limit."""
IDLE_TIMES = 40


class Scene(NamedTuple):
    """What lies in the queue."""

    waiting: int
    lanes: int = 1
    flood: str = ""

    def jobs(self, now: int) -> Iterator[Job]:
        """The flood first, as if it had come before."""
        if self.flood == "unnamed":
            yield from (job(STRANGER, now - LATER, 90) for _ in range(FLOOD))
        if self.flood == "later":
            yield from (job(TASKS[n % self.lanes], now + LATER, 90) for n in range(FLOOD))
        yield from self.due(now, self.waiting)

    def due(self, now: int, count: int) -> Iterator[Job]:
        return (job(TASKS[n % self.lanes], now - 1_000 + n % 1_000) for n in range(count))


SCENES = (
    Scene(1_000),
    Scene(10_000),
    Scene(100_000),
    Scene(10_000, 20),
    Scene(10_000, 100),
    Scene(10_000, 300),
    Scene(10_000, 1, "unnamed"),
    Scene(10_000, 1, "later"),
    Scene(10_000, 20, "later"),
)
MILLION = (Scene(1_000_000), Scene(1_000_000, 100))


class Cost(NamedTuple):
    """Of one call on average."""

    taken: float
    """ms by the wall clock."""
    server: float
    """ms of the server's CPU."""
    keys: float
    requests: float

    def __str__(self) -> str:
        return f"{self.taken:7.2f} {self.server:7.2f} {self.keys:7.0f} {self.requests:4.1f}"


class Meter:
    """Reads what the server counts."""

    def __init__(self, server: BenchServer) -> None:
        self._server = server

    async def cost(self, calls: Callable[[], Awaitable[int]]) -> Cost:
        """What one of the calls costs that `calls` makes and counts."""
        keys, requests, cpu, begun = *self._counted(), self._cpu(), time.perf_counter()
        made = await calls()
        taken, used = time.perf_counter() - begun, self._cpu() - cpu
        after_keys, after_requests = self._counted()
        return Cost(
            taken / made * 1e3, used / made * 1e3, (after_keys - keys) / made, (after_requests - requests - 1) / made
        )

    def _counted(self) -> tuple[int, int]:
        status = self._server.command("serverStatus")
        return int(status["metrics"]["queryExecutor"]["scanned"]), int(status["network"]["numRequests"])

    def _cpu(self) -> float:
        """Seconds, to the nanosecond, of the threads that live now; `stat` of a process counts in hundredths."""
        lines = (path.read_text() for path in Path(f"/proc/{self._server.pid}/task").glob("*/schedstat"))
        return sum(int(line.split()[0]) for line in lines) / 1e9


def job(task: str, due: int, priority: int = 50) -> Job:
    now = time.time_ns() // 1_000_000
    return Job(
        id=new_id(),
        task=task,
        due_at=due,
        created_at=now,
        scheduled_at=due,
        priority=priority,
        ask=new_id(),
        input=INPUT,
    )


async def add(store: Store, jobs: Iterator[Job]) -> int:
    added, batch = 0, list[Job]()
    for each in jobs:
        batch.append(each)
        if len(batch) == BATCH_ROWS:
            added += len(await store.add(batch))
            batch = []
    return added + (len(await store.add(batch)) if batch else 0)


def settled(taken: Job, now: int) -> Job:
    """As the worker saves a success."""
    return taken.evolve(
        state=State.COMPLETED,
        settled=taken.claims,
        attempts=1,
        finished_at=now,
        expires_at=now + 24 * LATER,
        result="1",
        has_result=True,
    )


async def claim_and_save(store: Store, scene: Scene, limit: int, meter: Meter) -> tuple[Cost, Cost]:
    """Costs of a claim of `limit`, and of the save of what it took. Afterwards as many jobs wait as before."""
    tasks: dict[str, int | None] = dict.fromkeys(TASKS[: scene.lanes])
    now = await store.time()
    held: list[list[Job]] = []
    times = min(TIMES[limit], scene.waiting // limit)

    async def claims() -> int:
        for _ in range(times):
            held.append((await store.claim("default", tasks, "bench:1", new_token(), now, now + LATER, limit)).jobs)
        return times

    async def saves() -> int:
        for jobs in held:
            await store.save([settled(each, now) for each in jobs])
        return len(held)

    claimed = await meter.cost(claims)
    if short := [len(jobs) for jobs in held if len(jobs) < limit]:
        print(f"   {len(short)} of {times} claims took less than {limit}: {short[:5]}")
    saved = await meter.cost(saves)
    await add(store, scene.due(now, sum(map(len, held))))
    return claimed, saved


async def measure(server: BenchServer, number: int, scene: Scene) -> list[Cost]:
    """Add per 500, idle claim, claim and save of 10, claim and save of 100."""
    store = open_store(server.url_of(f"scene{number}"))
    await store.open()
    meter = Meter(server)
    try:
        now = await store.time()
        await add(store, scene.jobs(now))
        tasks: dict[str, int | None] = dict.fromkeys(TASKS[: scene.lanes])

        async def adds() -> int:
            return await add(store, scene.due(now, 10 * BATCH_ROWS)) // BATCH_ROWS

        async def idles() -> int:
            for _ in range(IDLE_TIMES):
                await store.claim("default", tasks, "bench:1", new_token(), now - LATER, now, 100)
            return IDLE_TIMES

        added = await meter.cost(adds) if scene.waiting >= 10_000 else Cost(0, 0, 0, 0)
        idle = await meter.cost(idles)
        return [
            added,
            idle,
            *await claim_and_save(store, scene, 10, meter),
            *await claim_and_save(store, scene, 100, meter),
        ]
    finally:
        await store.close()
        server.client.drop_database(f"scene{number}")


async def main(server: BenchServer, scenes: tuple[Scene, ...]) -> None:
    print("each: ms, ms of server CPU, index keys, requests")
    names = ("add 500", "idle claim", "claim 10", "save 10", "claim 100", "save 100")
    print(f"{'waiting':>9} {'lanes':>5} {'flood':>8} | " + " | ".join(f"{name:^28}" for name in names))
    for number, scene in enumerate(scenes):
        costs = await measure(server, number, scene)
        print(f"{scene.waiting:9,} {scene.lanes:5} {scene.flood:>8} | " + " | ".join(map(str, costs)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--million", action="store_true", help="also with 1,000,000 waiting jobs")
    parser.add_argument("--tmpfs", action="store_true", help="the server's files in memory, not on disk")
    given = parser.parse_args()
    with started(MEMORY if given.tmpfs else DISK) as place:
        asyncio.run(main(place, SCENES + (MILLION if given.million else ())))
