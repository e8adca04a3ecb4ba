"""Draining: to let a worker run what is due, and what that asks for, until nothing is left. And to count what became
of it. For tests, and for programs that work until there is nothing more to do.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mainspring.core.duration import Duration, humanize, milliseconds
from mainspring.core.job import Job
from mainspring.core.outcome import Steer
from mainspring.errors import MainspringError, NotDrained
from mainspring.worker.pump import first_of

if TYPE_CHECKING:
    from mainspring.worker.quiet import Quiet
    from mainspring.worker.worker import Worker

LIMIT = 1_000
TIMEOUT = 10
SHOWN = 10
"""Jobs that a message names."""
BECAME = {
    "succeeded": "completed",
    "skipped": "completed",
    "failed": "retrying",
    "timed_out": "retrying",
    "snoozed": "snoozed",
}
"""What counts for a run after which its job waits again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What became of the runs of a drain. A job that failed, was tried again and succeeded counts under both."""

    completed: int = 0
    retrying: int = 0
    """Runs that failed, after which the job waits for its next attempt."""
    failed: int = 0
    dead: int = 0
    cancelled: int = 0
    snoozed: int = 0
    errors: tuple[BaseException, ...] = field(default=(), compare=False, repr=False)
    """What the handlers raised, in order; without `Snooze` and its like."""

    @property
    def runs(self) -> int:
        return self.completed + self.retrying + self.failed + self.dead + self.cancelled + self.snoozed


class Tally:
    """Counts what leaves the hands of a worker, as long as it is one of its `tallies`."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._became: Counter[str] = Counter()
        self.tasks: Counter[str] = Counter()
        self.ended: set[str] = set()
        """The ids of the jobs of which a run has ended."""
        self.errors: list[tuple[str, BaseException]] = []
        """What handlers raised, in order, each with the id of its job."""
        self.over = asyncio.Event()
        """More than `limit` runs."""

    @property
    def runs(self) -> int:
        return self._became.total()

    def left(self, row: Job) -> None:
        """A job has left the running state."""
        last = row.runs[-1].outcome if row.runs else ""
        became = row.state.value if row.state.terminal else BECAME.get(last)
        self.ended.add(row.id)
        if became is None:
            return  # it was given back
        self._became[became] += 1
        self.tasks[row.task] += 1
        if self.limit is not None and self.runs > self.limit:
            self.over.set()

    def raised(self, job: Job, error: BaseException) -> None:
        """A handler has failed. What steers a job is no error."""
        if not isinstance(error, Steer):
            self.errors.append((job.id, error))

    def check(self) -> None:
        """Raises `NotDrained` where there were more runs than `limit`."""
        if self.limit is None or self.runs <= self.limit:
            return
        counts = ", ".join(f"{task} {count:,} times" for task, count in self.tasks.most_common(SHOWN))
        raise NotDrained(
            f"not drained after {self.limit:,} runs: {counts}. Expected an end: does a job enqueue itself, or is it "
            "snoozed or retried at once, for ever? If there are so many jobs, say so: limit=..."
        )

    def drained(self) -> Drained:
        return Drained(**self._became, errors=tuple(error for _, error in self.errors))


async def drain(
    worker: Worker, quiet: Quiet, timeout: Duration = TIMEOUT, limit: int = LIMIT, raise_errors: bool = False
) -> Drained:
    """See `Worker.drain`."""
    tally = Tally(limit)
    worker.tallies.add(tally)
    try:
        async with asyncio.timeout(milliseconds(timeout, "timeout") / 1000):
            await first_of(quiet.empty(), tally.over.wait(), worker.join())
    except TimeoutError:
        raise NotDrained(_unended(worker, timeout)) from None
    finally:
        worker.tallies.discard(tally)
    tally.check()
    drained = tally.drained()
    if raise_errors:
        raise_first(drained.errors)
    return drained


def raise_first(errors: tuple[BaseException, ...]) -> None:
    """Raise what the first handler raised, if any did, with a note of the others."""
    if not errors:
        return
    others = ", ".join(f"{type(error).__name__}: {error}" for error in errors[1 : 1 + SHOWN])
    if others:
        errors[0].add_note(f"{len(errors) - 1} more of the drained runs failed: {others}")
    raise errors[0]


def _unended(worker: Worker, timeout: Duration) -> str:
    holds = sorted(worker.desk.holds, key=lambda hold: hold.job.id)
    running = ", ".join(f"{hold.job.task} ({hold.job.id}, attempt {hold.job.attempt})" for hold in holds[:SHOWN])
    what = f"still running: {running}" if holds else "no handler runs, but the store did not say that nothing is due"
    waited = humanize(milliseconds(timeout, "timeout"))
    return (
        f"not drained within {waited}: {what}. Expected every handler to come "
        "to its end: let what it waits for happen first, or give more time: timeout=..."
    )


def check_running(worker: Worker, loop: asyncio.AbstractEventLoop | None) -> None:
    """Raises `MainspringError` for a worker that cannot be drained from here."""
    if loop is None:
        raise MainspringError(
            f"worker {worker.id} was not started, and drains nothing. Start it: async with app.worker() as worker: ..."
        )
    if loop is not asyncio.get_running_loop():
        raise MainspringError(f"worker {worker.id} lives in another event loop. Drain it there.")
