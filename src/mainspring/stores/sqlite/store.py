"""The SQLite store: the contract's verbs, each handed as work to a connection.

Rows are built before and read after, on the caller's side, so that a transaction holds the write lock for SQLite's own
time only. Holds no SQL and no policy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from mainspring.core.job import Job
from mainspring.core.records import GATE, Record
from mainspring.errors import DefinitionError, StoreUnavailable
from mainspring.stores.base import BATCH_ROWS, Beat, Claim, Count, Event, Fact, LogLine, Page, Query, Store
from mainspring.stores.sqlite import events as event_table
from mainspring.stores.sqlite import find, hints
from mainspring.stores.sqlite import jobs as job_table
from mainspring.stores.sqlite import logs as log_table
from mainspring.stores.sqlite import purge as purge_all
from mainspring.stores.sqlite import records as record_table
from mainspring.stores.sqlite.channel import T, Work
from mainspring.stores.sqlite.choose import Want
from mainspring.stores.sqlite.claim import claim
from mainspring.stores.sqlite.clock import MachineClock
from mainspring.stores.sqlite.database import Database, File, Memory
from mainspring.stores.sqlite.facts import gather
from mainspring.stores.sqlite.follow import follow
from mainspring.stores.sqlite.hub import Hub
from mainspring.stores.sqlite.jobs import RUNNING, WAITING, change_of, new_job
from mainspring.stores.sqlite.rows import read_job
from mainspring.stores.sqlite.session import session
from mainspring.stores.sqlite.settings import parse
from mainspring.stores.sqlite.waiting import FREED, Marks, wait
from mainspring.stores.sqlite.within import run_within


class SQLiteStore(Store):
    """A database file, or `sqlite://:memory:`, which all clones of one store share."""

    def __init__(self, url: str, time: Callable[[], int] | None = None) -> None:
        """`time` is the store's clock; default: the machine's (`clock`). Touches no file.

        Raises `DefinitionError` for a bad URL.
        """
        self.url = url
        self._settings = parse(url)
        self._time = time
        self._clock = MachineClock()
        self._database: Database = File(self._settings) if self._settings.path else Memory(self._settings)
        self._opening = asyncio.Lock()
        self._is_open = False
        self._turn = asyncio.Lock()
        """Whose transaction it is, of those that callers open in this event loop."""
        self._marks = Marks()

    # -- life --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        async with self._opening:
            if not self._is_open:
                await self._database.open()
                self._is_open = True

    async def close(self) -> None:
        async with self._opening:
            if self._is_open:
                self._is_open = False
                self._hub.wake_all()  # Whoever sleeps in a wait learns of it now.
                await self._database.close()

    def clone(self) -> Store:
        other = SQLiteStore(self.url, self._time)
        # A relative path means what it meant here, wherever the process is now.
        other._settings = self._settings
        other._database = self._database if isinstance(self._database, Memory) else File(self._settings)
        return other

    async def time(self) -> int:
        self._connections()
        return await self._clock.now(self) if self._time is None else self._time()

    # -- jobs --------------------------------------------------------------------------------------------------

    async def add(self, jobs: Sequence[Job], within: Any = None) -> list[Job]:
        if not jobs:
            return []
        new = [new_job(job) for job in jobs]
        stored = await self._write(partial(job_table.add, jobs=new), within)
        if within is None:
            self._hub.wake(*{job.place.queue for job in new if job.place.state == WAITING})
        added: dict[str, Job] = {}
        for job in jobs:
            if job.id in added:
                continue
            row = stored.get(job.id)
            added[job.id] = job.evolve(version=1, input=None, result=None) if row is None else read_job(row)
        return [added[job.id] for job in jobs]

    async def claim(
        self,
        queue: str,
        tasks: Mapping[str, int | None],
        worker: str,
        token: str,
        now: int,
        until: int,
        limit: int,
        cap: int | None = None,
    ) -> Claim:
        want = Want(queue, tasks, worker, token, now, until, limit, cap)
        taken = await self._connections().run(partial(claim, want=want))
        self._marks.claimed(queue, taken.choice.mark, taken.choice.full)
        if taken.rows:
            self._hub.followed = taken.followed
        return Claim([read_job(row) for row in taken.rows], taken.choice.next_due)

    async def renew(self, beats: Sequence[Beat], until: int) -> list[Job]:
        if not beats:
            return []
        rows = [(beat.id, beat.token, until, beat.progress) for beat in beats]
        return [read_job(row) for row in await self._write(partial(job_table.renew, beats=rows))]

    async def save(self, jobs: Sequence[Job], within: Any = None) -> list[Job | None]:
        if not jobs:
            return []
        changes = [change_of(job) for job in jobs]
        stored = await self._write(partial(job_table.save, changes=changes), within)
        saved = [None if row is None else row.after(job) for job, row in zip(jobs, stored, strict=True)]
        if within is None:
            self._tell_of_saved(saved, [row is not None and row.state == RUNNING for row in stored])
        return saved

    def _tell_of_saved(self, saved: Sequence[Job | None], ran: Sequence[bool]) -> None:
        names = {job.queue for job in saved if job is not None and job.state.value == WAITING}
        if any(job is not None and was and job.state.value != RUNNING for job, was in zip(saved, ran, strict=True)):
            names.add(FREED)
        self._hub.wake(*names)

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        if not ids:
            return []
        rows = await self._connections().read(partial(job_table.get, ids=ids))
        found = {job.id: job for job in map(read_job, rows)}
        return [found.get(id) for id in ids]

    async def find(self, query: Query) -> Page:
        rows, cursor = await self._connections().read(partial(find.page, query=query))
        return Page([read_job(row) for row in rows], cursor)

    async def count(self, query: Query) -> list[Count]:
        return await self._connections().read(partial(find.count, query=query))

    # -- records -----------------------------------------------------------------------------------------------

    async def read(self, kind: str, name: str) -> Record | None:
        return await self._connections().read(partial(record_table.read, kind=kind, name=name))

    async def write(self, records: Sequence[Record], within: Any = None) -> list[Record | None]:
        if not records:
            return []
        written = await self._write(partial(record_table.write, records=records), within)
        if within is None and any(record is not None and record.kind == GATE for record in written):
            self._hub.wake_all()
        return written

    async def scan(
        self, kind: str, due: int | None = None, after: str | None = None, limit: int = BATCH_ROWS
    ) -> list[Record]:
        return await self._connections().read(partial(record_table.scan, kind=kind, due=due, after=after, limit=limit))

    async def erase(self, record: Record) -> bool:
        erased = await self._write(partial(record_table.erase, record=record))
        if erased and record.kind == GATE:
            self._hub.wake_all()
        return erased

    # -- logs --------------------------------------------------------------------------------------------------

    async def append(self, lines: Sequence[LogLine], keep: int) -> None:
        if lines:
            await self._write(partial(log_table.append, lines=lines, keep=keep))

    async def tail(self, id: str, after: int = 0, limit: int = BATCH_ROWS) -> list[LogLine]:
        return await self._connections().read(partial(log_table.tail, id=id, after=after, limit=limit))

    # -- upkeep ------------------------------------------------------------------------------------------------

    async def purge(self, now: int, limit: int) -> int:
        return await self._connections().run(partial(purge_all.purge, now=now, limit=limit))

    async def facts(self) -> list[Fact]:
        return await gather(self._connections(), self._settings)

    # -- transactions ------------------------------------------------------------------------------------------

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        if self._settings.path is None:
            raise DefinitionError(
                "a store in memory has no transactions, for it has one connection. Use a file: sqlite:///name.db."
            )
        self._connections()
        return session(self._settings, self._turn)

    # -- hints -------------------------------------------------------------------------------------------------

    async def wake(self, name: str) -> None:
        await self._write(partial(hints.bump, names=[name]))
        self._hub.wake(name)

    async def wait(self, names: Sequence[str], timeout: float) -> bool:
        return await wait(self._connections(), self._marks, names, timeout)

    @property
    def followed(self) -> bool:
        return self._hub.followed

    async def publish(self, events: Sequence[Event]) -> None:
        if self._hub.followed and events:
            rows = [event_table.encode(event) for event in events]
            await self._write(partial(event_table.publish, rows=rows))
            self._hub.wake(event_table.PUBLISHED)

    def subscribe(self) -> AsyncGenerator[list[Event], None]:
        return follow(self._connections())

    # -- the connections ---------------------------------------------------------------------------------------

    def _connections(self) -> Database:
        if not self._is_open:
            raise StoreUnavailable(f"{self.url}: the store is not open. Call open() first, and close() last.")
        return self._database

    @property
    def _hub(self) -> Hub:
        return self._database.hub

    async def _write(self, work: Work[T], within: Any = None) -> T:
        """Let `work` write: in a transaction of our own, or in the caller's."""
        database = self._connections()
        return await database.write(work) if within is None else run_within(within, self._settings, work)
