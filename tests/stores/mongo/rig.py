"""Stores and apps over a MongoDB that is spoiled from outside, and what is counted meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from mainspring import Context, Mainspring
from mainspring.core import states
from mainspring.core.ids import new_token
from mainspring.core.job import Job, State
from mainspring.core.outcome import Success
from mainspring.core.policy import Policy
from mainspring.errors import StoreError
from mainspring.stores.base import BATCH_ROWS, Query, Store
from mainspring.stores.mongo import MongoStore
from tests.factory import LEASE, NOW, FakeClock
from tests.servers.mongo import Client, MongoServer, client
from tests.servers.proxy import Proxy
from tests.servers.waiting import PATIENCE
from tests.stores.redis.rig import turn, until

__all__ = ["CALL", "Rig", "behind_proxy", "claim", "settled", "store_at", "turn", "until", "with_options"]

CALL = 2
"""Seconds that a call may take here."""


def with_options(url: str, **options: object) -> str:
    mark = "&" if "?" in url else "?"
    return url + mark + "&".join(f"{name}={value}" for name, value in options.items())


@asynccontextmanager
async def store_at(url: str, clock: FakeClock | None = None, **options: object) -> AsyncIterator[MongoStore]:
    """A store with short deadlines, on a clock that stands still."""
    store = MongoStore(with_options(url, **{"timeout": CALL} | options), clock or FakeClock())
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def claim(
    store: Store,
    tasks: Mapping[str, int | None] | Sequence[str] = ("t",),
    *,
    queue: str = "default",
    limit: int = 100,
    now: int = NOW,
    token: str | None = None,
    lease: int = LEASE,
) -> list[Job]:
    named = tasks if isinstance(tasks, Mapping) else dict.fromkeys(tasks)
    return (await store.claim(queue, named, "w:1", token or new_token(), now, now + lease, limit)).jobs


def settled(job: Job, now: int = NOW) -> Job:
    """What a worker saves at the end of a run."""
    return states.settle(job.evolve(input=None), Success(result='"done"'), now, Policy())


async def all_jobs(store: Store) -> list[Job]:
    """All that are stored, without payload."""
    page = await store.find(Query(limit=BATCH_ROWS))
    jobs = page.jobs
    while page.cursor is not None:
        page = await store.find(Query(limit=BATCH_ROWS, after=page.cursor))
        jobs += page.jobs
    return jobs


@contextmanager
def behind_proxy(**parameters: Any) -> Iterator[tuple[MongoServer, Proxy, str]]:
    """A server of one's own behind a proxy, and the URL of a store that goes through it."""
    with MongoServer.started(**parameters) as server, Proxy(server.port) as proxy:
        yield server, proxy, proxy.mongo_url("test")


def lose_answers(proxy: Proxy) -> None:
    """What is connected now still reaches the server, and hears nothing of what it does."""

    async def lose() -> None:
        for link in proxy.links:
            link.upstream.lost = True

    proxy._do(lose())


@contextmanager
def their_client(url: str) -> Iterator[Client]:
    """A client of the caller's own, of the synchronous kind."""
    with client(url, retryWrites=True) as found:
        yield found


class Rig:
    """An app whose one task notes each run in memory, and waits where it is told to."""

    def __init__(self, url: str, **options: object) -> None:
        self.app = Mainspring(with_options(url, **{"timeout": CALL} | options))
        self.begun, self.ran = Counter[int](), Counter[int]()
        self.go_on = asyncio.Event()
        self.go_on.set()

        @self.app.task(max_interruptions=20)
        async def job(ctx: Context, n: int) -> int:
            self.begun[n] += 1
            await self.go_on.wait()
            self.ran[n] += 1
            return n

        self.job = job
        self._next = 0

    async def ask(self, many: int = 1, within: float = 10) -> list[int]:
        """Enqueue jobs, again and again until it succeeds; each has a key, so that it is there once."""
        self._next += many
        numbers = list(range(self._next - many, self._next))
        requests = [self.job.options(idempotency_key=str(n)).job(n) for n in numbers]

        async def put() -> bool:
            try:
                await self.app.enqueue_many(requests)
            except StoreError:
                return False
            return True

        await until(put, "an enqueue to succeed", within)
        return numbers

    async def done(self, numbers: list[int], within: float = PATIENCE) -> None:
        """Wait until these have run, and all are stored as completed."""
        await until(lambda: all(self.ran[n] for n in numbers), f"{len(numbers)} jobs to run", within)

        async def stored() -> bool:
            try:
                counts = await (await self.app.connect()).store.count(Query())
            except StoreError:
                return False
            return all(row.state is State.COMPLETED for row in counts)

        await until(stored, "all jobs to be stored as completed", within)

    async def jobs(self) -> list[Job]:
        return await all_jobs((await self.app.connect()).store)

    async def runs_add_up(self) -> None:
        """No run that the store does not know of, and none of a job that had ended."""
        for job in await self.jobs():
            n = int(job.key or "")
            outcomes = Counter(run.outcome for run in job.runs)
            assert outcomes["succeeded"] == 1, job.runs
            assert job.settled == job.claims, job
            assert 1 <= self.ran[n] <= outcomes["succeeded"] + outcomes["interrupted"], (self.ran[n], job.runs)

    async def close(self) -> None:
        self.go_on.set()
        await self.app.close()


@asynccontextmanager
async def rig_to(url: str, **options: object) -> AsyncIterator[Rig]:
    rig = Rig(url, **options)
    try:
        yield rig
    finally:
        await rig.close()
