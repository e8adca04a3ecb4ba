"""The MongoDB store: the contract's verbs over one PyMongo client. Holds no policy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from threading import Lock
from typing import Any
from weakref import WeakSet

from mainspring.core.job import Job, State
from mainspring.core.records import GATE, Record
from mainspring.errors import DefinitionError
from mainspring.events import emit
from mainspring.stores.base import (
    BATCH_ROWS,
    Beat,
    Claim,
    Count,
    Event,
    Fact,
    LogLine,
    Page,
    Query,
    Store,
)
from mainspring.stores.mongo import add as adding
from mainspring.stores.mongo import find as finding
from mainspring.stores.mongo import logs as log_lines
from mainspring.stores.mongo import records as record_documents
from mainspring.stores.mongo.claim import Claimer
from mainspring.stores.mongo.clock import PrimaryTime
from mainspring.stores.mongo.events import Followers
from mainspring.stores.mongo.facts import gather
from mainspring.stores.mongo.hints import Hints
from mainspring.stores.mongo.link import Link
from mainspring.stores.mongo.look import Want
from mainspring.stores.mongo.purge import purge
from mainspring.stores.mongo.records import read_record, record_id
from mainspring.stores.mongo.renew import renew
from mainspring.stores.mongo.rows import read_job
from mainspring.stores.mongo.save import Save
from mainspring.stores.mongo.schema import prepare
from mainspring.stores.mongo.settings import parse
from mainspring.stores.mongo.transaction import transaction
from mainspring.stores.mongo.views import PATIENCE, Views
from mainspring.stores.mongo.within import Within
from mainspring.stores.server_clock import ServerClock

WEAKER = (
    "a single server without replica set: no transactions (within=, mark_completed), no "
    "other member to go on, and what is not on its disk yet is lost in a crash; mongod --replSet makes it a set"
)


class MongoStore(Store):
    """Collections with a prefix in a database on a replica set, a sharded cluster, or a single server."""

    def __init__(self, url: str, time: Callable[[], int] | None = None) -> None:
        """`time` is for tests: default, the primary's clock. Connects to nothing.

        Raises `DefinitionError` for a bad URL.
        """
        self.url = url
        self._settings = parse(url)
        self._time = time
        self._saying = Lock()
        """Shared by a store and its clones: whoever gets it, which is possible once, says what there is to say."""
        self._link = Link(self._settings)
        self._clock = ServerClock()
        self._claimer = Claimer(self._link)
        self._hints = Hints(self._link)
        self._views = Views(self._link)
        self._followers = Followers(self._link, self.time)
        self._known: WeakSet[Any] = WeakSet()
        """Clients of callers whose sessions have been checked."""
        self._beside: dict[asyncio.Task[None], Within] = {}
        """Waiting for callers' transactions to end."""

    # -- life --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        await self._link.open()
        if self._link.kind == "standalone" and self._saying.acquire(blocking=False):
            emit("store.standalone", logging.WARNING, server=self._settings.shown, weaker=WEAKER)
        try:
            await prepare(self._link)
        except BaseException:
            await self._link.close()
            raise

    async def close(self) -> None:
        await self._end_beside()
        await self._claimer.close()
        await self._hints.close()
        await self._link.close()

    def clone(self) -> Store:
        other = MongoStore(self.url, self._time)
        other._saying = self._saying
        return other

    async def time(self) -> int:
        if self._time is None:
            return await self._clock.now(PrimaryTime(self._link))
        self._link.check_open()
        return self._time()

    # -- jobs --------------------------------------------------------------------------------------------------

    async def add(self, jobs: Sequence[Job], within: Any = None) -> list[Job]:
        session = await self._session(within)
        if not jobs:
            return []
        if session is None:
            stored = await adding.add(self._link, jobs)
        else:
            with session.calls():
                stored = await adding.add_within(self._link, session["jobs"], jobs, session.session)
        self._tell_of(stored, session)
        if session is None:
            await self._views.make({job.queue for job in jobs})
        return stored

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
        self._link.check_open()
        self._hints.claims(queue, tasks)
        claim = await self._claimer.claim(Want(queue, tasks, worker, token, now, until, limit, cap))
        self._hints.claimed(bool(claim.jobs))
        self._followers.learn(self._claimer.followed_until, now)
        return claim

    async def renew(self, beats: Sequence[Beat], until: int) -> list[Job]:
        with self._link.calls():
            return await renew(self._link, beats, until) if beats else []

    async def save(self, jobs: Sequence[Job], within: Any = None) -> list[Job | None]:
        session = await self._session(within)
        if not jobs:
            return []
        save = Save(jobs)
        if session is None:
            with self._link.calls():
                return await save.run(self._link)
        with session.calls():
            saved = await save.run_within(session["jobs"], session.session)
        self._tell_of([job for job in saved if job is not None], session)
        return saved

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        if not ids:
            return []
        with self._link.calls():
            rows = await self._link["jobs"].find({"_id": {"$in": list(ids)}}).to_list()
        jobs = {row["_id"]: read_job(row) for row in rows}
        return [jobs.get(id) for id in ids]

    async def find(self, query: Query) -> Page:
        return await finding.find(self._link, query)

    async def count(self, query: Query) -> list[Count]:
        return await finding.count(self._link, query)

    # -- records -----------------------------------------------------------------------------------------------

    async def read(self, kind: str, name: str) -> Record | None:
        with self._link.calls():
            row = await self._link["records"].find_one({"_id": record_id(kind, name)})
        return None if row is None else read_record(row)

    async def write(self, records: Sequence[Record], within: Any = None) -> list[Record | None]:
        session = await self._session(within)
        if not records:
            return []
        if session is None:
            with self._link.calls():
                written = await record_documents.write(self._link["records"], records)
        else:
            with session.calls():
                written = await record_documents.write(session["records"], records, session.session)
        self._tell_of_gates([record for record in written if record is not None], session)
        return written

    async def scan(
        self, kind: str, due: int | None = None, after: str | None = None, limit: int = BATCH_ROWS
    ) -> list[Record]:
        return await record_documents.scan(self._link, kind, due, after, limit)

    async def erase(self, record: Record) -> bool:
        erased = await record_documents.erase(self._link, record)
        if erased:
            self._tell_of_gates([record], None)
        return erased

    # -- logs --------------------------------------------------------------------------------------------------

    async def append(self, lines: Sequence[LogLine], keep: int) -> None:
        await log_lines.append(self._link, lines, keep)

    async def tail(self, id: str, after: int = 0, limit: int = BATCH_ROWS) -> list[LogLine]:
        return await log_lines.tail(self._link, id, after, limit)

    # -- upkeep ------------------------------------------------------------------------------------------------

    async def purge(self, now: int, limit: int) -> int:
        return await purge(self._link, now, limit)

    async def facts(self) -> list[Fact]:
        return await gather(self._link)

    # -- transactions ------------------------------------------------------------------------------------------

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        self._check_transactions()
        return transaction(self._link)

    def _check_transactions(self) -> None:
        if self._link.kind == "standalone":
            raise DefinitionError(
                f"{self._settings.shown} has no transactions: it is a single server. "
                "Expected a replica set; one member is enough: mongod --replSet, then rs.initiate()."
            )

    async def _session(self, within: Any) -> Within | None:
        if within is None:
            return None
        self._check_transactions()
        session = Within(self._link, within)
        await session.check(self._known)
        return session

    # -- hints -------------------------------------------------------------------------------------------------

    async def wake(self, name: str) -> None:
        self._link.check_open()
        await asyncio.shield(self._hints.tell([name]))

    async def wait(self, names: Sequence[str], timeout: float) -> bool:
        return await self._hints.wait(names, timeout)

    @property
    def followed(self) -> bool:
        return self._followers.there

    async def publish(self, events: Sequence[Event]) -> None:
        if events:
            await self._followers.publish(events)

    async def subscribe(self) -> AsyncGenerator[list[Event], None]:
        async for batch in self._followers.follow():
            yield batch

    def _tell_of(self, jobs: Iterable[Job], session: Within | None) -> None:
        waiting = [job for job in jobs if job.state is State.WAITING]
        if waiting:
            self._tell({f"{job.queue}/{job.task}" for job in waiting}, session, {job.queue for job in waiting})

    def _tell_of_gates(self, records: Iterable[Record], session: Within | None) -> None:
        """A gate that was moved is a reason to look again, for those who serve what is behind it."""
        names = {record.name.partition(":")[::2] for record in records if record.kind == GATE}
        if names:
            self._tell({name if kind == "queue" else f"*/{name}" for kind, name in names}, session)

    def _tell(self, names: set[str], session: Within | None, queues: Collection[str] = ()) -> None:
        if session is None:
            self._hints.tell(names)
            return

        async def after() -> None:
            await session.over()
            self._hints.tell(names)
            await self._views.make(set(queues))

        task = asyncio.create_task(after(), name="mainspring-after-commit")
        self._beside[task] = session
        task.add_done_callback(self._beside.pop)

    async def _end_beside(self) -> None:
        """What follows a transaction that is over is still done; nobody waits for one that is open any longer."""
        last = [task for task, session in self._beside.items() if session.is_over]
        for task in last:
            self._beside[task].hurry()
        if last:
            await asyncio.wait(last, timeout=PATIENCE)
        ending = list(self._beside)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
