"""The pump: free slots -> claim -> executor. It claims only what can start now.

There is no timer to fill a batch: while one claim is in flight slots become free, and the next claim fills them all.
A round answers when to look again; an idle pump sleeps until then, or until somebody wakes it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mainspring.core import states
from mainspring.core.ids import new_token
from mainspring.core.job import Job, State
from mainspring.errors import StoreError
from mainspring.events import emit
from mainspring.stores.base import BATCH_ROWS, Query
from mainspring.worker.hold import Hold
from mainspring.worker.rounds import Rounds

if TYPE_CHECKING:
    from mainspring.worker.worker import Worker

LONGEST_BACK_OFF = 5.0
ALONE_WITHIN = 10.0
"""Seconds that a suspect waits for the process to be empty, before it runs beside others after all."""
ALONE_FOR = 60.0
"""Seconds after which others are let in beside a suspect that runs for long; no other suspect is."""


class Pump:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._nudge = asyncio.Event()
        self._nap: asyncio.Timeout | None = None
        self._unsure: list[str] = []
        """Tokens of claims whose answer was lost: what carries them is to be given back."""
        self._first = 0
        self._cpu = frozenset(name for name, task in worker.tasks.items() if task.cpu)
        self._suspect: Hold | None = None
        self._awaited: Callable[[], bool] | None = None
        """What it waits for before it claims again."""
        self.rounds = Rounds(lambda: self.stuck)
        self.stopping = False
        self.paused = False
        self.throttled: dict[str, int] = {}
        """Tasks that this worker alone leaves alone, until when."""

    @property
    def stuck(self) -> bool:
        """Whether it claims nothing, whatever is due, before something else has happened here: a handler ends, ..."""
        return self.stopping or (self._awaited is not None and not self._awaited())

    def nudge(self) -> None:
        """Look again now."""
        self._nudge.set()
        if self._nap is not None and not self._nap.expired():
            self._nap.reschedule(self._worker.loop.time())
        self._worker.desk.notify()

    async def run(self) -> None:
        """Claim until stopped."""
        back_off = 0.0
        while not self.stopping:
            await self._wait_until(lambda: not self.paused and self._worker.desk.free > 0)
            if self.stopping:
                break
            try:
                await self._turn()
                back_off = 0.0
            except StoreError as error:
                self.rounds.fail()
                emit("claim.failed", logging.WARNING, worker=self._worker.id, error=str(error))
                back_off = min(back_off * 2 or 0.1, LONGEST_BACK_OFF)
                await first_of(self._nudge.wait(), asyncio.sleep(back_off * random.uniform(0.5, 1.0)))

    async def _turn(self) -> None:
        """Claim what can start, then sleep until there may be something more: a claim tells when."""
        self.rounds.begin()
        taken = self._worker.desk.taken
        full, next_due = await self._round()
        self.rounds.end(self._worker.desk.taken == taken, next_due)
        now = self._worker.clock.now()
        if full or (next_due is not None and next_due <= now):
            return
        poll = self._worker.settings.poll_ms
        delay = poll if next_due is None else min(next_due - now, poll)
        await self._sleep(delay / 1000)

    async def _sleep(self, seconds: float) -> None:
        """Until a hint comes, somebody nudges, or the time is over. In this very task: each task in between would be a
        turn of the loop more before the next job is claimed."""
        if not self._nudge.is_set():
            try:
                async with asyncio.timeout(None) as self._nap:
                    await self._worker.store.wait(self._worker.queues, seconds)
            except TimeoutError:
                pass  # nudged
            finally:
                self._nap = None
        self._nudge.clear()

    # -- one round -----------------------------------------------------------------------------------------------------

    async def _round(self) -> tuple[bool, int | None]:
        """One claim per queue and portion, in rotation, while slots are free. Answers whether one was full, and when
        to look again."""
        if self._unsure:
            await self._give_back_unsure()
        queues = self._worker.queues
        self._first = (self._first + 1) % len(queues)
        full, dues = False, []
        for queue in queues[self._first :] + queues[: self._first]:
            for cpu in self._portions():
                limit = self._room(cpu)
                if not limit and not self._worker.desk.free:
                    return True, None
                if not limit:
                    continue  # all processes are busy; the end of one nudges
                jobs, next_due = await self._claim(queue, limit, cpu)
                full = full or len(jobs) == limit
                dues.append(next_due)
        return full, min((due for due in dues if due is not None), default=None)

    def _portions(self) -> tuple[bool | None, ...]:
        """cpu handlers have fewer places than the others, so where there are both, they are claimed apart, and first
        in every other round. None: all tasks at once."""
        if not self._cpu:
            return (None,)
        if len(self._cpu) == len(self._worker.caps):
            return (True,)
        return (False, True) if self._first % 2 else (True, False)

    def _room(self, cpu: bool | None) -> int:
        desk = self._worker.desk
        room = min(desk.free, BATCH_ROWS)
        if not cpu:
            return room
        running = sum(hold.task.cpu and not hold.handler_done for hold in desk.holds)
        return max(0, min(room, self._worker.settings.cpu_slots - running))

    async def _claim(self, queue: str, limit: int, cpu: bool | None = None) -> tuple[list[Job], int | None]:
        now, token = self._worker.clock.now(), new_token()
        tasks = self._tasks(now)
        if cpu is not None:
            tasks = {name: cap for name, cap in tasks.items() if (name in self._cpu) == cpu}
        until = now + self._worker.settings.lease_ms
        try:
            claim = await self._worker.store.claim(queue, tasks, self._worker.id, token, now, until, limit)
        except BaseException:
            self._unsure.append(token)
            raise
        if claim.jobs:
            await self._begin(claim.jobs, now)
            await asyncio.sleep(0)  # the handlers begin before the next claim is made: 0.1 ms of a pick-up
        ends = [end for end in self.throttled.values() if end > now]
        dues = ends if claim.next_due is None else [claim.next_due, *ends]
        return claim.jobs, min(dues, default=None)

    def _tasks(self, now: int) -> dict[str, int | None]:
        if not self.throttled:
            return self._worker.caps
        self.throttled = {task: end for task, end in self.throttled.items() if end > now}
        return {task: cap for task, cap in self._worker.caps.items() if task not in self.throttled}

    async def _begin(self, jobs: list[Job], now: int) -> None:
        lines = self._worker.settings.log_lines
        holds = [Hold(job, self._worker.tasks[job.task], now, lines) for job in jobs]
        for hold in holds:
            self._worker.desk.take(hold)
        if self.stopping:
            await self.give_back(holds)
            return
        suspects = [hold for hold in holds if self._is_suspect(hold)]
        for hold in holds:
            if not suspects or hold not in suspects:
                self._worker.executor.start(hold)
        if suspects:
            await self._isolate(suspects)

    # -- suspects ------------------------------------------------------------------------------------------------------

    def _is_suspect(self, hold: Hold) -> bool:
        """On its last chance: if this run vanishes too, the job is dead."""
        seen = hold.job.interruptions
        return 0 < seen == hold.task.policy.max_interruptions and not hold.task.cpu  # that one dies alone anyway

    async def _isolate(self, suspects: list[Hold]) -> None:
        """Run a job on its last chance alone in this process: whichever kills its worker then dies alone, and the
        neighbours that only ever died with it do not share its end."""
        if self._suspect is not None and not self._suspect.handler_done:
            await self.give_back(suspects, later=round(ALONE_WITHIN * 1_000))
            return
        await self.give_back(suspects[1:])
        self._suspect = suspect = suspects[0]
        desk = self._worker.desk
        alone = await self._wait_until(lambda: desk.running <= 1, ALONE_WITHIN)
        if self.stopping:
            await self.give_back([suspect])
            return
        event = "suspect.alone" if alone else "suspect.beside"
        emit(event, logging.WARNING, job_id=suspect.job.id, task=suspect.job.task)
        self._worker.executor.start(suspect)
        await self._wait_until(lambda: suspect.handler_done, ALONE_FOR)

    async def _wait_until(self, true: Callable[[], bool], seconds: float | None = None) -> bool:
        """Claim nothing until then, or until stopped. False: it did not come true in time."""
        self._awaited = true
        try:
            async with asyncio.timeout(seconds):
                if self.stuck:
                    self.rounds.look()
                while self.stuck and not self.stopping:
                    await self._worker.desk.changed()
        except TimeoutError:
            return False
        finally:
            self._awaited = None
        return True

    # -- giving back ---------------------------------------------------------------------------------------------------

    async def give_back(self, holds: list[Hold], later: int = 0) -> None:
        """Release jobs that have not begun, due in `later` ms: no interruption is counted."""
        now = self._worker.clock.now()

        async def back(hold: Hold) -> None:
            policy = hold.task.policy
            try:
                await self._worker.settler.write(hold, lambda job: states.release(job, now, now + later, policy))
            finally:
                self._worker.desk.drop(hold)

        await asyncio.gather(*(back(hold) for hold in holds))

    async def close(self) -> None:
        """Give back what a claim took that was cut off."""
        try:
            if self._unsure:
                await self._give_back_unsure()
        except StoreError as error:
            emit("claim.failed", logging.WARNING, worker=self._worker.id, error=str(error))

    async def _give_back_unsure(self) -> None:
        """A claim whose answer was lost may have been made: find what it took, and release it at once."""
        query = Query(states=(State.RUNNING,), worker=self._worker.id, limit=BATCH_ROWS)
        while True:
            page = await self._worker.store.find(query)
            ours = [job for job in page.jobs if job.token in self._unsure]
            now = self._worker.clock.now()
            released = [states.release(j, now, now, self._worker.tasks[j.task].policy) for j in ours]
            if released:
                await self._worker.store.save(released)
                emit("claim.given_back", logging.WARNING, worker=self._worker.id, jobs=len(released))
            if page.cursor is None:
                break
            query = query.evolve(after=page.cursor)
        self._unsure.clear()


async def first_of(*waits: Awaitable[object]) -> None:
    """Wait for the first of some awaitables, raise what it raised, and end the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
