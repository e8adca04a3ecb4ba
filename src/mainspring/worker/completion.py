"""Completions: a handler ends its job in a transaction of its own, so that its effects happen exactly once.

`ctx.mark_completed` writes a small record in that transaction; the record alone says that the unit of work is done.
The job's row is written later, outside, by whoever finds the record: this worker soon after the commit, or the next
one that claims the job, before its handler runs. Two runs of one unit of work write the same record, so that the
second transaction cannot commit. Why it is not the row itself: docs/decisions/0016-completion-in-a-transaction.md.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mainspring.core import states
from mainspring.core.job import Job, State
from mainspring.core.outcome import Failure, Outcome, Steer, Success
from mainspring.core.policy import DAY
from mainspring.core.records import COMPLETION, Record, completion_name
from mainspring.errors import DefinitionError, LeaseLost, StoreError
from mainspring.events import emit
from mainspring.worker.raised import Died

if TYPE_CHECKING:
    from mainspring.worker.hold import Hold
    from mainspring.worker.worker import Worker

KEPT = 3 * DAY
"""How long a completion is kept: longer than any transaction can live that might write it again, and than a weekend
without workers, after which the job of one that died is found again."""
FIRST_LOOK = 0.02
LONGEST_LOOK = 1.0
"""Seconds between two looks whether a transaction of the caller's own has committed."""


class AlreadyCompleted(Steer):
    """Another run of this job has completed it. Not an error: let it pass, so that this transaction is rolled back."""


class Completion:
    """What one run has said of its own completion."""

    __slots__ = ("looking", "over", "refused", "result", "watcher")

    def __init__(self) -> None:
        self.looking = asyncio.Lock()
        """Held while the record is read and the run is settled by it: that happens once."""
        self.over = asyncio.Event()
        """The handler has ended."""
        self.refused: Exception | None = None
        """Why the transaction under way may not commit."""
        self.result: str | None = None
        """What the run was settled with."""
        self.watcher: asyncio.Task[None] | None = None


class Completions:
    """The completions of a worker's runs."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._possible: bool | None = None
        """Whether the store has transactions; without them there are no records to look for."""

    # -- in the handler --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def transaction(self, hold: Hold) -> AsyncIterator[Any]:
        """A transaction of the store; what it completes is settled when it has committed."""
        async with self._worker.store.transaction() as session:
            hold.sessions = (*hold.sessions, session)
            try:
                yield session
                if hold.completion is not None and hold.completion.refused is not None:
                    raise hold.completion.refused  # a handler that swallowed it must not commit
            finally:
                hold.sessions = tuple(each for each in hold.sessions if each is not session)
                if hold.completion is not None:
                    hold.completion.refused = None
        if hold.completion is not None and not await self.landed(hold):
            self._watch(hold, hold.completion)  # the store did not answer

    async def mark(self, hold: Hold, value: Any, within: Any) -> None:
        """Complete the job when the transaction `within` commits. Twice is once.

        Raises `LeaseLost`, `AlreadyCompleted`, and what `within` and the result raise.
        """
        if within is None:
            raise DefinitionError("mark_completed without a transaction. Expected session=, your own open one.")
        record = self._record(hold, hold.task.encode_result(value))
        if hold.settled:
            return
        hold.completion = completion = hold.completion or Completion()
        ours = any(session is within for session in hold.sessions)
        try:
            await self._check(hold)
            await self._write(hold, record, within, ours)
        except (LeaseLost, AlreadyCompleted) as refused:
            completion.refused = refused if ours else None
            raise
        if not ours:
            self._watch(hold, completion)

    async def _check(self, hold: Hold) -> None:
        """Raise `LeaseLost` unless the job is still this run's."""
        [row] = [None] if hold.stop == "lost" else await self._worker.store.get([hold.job.id])
        if row is None or row.token != hold.job.token or row.state is not State.RUNNING:
            raise LeaseLost(hold.job.id)

    def _record(self, hold: Hold, result: str | None) -> Record:
        job, now = hold.job, self._worker.clock.now()
        value = {"result": result, "token": job.token, "claim": job.claims, "worker": job.worker, "at": now}
        return Record(kind=COMPLETION, name=_name(job), written_at=now, expires_at=now + KEPT, value=value)

    async def _write(self, hold: Hold, record: Record, within: Any, ours: bool) -> None:
        [written] = await self._worker.store.write([record], within)
        if written is not None:
            return
        found = await self._worker.store.read(COMPLETION, record.name)
        if found is None:
            return  # written before in this very transaction
        # By this very run, in an earlier transaction: in one of `ctx.transaction` that is a callback that runs again
        # after a commit whose answer was lost, and what it wrote this time must not be committed too.
        if found.value["token"] == hold.job.token and not ours:
            return
        written = None
        if _spent(found, hold.job):
            [written] = await self._worker.store.write([record.evolve(version=found.version)], within)
        if written is None:
            raise AlreadyCompleted(f"claim {found.value['claim']} of job {hold.job.id} has completed it already")

    # -- looking for it ----------------------------------------------------------------------------------------------

    async def find(self, job: Job) -> Record | None:
        """The record that completes the unit of work which `job` is now, if it has been committed."""
        record = await self._worker.store.read(COMPLETION, _name(job))
        return None if record is None or _spent(record, job) else record

    async def _find_patiently(self, hold: Hold) -> Record | None:
        delay = FIRST_LOOK
        while True:
            try:
                return await self.find(hold.job)
            except StoreError as error:
                emit("completion.unread", logging.WARNING, job_id=hold.job.id, error=str(error))
                if hold.job.due_at <= self._worker.clock.now() or hold.stop == "lost":
                    raise
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(delay * 2, LONGEST_LOOK)

    def _are_possible(self) -> bool:
        if self._possible is None:
            try:
                self._worker.store.transaction()
                self._possible = True
            except DefinitionError:
                self._possible = False
        return self._possible

    # -- settling by it ----------------------------------------------------------------------------------------------

    async def landed(self, hold: Hold) -> bool:
        """Whether this run's completion has been committed; if so, the job ends now, and no later."""
        if hold.completion is None:
            return False
        # In a task of its own: a handler that is cancelled here must not cut a settle in two.
        await asyncio.shield(self._worker.loop.create_task(self._look(hold, hold.completion)))
        return hold.settled

    async def _look(self, hold: Hold, completion: Completion) -> None:
        async with completion.looking:
            if hold.settled or hold.stop == "lost":
                return
            try:
                record = await self.find(hold.job)
            except StoreError as error:
                emit("completion.unread", logging.WARNING, job_id=hold.job.id, error=str(error))
                return
            if record is not None and not await self.settle(hold, record):
                self._worker.executor.stop(hold, "lost", "the lease was lost")

    async def settle(self, hold: Hold, record: Record) -> bool:
        """End the job as its completion says. False: it is no longer ours; who has it now finds the record."""
        result: str | None = record.value["result"]
        now, policy, outcome = self._worker.clock.now(), hold.task.policy, Success(result=result)

        def transition(job: Job) -> Job:
            return states.settle(job.evolve(input=None), outcome, now, policy)

        row = await self._worker.settler.write(hold, transition, len(result or ""))
        if row is None:
            return False
        if record.value["token"] != row.token:
            emit("completion.found", job_id=row.id, task=row.task, claim=record.value["claim"])
        if hold.completion is not None:
            hold.completion.result = result
        self._worker.settled(row)
        return True

    def _watch(self, hold: Hold, completion: Completion) -> None:
        """Look for the record until the handler ends: the transaction is the caller's, and nobody tells of its end."""
        if completion.watcher is None or completion.watcher.done():
            completion.watcher = self._worker.loop.create_task(self._keep_looking(hold, completion))

    async def _keep_looking(self, hold: Hold, completion: Completion) -> None:
        delay = FIRST_LOOK
        while not (hold.settled or hold.handler_done or hold.stop == "lost"):
            try:
                async with asyncio.timeout(delay):
                    await completion.over.wait()
                return
            except TimeoutError:
                await self.landed(hold)
            delay = min(delay * 1.5, LONGEST_LOOK)

    # -- before the handler and at its end ---------------------------------------------------------------------------

    async def ended_before(self, hold: Hold) -> bool:
        """Whether an earlier run has completed the job, whose worker could not settle it. If so, it is settled now.

        Raises the last `StoreError` where the lease ends before the store has told.
        """
        record = await self._find_patiently(hold) if self._are_possible() else None
        if record is not None:
            await self.settle(hold, record)
        return record is not None

    async def ended(self, hold: Hold, completion: Completion, outcome: Outcome | Died | None) -> bool:
        """Whether the run ends by its completion, which is stored then. Else what the handler did counts.

        Raises the last `StoreError` where the lease ends before the store has told.
        """
        completion.over.set()
        if completion.watcher is not None:
            await asyncio.wait([completion.watcher])
        async with completion.looking:
            if not hold.settled and hold.stop != "lost":
                record = await self._find_patiently(hold)
                if record is not None and not await self.settle(hold, record):
                    hold.stop, hold.reason = "lost", "another worker has it"
        if hold.settled:
            _say_ignored(hold, completion, outcome)
        return hold.settled


def _name(job: Job) -> str:
    return completion_name(job.id, job.ask, job.scheduled_at)


def _spent(record: Record, job: Job) -> bool:
    """Whether the job has ended by this record or after it: then it runs because somebody said so, in the very
    millisecond for which it was asked first."""
    return any(run.outcome == "succeeded" and run.claim >= record.value["claim"] for run in job.runs)


def _say_ignored(hold: Hold, completion: Completion, outcome: Outcome | Died | None) -> None:
    """Say what the handler did after it had completed its job, if that would have made a difference."""
    match outcome:
        case Success() if outcome.result in (None, completion.result):
            return
        case Failure():
            if outcome.error.type == AlreadyCompleted.__name__:
                return
            what = str(outcome.error)
        case None:
            what = "released"
        case _:
            what = type(outcome).__name__.lower()
    emit("completion.kept", logging.WARNING, job_id=hold.job.id, task=hold.job.task, ignored=what)
