"""What a worker tells the log and the listeners of its app: rows that it has written, as events.

Makes none that nobody wants. An app tells of what it has enqueued.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from mainspring.core.app_event import OF_OUTCOME, AppEvent, EventName, of_job
from mainspring.core.clock import Clock
from mainspring.core.handle import JobHandle
from mainspring.core.job import Job, Run, State
from mainspring.core.request import Request
from mainspring.events import emit
from mainspring.worker.listeners import Listeners

OF_STATE: dict[State, EventName] = {
    State.COMPLETED: "job.completed",
    State.FAILED: "job.failed",
    State.DEAD: "job.dead",
    State.CANCELLED: "job.cancelled",
}


def tell_enqueued(
    listeners: Listeners, requests: Sequence[Request[Any]], handles: Sequence[JobHandle[Any]], now: int
) -> None:
    """The jobs that these calls made. Not of one in a transaction: whether that commits is not known here."""
    for request, handle in zip(requests, handles, strict=True):
        if handle.created and request.within is None:
            listeners.tell(
                AppEvent(
                    name="job.enqueued",
                    at=now,
                    job_id=handle.id,
                    task=handle.task,
                    queue=request.queue,
                    state=State.WAITING.value,
                )
            )


class Telling:
    """Tells for one worker."""

    def __init__(self, listeners: Listeners, worker: str, clock: Clock) -> None:
        self._listeners = listeners
        self._worker = worker
        self._clock = clock

    def worker(self, name: EventName) -> None:
        if self._listeners.wants(name):
            self._listeners.tell(AppEvent(name=name, at=self._clock.now(), worker=self._worker))

    def started(self, job: Job) -> None:
        """A handler is called now."""
        if self._listeners.wants("run.started"):
            self._job("run.started", job.evolve(error=None))

    def lost(self, job: Job, why: object) -> None:
        self._job("run.lost", job, reason=str(why))

    def vanished(self, before: Job, row: Job) -> None:
        """`row` has runs that `before` had not: of workers that died, as it was found now."""
        known = {run.claim for run in before.runs}
        for run in row.runs:
            if run.claim not in known:
                self._job(OF_OUTCOME.get(run.outcome, "run.interrupted"), row, run)

    def settled(self, row: Job) -> bool:
        """A run has ended, and is stored. Answers whether it failed."""
        run = row.runs[-1] if row.runs else None
        name = None if run is None else OF_OUTCOME.get(run.outcome)
        if run is None or name is None:
            return False
        self._job(name, row, run)
        if name != "run.failed":
            return False
        emit("run.failed", logging.WARNING, job_id=row.id, task=row.task, attempt=run.attempt, error=run.error)
        if row.state is State.WAITING and row.attempt > 1:
            self._job("run.retrying", row, run)
        return True

    def left(self, row: Job) -> None:
        """A job is no longer this worker's, its handler called or not."""
        if row.state is State.DEAD:
            emit("job.dead", logging.ERROR, job_id=row.id, task=row.task, reason=row.reason)
        name = OF_STATE.get(row.state)
        if name is not None:
            self._job(name, row)
            self._job("job.ended", row)

    def _job(self, name: EventName, row: Job, run: Run | None = None, reason: str = "") -> None:
        if self._listeners.wants(name):
            self._listeners.tell(of_job(name, row, self._clock.now(), self._worker, run, reason))
