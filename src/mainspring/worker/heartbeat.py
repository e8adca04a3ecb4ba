"""The heartbeat: keeps the leases of this process, on a thread of its own with a store of its own.

So a blocked event loop loses no lease. It sleeps in `store.wait([worker])`, so that a cancel arrives at once, and in
its passes it renews what is held, stores progress and log lines, and keeps the clock in step. When the event loop has
not turned for `stall_limit`, nothing is renewed: stacks are dumped, and a process that belongs to the worker ends.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from mainspring.core.job import Job
from mainspring.errors import StoreError, StoreReadOnly, StoreUnavailable
from mainspring.events import emit
from mainspring.stores.base import BATCH_ROWS, Beat, Event, Store
from mainspring.worker.hold import Hold
from mainspring.worker.text import append

if TYPE_CHECKING:
    from mainspring.worker.worker import Worker

FLUSH = 250
"""Progress and logs are stored at most four times a second."""
LAG_WARNING = 100
EXIT_STALLED = 70
AFTER_FAILURE = 1.0


class Heartbeat:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._settings = worker.settings
        self._thread = threading.Thread(target=self._main, name="mainspring-heartbeat", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._store: Store | None = None
        self._opened: Future[None] = Future()
        """Done when the store was opened, or once could not be."""
        self._nudge: asyncio.Event | None = None
        self._nudged = False
        self._stopping = False
        self._cancels = False
        """A hint came: renew everything now, for the rows that come back tell who is to be cancelled."""
        self._ping: int | None = None
        """When the event loop was asked to turn, and has not yet."""
        self._stalled = False
        self.lag = 0
        """How long the event loop took to turn when last asked, ms."""

    # -- from the worker's loop --------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """There is something to flush. Cheap, and safe from any thread."""
        if not self._nudged and self._loop is not None and self._nudge is not None:
            self._nudged = True
            self._post(self._nudge)

    async def hold(self, now: int, alive: bool = False) -> None:
        """Renew everything as if it were `now`: a test is about to move its clock there. `alive`: say that we live,
        too."""
        if self._ends():
            return
        await asyncio.shield(asyncio.wrap_future(self._opened))  # the thread may have begun just now
        if self._loop is None or self._store is None:
            return
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._hold(self._store, now, alive), self._loop))

    async def _hold(self, store: Store, now: int, alive: bool) -> None:
        holds = self._take_up(now, every=True)
        try:
            if alive:
                await self._worker.show(store, now)
            for first in range(0, len(holds), BATCH_ROWS):
                await self._renew(store, holds[first : first + BATCH_ROWS], now)
        except StoreError as error:
            emit("renew.failed", logging.WARNING, worker=self._worker.id, jobs=len(holds), error=str(error))
        finally:
            self._put_down(holds)

    def end(self) -> None:
        """Let the thread end after the renewals in flight. Safe from any thread."""
        self._stopping = True
        if self._loop is not None and self._nudge is not None:
            self._post(self._nudge)

    async def stop(self) -> None:
        """End the thread. Renewals in flight are waited for."""
        self.end()
        await asyncio.to_thread(self._thread.join)

    def _post(self, event: asyncio.Event) -> None:
        try:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(event.set)
        except RuntimeError:
            pass  # its loop is closed: it has ended already

    # -- on its own thread -------------------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            emit("heartbeat.failed", logging.CRITICAL, exc_info=error, worker=self._worker.id)
            self._worker.call_soon(self._worker.fail, error)
        finally:
            self._tried()

    def _tried(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    async def _live(self) -> None:
        self._loop, self._nudge = asyncio.get_running_loop(), asyncio.Event()
        store = self._worker.store.clone()
        await self._open(store)
        self._store = store
        self._tried()
        beside = [asyncio.create_task(self._listen(store)), asyncio.create_task(self._watch_leases())]
        try:
            while not self._ends():
                delay = await self._pass(store)
                await self._sleep(delay)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await store.close()

    def _ends(self) -> bool:
        # A loop that was closed without a stop has left its holds to nobody: their leases are to end.
        return self._stopping or self._worker.loop.is_closed()

    async def _open(self, store: Store) -> None:
        """The worker's own store is open, so one that does not answer now will."""
        while not self._ends():
            try:
                await store.open()
                return
            except (StoreUnavailable, StoreReadOnly) as error:  # read-only, as while a failover is under way
                emit("renew.failed", logging.WARNING, worker=self._worker.id, jobs=0, error=str(error))
                self._tried()
                self._tell_lost_in_time(self._settings.beat_ms)
                await self._sleep(min(AFTER_FAILURE, self._settings.beat_ms / 1000))

    async def _sleep(self, delay: float) -> None:
        assert self._nudge is not None
        try:
            async with asyncio.timeout(delay):
                await self._nudge.wait()
        except TimeoutError:
            pass
        self._nudge.clear()
        self._nudged = False

    async def _listen(self, store: Store) -> None:
        while True:
            try:
                woken = await store.wait([self._worker.id], self._settings.poll_ms * 12 / 1000)
            except StoreError:
                await asyncio.sleep(AFTER_FAILURE)
                continue
            if woken:
                self._cancels = True
                self._worker.call_soon(self._worker.ticker.nudge)  # or a schedule has changed
                assert self._nudge is not None
                self._nudge.set()

    async def _watch_leases(self) -> None:
        """A renewal may hang until the deadline of its call; handlers are told before the lease ends all the same."""
        while True:
            await asyncio.sleep(self._settings.beat_ms / 4_000)
            self._tell_lost_in_time(self._settings.beat_ms // 2)

    async def _pass(self, store: Store) -> float:
        """One round; answers how many seconds to sleep until the next."""
        self._check_loop()
        every, self._cancels = self._cancels, False
        now = self._worker.clock.now()
        holds = self._take_up(now, every)
        failed = False
        try:
            if not self._stalled:
                for first in range(0, len(holds), BATCH_ROWS):
                    await self._renew(store, holds[first : first + BATCH_ROWS], now)
                await self._worker.keep_time(store)
        except StoreError as error:
            failed = True
            self._cancels = self._cancels or every
            emit("renew.failed", logging.WARNING, worker=self._worker.id, jobs=len(holds), error=str(error))
            self._tell_lost_in_time(self._settings.beat_ms)
        finally:
            self._put_down(holds)
        return min(AFTER_FAILURE, self._settings.beat_ms / 1000) if failed else self._next(self._worker.clock.now())

    def _next(self, now: int) -> float:
        delay = self._settings.beat_ms
        for hold in list(self._worker.desk.holds):
            if not hold.settled and (hold.progress is not None or hold.lines):
                delay = min(delay, max(hold.flushed_at + FLUSH - now, 1))
        return delay / 1000

    # -- renewing ----------------------------------------------------------------------------------------------------

    def _take_up(self, now: int, every: bool) -> list[Hold]:
        """The holds to renew now. While it has them, their settle waits."""
        with self._worker.desk.lock:
            ours = [h for h in self._worker.desk.holds if not (h.settling or h.settled)]
            due = [h for h in ours if every or self._is_due(h, now)]
            for hold in due:
                hold.beating = True
        return due

    def _is_due(self, hold: Hold, now: int) -> bool:
        if now - hold.renewed_at >= self._settings.beat_ms // 2:
            return True
        return (hold.progress is not None or bool(hold.lines)) and now - hold.flushed_at >= FLUSH

    async def _renew(self, store: Store, holds: list[Hold], now: int) -> None:
        beats = [Beat(h.job.id, h.job.token, h.progress) for h in holds]
        rows = {row.id: row for row in await store.renew(beats, now + self._settings.lease_ms)} if beats else {}
        for hold, beat in zip(holds, beats, strict=True):
            row = rows.get(hold.job.id)
            if row is None or row.token != hold.job.token:
                self._worker.call_soon(self._worker.executor.stop, hold, "lost", "the lease was lost")
            else:
                self._accept(hold, beat, row, now)
        told = {beat.id for beat in beats if beat.progress is not None}
        told |= await self._append(store, holds)
        await self._tell(store, [row for row in rows.values() if row.id in told], now)

    async def _append(self, store: Store, holds: list[Hold]) -> set[str]:
        """Store log lines; answers whose. After the leases, for they may cost none: what fails is kept for later."""
        taken = [(hold, hold.take_lines()) for hold in holds if hold.lines]
        lines = [line for _, its in taken for line in its]
        try:
            await append(store, lines, self._settings.log_lines)
        except StoreError as error:
            for hold, its in taken:
                hold.put_back(its)
            emit("log.late", logging.WARNING, worker=self._worker.id, lines=len(lines), error=str(error))
            return set()
        return {line.job_id for line in lines}

    async def _tell(self, store: Store, rows: list[Job], now: int) -> None:
        """A hint, after the fact: followers learn of progress and log lines."""
        if not rows:
            return
        events = [
            Event(job_id=row.id, task=row.task, queue=row.queue, kind="progress", status="running", at=now)
            for row in rows
        ]
        try:
            await store.publish(events)
        except StoreError as error:
            emit("hint.lost", logging.DEBUG, error=str(error))

    def _accept(self, hold: Hold, beat: Beat, row: Job, now: int) -> None:
        # Before its handler has begun, a hold still carries the input it is to run with.
        hold.job = row if hold.job.input is None else row.evolve(input=hold.job.input)
        hold.renewed_at = now
        with self._worker.desk.lock:
            if hold.progress is beat.progress:
                hold.progress = None
        hold.flushed_at = now
        if row.cancelling is not None and hold.stop is None:
            self._worker.call_soon(self._worker.executor.stop, hold, "cancel", row.cancelling)

    def _put_down(self, holds: list[Hold]) -> None:
        with self._worker.desk.lock:
            for hold in holds:
                hold.beating = False
            parked = [hold for hold in holds if hold.parked is not None]
        for hold in parked:
            self._worker.call_soon(_unpark, hold)

    def _tell_lost_in_time(self, margin: int) -> None:
        """`margin` before a lease that cannot be renewed ends, its handler is told: one beat where that has failed."""
        soon = self._worker.clock.now() + margin
        for hold in list(self._worker.desk.holds):
            if hold.job.due_at <= soon and hold.stop is None and not hold.settled:
                reason = "the store does not answer, and the lease is ending"
                self._worker.call_soon(self._worker.executor.stop, hold, "lost", reason)

    # -- the event loop ----------------------------------------------------------------------------------------------

    def _check_loop(self) -> None:
        now = self._worker.clock.monotonic()
        if self._ping is None:
            self._stalled = False
            self._ping = now
            self._worker.call_soon(self._turned)
        elif now - self._ping >= self._settings.stall_limit_ms and not self._stalled:
            self._stalled = True
            self._give_up(now - self._ping)

    def _turned(self) -> None:
        """Runs on the worker's event loop: it turns."""
        if self._ping is not None:
            self.lag = self._worker.clock.monotonic() - self._ping
            self._ping = None
        if self.lag > LAG_WARNING:
            emit("loop.lag", logging.WARNING, worker=self._worker.id, ms=self.lag)

    def _give_up(self, stalled: int) -> None:
        emit("loop.stalled", logging.CRITICAL, worker=self._worker.id, ms=stalled)
        faulthandler.dump_traceback(sys.__stderr__ or 2, all_threads=True)
        if self._settings.owns_process:
            os._exit(EXIT_STALLED)


def _unpark(hold: Hold) -> None:
    parked, hold.parked = hold.parked, None
    if parked is not None and not parked.done():
        parked.set_result(None)
