"""Schedulers without their workers: several that fire over one database, and stores that fail them at a given call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, cast

from mainspring import Job, Mainspring
from mainspring.client import Client
from mainspring.core.clock import Clock
from mainspring.core.job import LIVE
from mainspring.core.records import SCHEDULE, Record
from mainspring.core.schedule import Schedule, decode_schedule
from mainspring.errors import StoreUnavailable
from mainspring.stores import open_store
from mainspring.stores.base import BATCH_ROWS, Query, Store
from mainspring.triggers.clock import Firing
from tests.conformance.faulty import Through


class Time(Protocol):
    def now(self) -> int: ...


class Killed(BaseException):
    """Stands for a SIGKILL: nothing that the scheduler would do after it is done."""


class Fails(Through):
    """Its next call of `method` raises `error`, `before` it takes effect or `after`; later calls go through."""

    def __init__(self, inside: Store) -> None:
        super().__init__(inside)
        self.method = self.when = ""
        self.error: BaseException = StoreUnavailable("down, says the test")
        self.failed = 0

    def at(self, method: str, when: str, error: BaseException) -> None:
        self.method, self.when, self.error = method, when, error

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inside, name)
        if name != self.method:
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.method = ""
            self.failed += 1
            if self.when == "after":
                await method(*args, **kwargs)
            raise self.error

        return call


class Held(Through):
    """Its first `add` waits until it is let go: a scheduler that was stopped after it had read."""

    def __init__(self, inside: Store) -> None:
        super().__init__(inside)
        self.arrived, self.go = asyncio.Event(), asyncio.Event()

    async def add(self, jobs: Sequence[Job], within: Any = None) -> list[Job]:
        self.arrived.set()
        await self.go.wait()
        return await self.inside.add(jobs)


class Scheduler:
    """One that fires, with a client and a store of its own."""

    def __init__(self, client: Client) -> None:
        self.store = client.store
        self.clock = client.clock
        self.firing = Firing(client)

    async def due(self) -> list[Record]:
        return await self.store.scan(SCHEDULE, due=self.clock.now())

    async def fire(self, records: Sequence[Record] | None = None) -> int:
        """Fire these, or what is due."""
        return await self.firing.fire(await self.due() if records is None else records)

    async def look(self, name: str) -> None:
        """Fire this schedule until it is due no more."""
        for _ in range(20):
            record = await self.store.read(SCHEDULE, name)
            if record is None or record.due_at is None or record.due_at > self.clock.now():
                return
            await self.firing.fire([record])
        raise AssertionError(f"{name} is due for ever")


@asynccontextmanager
async def scheduler(
    app: Mainspring, time: Time, wrap: Callable[[Store], Any] = lambda store: store
) -> AsyncIterator[Scheduler]:
    """A scheduler over the database of `app`, on the clock `time`, through the store that `wrap` makes of it."""
    store = cast(Store, wrap(open_store(app.url, time.now)))
    client = Client(store, Clock(time.now, time.now), app.tasks)
    await client.open()
    try:
        yield Scheduler(client)
    finally:
        await client.close()


@asynccontextmanager
async def schedulers(app: Mainspring, times: Sequence[Time]) -> AsyncIterator[list[Scheduler]]:
    """One for each of these clocks."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(scheduler(app, time)) for time in times]


async def together(calls: Sequence[Awaitable[Any]]) -> None:
    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(_awaited(call))


async def _awaited(call: Awaitable[Any]) -> None:
    await call


# -- looking -------------------------------------------------------------------------------------------------------


async def stored(app: Mainspring, name: str) -> Schedule:
    client = await app.connect()
    record = await client.store.read(SCHEDULE, name)
    assert record is not None, f"{name} is gone"
    return decode_schedule(record.value)


async def rows(app: Mainspring, name: str) -> list[Job]:
    """The jobs that a schedule asked for, by their ticks."""
    store = (await app.connect()).store
    found: list[Job] = []
    query = Query(origin=f"schedule:{name}", limit=BATCH_ROWS)
    while True:
        page = await store.find(query)
        found += page.jobs
        if page.cursor is None:
            return sorted(found, key=lambda job: job.scheduled_at)
        query = query.evolve(after=page.cursor)


async def ticks(app: Mainspring, name: str) -> list[int]:
    return [job.scheduled_at for job in await rows(app, name)]


async def live(app: Mainspring, name: str) -> list[Job]:
    return [job for job in await rows(app, name) if job.state in LIVE]
