"""The settler: every write of a held job, in batches.

A write is a pure transition, applied to the row as last seen. Where the swap is lost because somebody else wrote the
row (a cancel, an ask), it is applied again to the fresh one; where the fence is lost, it is dropped and the caller
told. A store that does not answer is asked again until the lease ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mainspring.batching import Batcher
from mainspring.core import states
from mainspring.core.job import Job, State
from mainspring.errors import StoreError
from mainspring.events import emit
from mainspring.stores.base import BATCH_BYTES, BATCH_ROWS, Event
from mainspring.worker.hold import Hold
from mainspring.worker.text import append

if TYPE_CHECKING:
    from mainspring.worker.worker import Worker

Transition = Callable[[Job], Job]
FIRST_BACK_OFF = 0.05
LONGEST_BACK_OFF = 1.0
PATIENCE = 1.0
"""Seconds after which a batch that is not stored yet lets the next one overtake it. A row that somebody's open
transaction holds must not keep the settles of its neighbours back until their leases end."""
ROW_BYTES = 1_024
"""What a row weighs in a batch besides its result; one without is well under that."""


Answer = Job | Exception | None
"""The new row; None: the job is no longer ours; or what the transition raised."""


class Write(NamedTuple):
    hold: Hold
    transition: Transition
    done: Callable[[Answer], None] | None = None
    size: int = ROW_BYTES


class Settler:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._batcher: Batcher[Write, Answer] = Batcher(
            self._send, most=BATCH_ROWS, size=_size_of, most_size=BATCH_BYTES, patience=PATIENCE
        )

    async def write(self, hold: Hold, transition: Transition, size: int = 0) -> Job | None:
        """Save what `transition` makes of the job. None: it is no longer ours, nothing was changed.

        Where the hold is settled, nothing is changed either, and the row is what it was then.
        """
        if hold.settled:
            return hold.job
        if not self._take(hold):
            await self._own(hold)
        try:
            await self.flush(hold)
            answer = await self._batcher.submit(Write(hold, transition, size=ROW_BYTES + size))
        finally:
            hold.settling = False
        if isinstance(answer, Exception):
            raise answer
        return answer

    def hand_in(self, hold: Hold, transition: Transition, done: Callable[[Answer], None], size: int = 0) -> None:
        """As `write`, without waiting: `done` is called with the answer. The way of every settle, for it costs neither
        a wake-up nor a turn of the loop per job (8 of 115 us in a drain of no-op jobs). `size`: of the result."""
        if hold.lines or not self._take(hold):
            self._worker.loop.create_task(self._write_and_tell(hold, transition, done, size))
        else:
            self._batcher.submit(Write(hold, transition, done, ROW_BYTES + size))

    async def _write_and_tell(
        self, hold: Hold, transition: Transition, done: Callable[[Answer], None], size: int
    ) -> None:
        try:
            done(await self.write(hold, transition, size))
        except Exception as error:
            done(error)

    def _take(self, hold: Hold) -> bool:
        """Become the hold's one writer, unless a renewal is in flight."""
        with self._worker.desk.lock:
            hold.settling = not hold.beating
        return hold.settling

    async def _own(self, hold: Hold) -> None:
        """Become the hold's one writer, after the renewal in flight."""
        while True:
            with self._worker.desk.lock:
                if not hold.beating:
                    hold.settling = True
                    return
                hold.parked = parked = asyncio.get_running_loop().create_future()
            await parked

    async def flush(self, hold: Hold) -> None:
        """Log lines are in the store before the end of the run is: who waits for the result finds them."""
        lines = hold.take_lines()
        if not lines:
            return
        try:
            await append(self._worker.store, lines, self._worker.settings.log_lines)
        except StoreError as error:
            emit("log.lost", logging.WARNING, job_id=hold.job.id, lines=len(lines), error=str(error))

    # -- sending ---------------------------------------------------------------------------------------------------

    async def _send(self, writes: list[Write]) -> Sequence[Answer]:
        answers = await self._answers(writes)
        await self._tell([answer for answer in answers if isinstance(answer, Job)])
        for write, answer in zip(writes, answers, strict=True):
            if write.done is not None:
                write.done(answer)
        return answers

    async def _answers(self, writes: list[Write]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        pending = list(range(len(writes)))
        back_off = FIRST_BACK_OFF
        while pending:
            try:
                pending = await self._try(writes, pending, answers)
            except StoreError as error:
                emit("settle.retry", logging.WARNING, jobs=len(pending), error=str(error))
                await asyncio.sleep(back_off)
                back_off = min(back_off * 2, LONGEST_BACK_OFF)
                pending = await self._after_failure(writes, [n for n in pending if n not in answers], answers)
            except Exception as error:  # a fault of ours or of the driver: nobody may wait for ever
                answers |= await self._one_by_one(writes, [n for n in pending if n not in answers], error)
                pending = []
        return [answers[n] for n in range(len(writes))]

    async def _one_by_one(self, writes: list[Write], failed: list[int], error: Exception) -> dict[int, Answer]:
        """A row that cannot be written must not cost those that only shared its batch."""
        if len(failed) == 1:
            return {failed[0]: error}
        return {n: (await self._answers([writes[n]]))[0] for n in failed}

    async def _try(self, writes: list[Write], pending: list[int], answers: dict[int, Answer]) -> list[int]:
        """Save once what is `pending`; answers what somebody else has changed meanwhile, and is ours all the same."""
        jobs = {n: made for n in pending if (made := self._apply(writes[n], n, answers)) is not None}
        saved = await self._worker.store.save(list(jobs.values()))
        for n, row in zip(jobs, saved, strict=True):
            if row is not None:
                answers[n] = self._accept(writes[n].hold, row)
        return await self._refresh(writes, [n for n in jobs if n not in answers], answers)

    def _apply(self, write: Write, n: int, answers: dict[int, Answer]) -> Job | None:
        hold = write.hold
        try:
            job = write.transition(hold.job)
        except Exception as error:
            answers[n] = error
            return None
        return job if hold.progress is None else job.evolve(progress=hold.progress)

    def _accept(self, hold: Hold, row: Job) -> Job:
        hold.job = row if row.input is None and row.result is None else row.evolve(input=None, result=None)
        hold.progress = None
        hold.settled = row.state is not State.RUNNING
        return row

    async def _refresh(self, writes: list[Write], lost: list[int], answers: dict[int, Answer]) -> list[int]:
        """Look again at the rows of lost swaps; answers which are still ours to write."""
        if not lost:
            return []
        rows = await self._worker.store.get([writes[n].hold.job.id for n in lost])
        again: list[int] = []
        for n, row in zip(lost, rows, strict=True):
            hold = writes[n].hold
            if row is None or row.token != hold.job.token:
                answers[n] = None
            elif states.landed(row, hold.job):
                answers[n] = self._accept(hold, row)
            else:
                hold.job = row.evolve(input=None, result=None)
                again.append(n)
        return again

    async def _after_failure(self, writes: list[Write], failed: list[int], answers: dict[int, Answer]) -> list[int]:
        """The save may have landed all the same: look, if the store answers now, and give up what has no lease left."""
        try:
            pending = await self._refresh(writes, failed, answers)
        except StoreError:
            pending = failed
        now = self._worker.clock.now()
        for n in pending:
            if writes[n].hold.job.due_at <= now:
                answers[n] = None
        return [n for n in pending if n not in answers]

    async def _tell(self, rows: list[Job]) -> None:
        """Hints, after the fact: followers learn of new states, who waits for a capped task's slot looks again."""
        store, caps = self._worker.store, self._worker.caps
        capped = {row.queue for row in rows if row.state is not State.RUNNING and caps.get(row.task) is not None}
        try:
            if store.followed:
                await store.publish(self._events(rows))
            for queue in capped:
                await store.wake(queue)
        except StoreError as error:
            emit("hint.lost", logging.DEBUG, error=str(error))

    def _events(self, rows: list[Job]) -> list[Event]:
        now = self._worker.clock.now()
        ended = [row for row in rows if row.state is not State.RUNNING]
        return [
            Event(job_id=j.id, task=j.task, queue=j.queue, kind="state", status=states.status(j, now), at=now)
            for j in ended
        ]


def _size_of(write: Write) -> int:
    return write.size
