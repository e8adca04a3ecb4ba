"""A fleet without a poll: no worker that has a free slot sleeps while there is a job that it could run, whatever is due
later, held back by caps and gates, or known only to somebody who has got busy.

Workers with different queues and tasks wait for a minute where they know of nothing to come. Some jobs keep their slots
until all others have begun.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from mainspring.core.ids import new_id, new_token
from mainspring.core.job import Job, State
from mainspring.core.records import GATE, Record, queue_gate, task_gate
from mainspring.stores.redis import RedisStore
from tests.factory import make_job
from tests.servers.redis import RedisServer
from tests.stores.redis.rig import ONE, server_of, turn

LONG = 200.0
PROMPT = 40_000
"""ms within which a job must have begun that somebody could run."""
CAPS: dict[str, int | None] = {"t": None, "u": None, "c": 1, "d": 2}
KINDS: list[tuple[Sequence[str], Sequence[str], int]] = [
    (["a"], ["t"], 1),
    (["a", "b"], ["t", "u", "c"], 1),
    (["b", "a"], ["u", "d", "c"], 2),
    (["a", "b"], ["t", "u", "c", "d"], 3),
    (["b"], ["t", "c", "d"], 1),
]
"""Queues, tasks and slots of a worker."""


def now() -> int:
    return time.time_ns() // 1_000_000


class Worker:
    def __init__(
        self, store: RedisStore, fleet: Fleet, queues: Sequence[str], tasks: Sequence[str], slots: int
    ) -> None:
        self.store, self.fleet, self.queues, self.slots = store, fleet, list(queues), slots
        self.tasks = {task: CAPS[task] for task in tasks}
        self.held: dict[str, Job] = {}
        self.asleep = False
        self._freed = asyncio.Event()
        self._runs: set[asyncio.Task[None]] = set()

    @property
    def free(self) -> int:
        return self.slots - len(self.held)

    @property
    def idle(self) -> bool:
        return self.asleep and not self.held

    def could_run(self, job: Job) -> bool:
        return self.free > 0 and job.queue in self.queues and job.task in self.tasks

    async def live(self) -> None:
        while True:
            self._freed.clear()
            if not self.free:
                await self._freed.wait()
                continue
            self.queues.append(self.queues.pop(0))
            dues = [await self._claim(queue) for queue in self.queues if self.free]
            due = min((due for due in dues if due is not None), default=None)
            if self.free and (due is None or due > now()):
                await self._sleep(LONG if due is None else (due - now()) / 1_000)

    async def _claim(self, queue: str) -> int | None:
        at = now()
        claim = await self.store.claim(queue, self.tasks, "w:1", new_token(), at, at + 600_000, self.free)
        for job in claim.jobs:
            self.held[job.id] = job
            run = asyncio.create_task(self._run(job))
            self._runs.add(run)
            run.add_done_callback(self._runs.discard)
        return claim.next_due

    async def _sleep(self, seconds: float) -> None:
        self.asleep = True
        ends = [asyncio.ensure_future(end) for end in (self.store.wait(self.queues, seconds), self._freed.wait())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            self.asleep = False

    async def _run(self, job: Job) -> None:
        self.fleet.begun.add(job.id)
        if job.id in self.fleet.sticky:
            await self.fleet.release.wait()
        await self.store.save([job.evolve(state=State.COMPLETED, expires_at=0)])
        del self.held[job.id]
        self._freed.set()


class Fleet:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.workers: list[Worker] = []
        self.begun: set[str] = set()
        self.sticky: set[str] = set()
        self.release = asyncio.Event()

    def jobs(self) -> list[Job]:
        """Some that the workers know, due now or soon."""
        able = sorted({(queue, task) for worker in self.workers for queue in worker.queues for task in worker.tasks})
        jobs = []
        for _ in range(self.chance.choice([1, 2, 3, 5, 12])):
            queue, task = self.chance.choice(able)
            due, priority = now() + self.chance.choice([0, 0, 0, 5, 20, 60]), self.chance.choice([10, 50, 50])
            jobs.append(make_job(new_id(), queue=queue, task=task, due=due, priority=priority))
        self.sticky = {job.id for job in jobs if self.chance.random() < 0.4}
        self.release.clear()
        return jobs

    def left(self, jobs: list[Job]) -> list[Job]:
        """Those that have not begun, and that somebody could run."""
        running = Counter(job.task for worker in self.workers for job in worker.held.values())
        return [
            job for job in jobs
            if job.id not in self.begun and running[job.task] < (CAPS[job.task] or len(jobs) + 1)
            and any(worker.could_run(job) for worker in self.workers)
        ]  # fmt: skip

    async def no_one_sleeps_on(self, jobs: list[Job]) -> None:
        """Wait until nobody could run any of these that are due."""
        ready = max(job.due_at for job in jobs)
        while (at := now()) <= ready or self.left(jobs):
            assert at < ready + PROMPT, f"nobody runs {self.left(jobs)}"
            await turn(0.003)

    async def finish(self, jobs: list[Job]) -> None:
        """Let all end. Now and then somebody must get on."""
        self.release.set()
        before, since = -1, now()
        while not all(job.id in self.begun for job in jobs) or not all(worker.idle for worker in self.workers):
            if len(self.begun) != before:
                before, since = len(self.begun), now()
            assert now() < since + PROMPT, f"nobody runs {[job for job in jobs if job.id not in self.begun]}"
            await turn(0.002)


@asynccontextmanager
async def fleet_on(server: RedisServer, chance: random.Random) -> AsyncIterator[Fleet]:
    fleet = Fleet(chance)
    async with AsyncExitStack() as stack:
        for kind in chance.sample(KINDS, chance.choice([3, 4, 5])):
            store = RedisStore(server.url)
            await store.open()
            stack.push_async_callback(store.close)
            fleet.workers.append(Worker(store, fleet, *kind))
        lives = [asyncio.create_task(worker.live()) for worker in fleet.workers]
        try:
            yield fleet
        finally:
            fleet.release.set()
            for life in lives:
                life.cancel()
            await asyncio.gather(*lives, return_exceptions=True)


async def play(server: RedisServer, seed: int, rounds: int) -> None:
    chance = random.Random(seed)
    client = RedisStore(server.url)
    await client.open()
    async with fleet_on(server, chance) as fleet:
        for _ in range(rounds):
            jobs, gates = fleet.jobs(), []
            if chance.random() < 0.3:
                name = chance.choice([queue_gate("a"), queue_gate("b"), task_gate("t"), task_gate("c")])
                gates += await client.write([Record(kind=GATE, name=name, written_at=now())])
            step = chance.choice([1, 2, len(jobs)])
            for first in range(0, len(jobs), step):
                await client.add(jobs[first : first + step])
            for gate in gates:
                assert gate is not None
                await client.erase(gate)
            await fleet.no_one_sleeps_on(jobs)
            await fleet.finish(jobs)
    await client.close()


@ONE
async def test_nobody_sleeps_on_what_he_could_run(kind: str) -> None:
    with server_of(kind) as server:
        await play(server, 118, 30)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [103, 105, 112, 120])
@ONE
async def test_nobody_sleeps_on_what_he_could_run_for_long(kind: str, seed: int) -> None:
    with server_of(kind) as server:
        await play(server, seed, 150)
