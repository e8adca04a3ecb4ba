"""The ticker: a worker's clock. It sleeps until the first schedule is due, and fires what is.

A worker that is not on duty (`triggers.duty`) only looks whether what was due has been fired.
"""

from __future__ import annotations

import asyncio
import logging
import random
from time import monotonic
from typing import TYPE_CHECKING

from mainspring.core.job import TERMINAL, Job
from mainspring.core.records import SCHEDULE, Record
from mainspring.core.schedule import ORIGIN, Schedule, decode_schedule
from mainspring.core.ticks import stands
from mainspring.errors import DefinitionError, MainspringError, StoreError
from mainspring.events import emit
from mainspring.triggers.clock import Firing
from mainspring.triggers.duty import PATIENCE, Duty, wake_on_duty
from mainspring.triggers.reconcile import Reconciler
from mainspring.worker.rounds import Rounds

if TYPE_CHECKING:
    from mainspring.worker.worker import Worker

LONGEST_BACK_OFF = 5.0
TEND_EVERY = 60.0
AT_ONCE = 100
"""Schedules fired in one go, at most: 0.03 s on SQLite and Redis, 0.1 s on MongoDB. Of 500 on a busy machine others
believed that nobody did it, after `PATIENCE`, and did it too."""
AT_FIRST = 25
"""The same of a worker that does not know yet how long that takes here."""
FAR = 253_402_300_799_000
"""The end of the year 9999."""


class Ticker:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._nudge = asyncio.Event()
        self._over = False
        self.rounds = Rounds(lambda: self._over)
        self._follows: dict[str, bool] = {}
        """Of the schedules whose runs have begun here: whether the end of a run may make them due."""
        self._following: set[asyncio.Task[None]] = set()
        self._declares = False
        self._begun = False
        self._firing: Firing
        self._reconciler: Reconciler
        self._tended_at = 0.0
        self._duty: Duty
        self._at_once = AT_FIRST
        """Schedules fired in one go: as many as take a fraction of the patience of those who watch."""

    def nudge(self) -> None:
        """Look again now."""
        self._nudge.set()

    def declare(self) -> None:
        """Say again which schedules the code declares: this worker was taken for dead for a while (its machine slept,
        or the store lost its data), and others may have retired them."""
        self._declares = True
        self.nudge()

    async def run(self) -> None:
        """Fire until cancelled."""
        self._firing = Firing(self._worker.client)
        self._reconciler = Reconciler(self._worker.store, self._worker.clock, self._worker.app.declared)
        self._tended_at = self._worker.loop.time()
        self._duty = Duty(self._worker.store, self._worker.clock, self._worker.id)
        self._begun = True
        try:
            await self._tick()
        finally:
            self._over = True
            self.rounds.look()

    async def _tick(self) -> None:
        back_off, asked = 0.0, True
        while True:
            try:
                await self._tend()
                if asked:
                    await self._duty.take(None)
                delay, back_off = await self._round(), 0.0
            except MainspringError as error:
                self.rounds.fail()
                emit("clock.failed", logging.WARNING, worker=self._worker.id, error=str(error))
                back_off = min(back_off * 2 or 0.1, LONGEST_BACK_OFF)
                delay = back_off * random.uniform(0.5, 1.0)
            asked = await self._sleep(delay)

    async def _tend(self) -> None:
        """Now and then the one on duty sees to it that what is stored is what code that runs declares."""
        if self._declares:
            await self._reconciler.run()
            self._declares = False
        now = self._worker.loop.time()
        if self._duty.mine and now - self._tended_at >= TEND_EVERY:
            self._tended_at = now
            await self._reconciler.tend_all()

    async def _sleep(self, seconds: float) -> bool:
        """Until somebody nudges, or the time is over. True: nudged."""
        try:
            async with asyncio.timeout(seconds):
                await self._nudge.wait()
        except TimeoutError:
            return False
        self._nudge.clear()
        return True

    async def _round(self) -> float:
        """Fire what is due, if that is ours to do. Answers how many seconds to sleep."""
        self.rounds.begin()
        now, poll = self._worker.clock.now(), self._worker.settings.poll_ms
        records = await self._worker.store.scan(SCHEDULE, due=now + poll, limit=self._at_once)
        due = [record for record in records if record.due_at is not None and record.due_at <= now]
        if not due:
            self.rounds.end(True, await self._first_due(records))
            return self._until(records, now, poll)
        if not await self._duty.take(due[0]):
            self.rounds.end(True, due[0].due_at)
            return PATIENCE
        begun = monotonic()
        changed = await self._reconciler.tend(due)
        await self._firing.fire([record for record in due if record.name not in changed])
        self._pace(len(due), monotonic() - begun)
        return 0.0

    def _pace(self, fired: int, seconds: float) -> None:
        """Half as many next time where it took long, twice as many where it did not. Others look for progress, and fire
        too where they see none: of 100 at once a busy machine wrote 1.6 times a schedule, and so it is 1.004."""
        if seconds > PATIENCE / 4:
            self._at_once = max(1, self._at_once // 2)
        elif fired == self._at_once:
            self._at_once = min(AT_ONCE, self._at_once * 2)

    async def _first_due(self, records: list[Record]) -> int | None:
        """When the first schedule is due, however far away; asked only where a test holds the time."""
        if self._worker.app.time is None or records:
            return records[0].due_at if records else None
        first = await self._worker.store.scan(SCHEDULE, due=FAR, limit=1)
        return first[0].due_at if first else None

    def _until(self, records: list[Record], now: int, poll: int) -> float:
        delays = [record.due_at - now for record in records if record.due_at is not None]
        patience = 0.0 if self._duty.mine else PATIENCE
        return min(min(delays, default=poll) / 1000 + patience, poll / 1000)

    # -- runs of schedules -----------------------------------------------------------------------------------------

    async def stands(self, job: Job) -> bool:
        """Whether a job is one that its schedule asked for, if any did; see `core.ticks.stands`."""
        if not job.origin.startswith(ORIGIN):
            return True
        try:
            schedule = await self._read(job)
        except StoreError:
            return True  # in doubt it runs: that is what a tick is for
        if schedule is not None:
            self._follows[schedule.name] = schedule.follows_runs
        return stands(schedule, job)

    def ended(self, job: Job) -> None:
        """A run has ended here. Where a schedule waits for that, it has its turn now."""
        if not job.origin.startswith(ORIGIN) or job.state not in TERMINAL:
            return
        name = job.origin.removeprefix(ORIGIN)
        if self._follows.pop(name, True):
            task = self._worker.loop.create_task(self._follow(name), name="mainspring-follow")
            self._following.add(task)
            task.add_done_callback(self._following.discard)

    async def _follow(self, name: str) -> None:
        try:
            record = await self._worker.store.read(SCHEDULE, name)
            if record is None or not decode_schedule(record.value).waits:
                return
            await self._firing.fire([record])
            self.nudge()
            await wake_on_duty(self._worker.store, self._worker.clock.now())
        except MainspringError as error:
            emit("clock.failed", logging.DEBUG, worker=self._worker.id, error=str(error))

    async def _read(self, job: Job) -> Schedule | None:
        record = await self._worker.store.read(SCHEDULE, job.origin.removeprefix(ORIGIN))
        try:
            return None if record is None else decode_schedule(record.value)
        except DefinitionError:
            return None

    async def close(self) -> None:
        """Let another worker be on duty at once."""
        for task in list(self._following):
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        if not self._begun:
            return
        try:
            await self._duty.hand_over()
        except StoreError as error:
            emit("clock.failed", logging.DEBUG, worker=self._worker.id, error=str(error))
