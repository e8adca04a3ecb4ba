"""Following jobs: one hub per client, however many wait.

Events of the store are hints; the rows, read in batches, are the truth. What is waited for is read once at once, soon
after, and then about once a second, so nothing depends on a hint's arrival.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

from mainspring.core import states
from mainspring.core.clock import Clock
from mainspring.core.codec import decode_value
from mainspring.core.handle import JobEvent
from mainspring.core.job import Job
from mainspring.errors import JobNotFound, StoreError, StoreReadOnly, StoreUnavailable
from mainspring.events import emit
from mainspring.stores.base import BATCH_ROWS, LogLine, Store

SOON = 0.02
INTERVAL = 1.0
"""Seconds between two looks at everything that is waited for: the first and the longest."""


class Watch:
    """One who waits for news of one job."""

    __slots__ = ("_error", "_fresh", "id", "job")

    def __init__(self, id: str) -> None:
        self.id = id
        self.job: Job | None = None
        self._error: Exception | None = None
        self._fresh = asyncio.Event()

    def tell(self, job: Job | None, error: Exception | None = None) -> None:
        self.job, self._error = job, error
        self._fresh.set()

    async def look(self) -> Job:
        """The row as of the next look. Raises `JobNotFound`, or what the look raised."""
        await self._fresh.wait()
        self._fresh.clear()
        if self._error is not None:
            raise self._error
        if self.job is None:
            raise JobNotFound(self.id)
        return self.job


class Hub:
    """Reads what is waited for, for all who wait. Lives while somebody waits, and a look longer."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._watches: dict[str, set[Watch]] = {}
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._delay = SOON
        self._runner: asyncio.Task[None] | None = None
        self._runners: set[asyncio.Task[None]] = set()
        """With those that have stopped looking, and still take leave of the store."""

    async def ended(self, id: str) -> Job:
        """The job, once it has ended. Raises `JobNotFound`."""
        watch = self._join(id)
        try:
            while True:
                job = await watch.look()
                if job.state.terminal:
                    return job
        finally:
            self._leave(watch)

    async def events(self, id: str) -> AsyncGenerator[JobEvent, None]:
        """What happens to a job, until it has ended. Raises `JobNotFound`."""
        watch = self._join(id)
        status, progress, seq = "", None, 0
        try:
            while True:
                job = await watch.look()
                now = self._clock.now()
                seen, status = status, states.status(job, now)
                while lines := await self._store.tail(id, seq):
                    for line in lines:
                        yield _said(line, status)
                    seq = lines[-1].seq
                if job.progress is not None and job.progress != progress:
                    progress = job.progress
                    yield JobEvent(kind="progress", status=status, at=now, data=decode_value(progress))
                if status != seen:
                    yield JobEvent(kind="state", status=status, at=now, data=_facts(job))
                if job.state.terminal:
                    return
        finally:
            self._leave(watch)

    async def close(self) -> None:
        """End; whoever still waits is told that the store is gone."""
        runners = list(self._runners)
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)
        self._fail(StoreUnavailable("the client was closed while it was waited for a job."))

    # -- who waits -------------------------------------------------------------------------------------------------

    def _join(self, id: str) -> Watch:
        watch = Watch(id)
        self._watches.setdefault(id, set()).add(watch)
        self._changed.add(id)
        self._delay = SOON
        self._wake.set()
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name="mainspring-follow")
            self._runners.add(self._runner)
            self._runner.add_done_callback(self._runners.discard)
        return watch

    def _leave(self, watch: Watch) -> None:
        watches = self._watches.get(watch.id, set())
        watches.discard(watch)
        if not watches:
            self._watches.pop(watch.id, None)

    # -- looking -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        listener = asyncio.create_task(self._listen(), name="mainspring-listen")
        try:
            while self._watches:
                await self._look()
                await self._sleep()
        except Exception as error:  # the store cannot be used: nobody must wait for ever
            self._fail(error)
        finally:
            # Before the first await: who joins while this one takes leave must find that nobody looks any more.
            self._runner = None
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _look(self) -> None:
        ids = [id for id in self._changed if id in self._watches]
        self._changed.clear()
        self._wake.clear()
        for first in range(0, len(ids), BATCH_ROWS):
            batch = ids[first : first + BATCH_ROWS]
            try:
                rows = await self._store.get(batch)
            except (StoreUnavailable, StoreReadOnly) as error:  # read-only, as while a failover is under way
                emit("follow.failed", logging.WARNING, jobs=len(ids), error=str(error))
                return
            for id, row in zip(batch, rows, strict=True):
                for watch in self._watches.get(id, ()):
                    watch.tell(row)

    async def _sleep(self) -> None:
        """Until a hint comes, or it is time to look at everything."""
        try:
            async with asyncio.timeout(self._delay):
                await self._wake.wait()
        except TimeoutError:
            self._delay = min(self._delay * 2, INTERVAL)
            self._changed.update(self._watches)

    async def _listen(self) -> None:
        while True:
            try:
                async for events in self._store.subscribe():
                    hinted = {event.job_id for event in events if event.job_id in self._watches}
                    if hinted:
                        self._changed |= hinted
                        self._wake.set()
            except StoreError as error:
                emit("follow.failed", logging.DEBUG, error=str(error))
            await asyncio.sleep(INTERVAL)

    def _fail(self, error: Exception) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.tell(None, error)


def _said(line: LogLine, status: str) -> JobEvent:
    data = {"level": line.level, "text": line.text, "claim": line.claim}
    return JobEvent(kind="log", status=status, at=line.at, data=data)


def _facts(job: Job) -> dict[str, object]:
    # Of what has ended, the attempt it ended with; a job's own `attempt` is the one that would come next.
    facts: dict[str, object] = {"attempt": job.attempts if job.state.terminal else job.attempt}
    if job.error is not None:
        facts["error"] = str(job.error)
    if job.reason:
        facts["reason"] = job.reason
    return facts
