"""What listeners are told: the names of the events, and the record that comes with each.

Events are told in the process where they happen; they are not stored. This module calls nobody.
"""

from __future__ import annotations

import difflib
from typing import Literal, get_args

from mainspring.core.job import Error, Frozen, Job, Run
from mainspring.errors import DefinitionError

EventName = Literal[
    "run.started",
    "run.succeeded",
    "run.failed",
    "run.retrying",
    "run.snoozed",
    "run.skipped",
    "run.cancelled",
    "run.released",
    "run.interrupted",
    "run.lost",
    "job.enqueued",
    "job.completed",
    "job.failed",
    "job.dead",
    "job.cancelled",
    "job.ended",
    "worker.started",
    "worker.stopped",
]
EVENTS: tuple[EventName, ...] = get_args(EventName)
OF_OUTCOME: dict[str, EventName] = {
    "succeeded": "run.succeeded",
    "failed": "run.failed",
    "timed_out": "run.failed",
    "dead": "run.failed",
    "snoozed": "run.snoozed",
    "skipped": "run.skipped",
    "cancelled": "run.cancelled",
    "released": "run.released",
    "interrupted": "run.interrupted",
}
"""How a run ended, as an event."""


class AppEvent(Frozen, frozen=True, kw_only=True):
    """Something that happened here: what `app.on` tells. Fields that an event has no use for are empty."""

    name: EventName
    at: int
    """ms since the epoch, on the store's clock."""
    worker: str = ""
    """The id of the worker that tells it."""
    job_id: str = ""
    task: str = ""
    queue: str = ""
    state: str = ""
    """Of the job, as it is stored now: waiting, running, completed, failed, dead, cancelled."""
    attempt: int = 0
    """Of the run, from 1. Of a job that has ended: how many it had."""
    outcome: str = ""
    """How the run ended: succeeded, failed, timed_out, dead, snoozed, skipped, cancelled, released, interrupted."""
    duration: float | None = None
    """Seconds that the run took."""
    error: Error | None = None
    """Of the run, where it failed: type, message, traceback."""
    reason: str = ""
    """In words: why it was skipped, cancelled, snoozed, is dead."""


def check_event(name: object) -> None:
    """Raise `DefinitionError`, with the nearest name, unless there is such an event."""
    if name in EVENTS:
        return
    near = difflib.get_close_matches(str(name), EVENTS, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise DefinitionError(f"unknown event: {name!r}. {hint}Expected one of: {', '.join(EVENTS)}.")


def of_job(name: EventName, row: Job, at: int, worker: str, run: Run | None = None, reason: str = "") -> AppEvent:
    """The event `name` of a job, or of one of its runs."""
    return AppEvent(
        name=name,
        at=at,
        worker=worker,
        job_id=row.id,
        task=row.task,
        queue=row.queue,
        state=row.state.value,
        attempt=_attempt(row) if run is None else run.attempt,
        outcome="" if run is None else run.outcome,
        duration=None if run is None else (run.ended_at - run.started_at) / 1000,
        error=row.error if run is None else run.error,
        reason=reason or (row.reason if run is None else run.note),
    )


def _attempt(row: Job) -> int:
    return row.attempts if row.state.terminal else row.attempt
