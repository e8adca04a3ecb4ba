"""A worker over a real server, with something that can be spoiled in between; and a count of what ran."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from mainspring import Context, Mainspring
from mainspring.core.job import Job, State
from mainspring.errors import StoreError
from mainspring.stores.base import Query
from mainspring.worker.worker import Worker
from tests.servers.binaries import needs
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer
from tests.stores.redis.audit import audit

CALL = 0.4
"""Seconds that a call may take here."""
QUICK: dict[str, Any] = {"lease": 2, "beat": 0.3, "poll": 0.6, "grace": 1, "concurrency": 20}
SOON = 30.0
"""Seconds within which all goes on again after a fault. The longest way: a wait that nobody answers (poll and the
time of a call), a claim that fails by its deadline, and the pause after it: 2 s, and more where the machine is busy."""


class Rig:
    """An app whose store is at `url`. Its one task notes each run, and waits where it is told to."""

    def __init__(self, url: str) -> None:
        mark = "&" if "?" in url else "?"
        self.app = Mainspring(f"{url}{mark}timeout={CALL}s")
        self.ran = Counter[int]()
        self.begun = Counter[int]()
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

    def numbers(self, many: int) -> list[int]:
        """Numbers that no job has had yet."""
        self._next += many
        return list(range(self._next - many, self._next))

    async def ask(self, many: int = 1, within: float = SOON) -> list[int]:
        """Enqueue jobs, again and again until it succeeds; each has a key, so that it is there once."""
        numbers = self.numbers(many)
        requests = [self.job.options(idempotency_key=str(n)).job(n) for n in numbers]

        async def put() -> bool:
            try:
                await self.app.enqueue_many(requests)
            except StoreError:
                return False
            return True

        await until(put, "an enqueue to succeed", within)
        return numbers

    async def done(self, numbers: list[int], within: float = SOON) -> None:
        """Wait until these have run, and are stored as completed."""
        await until(lambda: all(self.ran[n] for n in numbers), f"{len(numbers)} jobs to run", within)

        async def stored() -> bool:
            try:
                counts = await (await self.app.connect()).store.count(Query())
            except StoreError:
                return False
            return all(row.state is State.COMPLETED for row in counts)

        await until(stored, "all jobs to be stored as completed", within)

    async def goes_on(self, within: float = SOON) -> None:
        """A new job is picked up, whatever was before."""
        await self.done(await self.ask(within=within), within)

    async def jobs(self) -> list[Job]:
        """All that are stored, without payload."""
        store = (await self.app.connect()).store
        page = await store.find(Query(limit=500))
        jobs = page.jobs
        while page.cursor is not None:
            page = await store.find(Query(limit=500, after=page.cursor))
            jobs += page.jobs
        return jobs

    async def close(self) -> None:
        self.go_on.set()
        await self.app.close()


@asynccontextmanager
async def rig_to(url: str) -> AsyncIterator[Rig]:
    rig = Rig(url)
    try:
        yield rig
    finally:
        await rig.close()


@asynccontextmanager
async def working(rig: Rig, **settings: Any) -> AsyncIterator[Worker]:
    """A worker of the rig that has run a job already."""
    async with rig.app.worker(**QUICK | settings) as worker:
        await rig.goes_on()
        yield worker


async def runs_add_up(rig: Rig) -> None:
    """No run that the store does not know of, and none of a job that had ended."""
    for job in await rig.jobs():
        n = int(job.key or "")
        outcomes = Counter(run.outcome for run in job.runs)
        assert outcomes["succeeded"] == 1, job.runs
        assert job.settled == job.claims, job
        assert rig.ran[n] <= outcomes["succeeded"] + outcomes["interrupted"], (rig.ran[n], job.runs)


async def until(true: Callable[[], Any], what: str, within: float = SOON) -> None:
    """Wait until `true` (a function, or one that answers a coroutine) answers yes."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while True:
        answer = true()
        if await answer if asyncio.iscoroutine(answer) else answer:
            return
        if loop.time() > end:
            pytest.fail(f"waited {within} s in vain for: {what}")
        await turn(0.005)


async def turn(seconds: float) -> None:
    """Let time pass, for servers whose work nobody hears of."""
    never = asyncio.Event()
    try:
        async with asyncio.timeout(seconds):
            await never.wait()
    except TimeoutError:
        pass


@contextmanager
def server_of(kind: str = "valkey8", **options: Any) -> Iterator[RedisServer]:
    """A server of one's own; at the end all that is in it must fit together."""
    with RedisServer.started(kind, **options) as server:
        yield server
        audit(server.url)


@contextmanager
def behind_proxy(kind: str = "valkey8", **options: Any) -> Iterator[tuple[RedisServer, Proxy]]:
    with server_of(kind, **options) as server, Proxy(server.port) as proxy:
        yield server, proxy


def kinds(*names: str) -> list[Any]:
    """Parameters of tests that start a server of each kind. The first is for the quick tests, the others are slow."""
    quick, *others = names
    marks = {name: [*needs(name), pytest.mark.slow] for name in others} | {quick: needs(quick)}
    return [pytest.param(name, marks=marks[name]) for name in names]


EVERY = pytest.mark.parametrize("kind", kinds("redis7", "valkey8", "redis62"))
NEW = pytest.mark.parametrize("kind", kinds("valkey8", "redis7"))
ONE = pytest.mark.parametrize("kind", kinds("valkey8"))
