"""Storing calls: insert, and where the key is taken, join the job that holds it.

What a taken key means is decided in `core.states`; here is the loop around it: add, join, save by swap, and again where
somebody else was faster. Adding twice is adding once, so a lost answer is answered by asking again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from time import monotonic
from typing import Any, NamedTuple

from mainspring.core import states
from mainspring.core.clock import Clock
from mainspring.core.job import Job, State
from mainspring.core.request import ask_of
from mainspring.errors import Contended, StoreError, StoreUnavailable
from mainspring.stores.base import PartlyAdded, Store

SWAPS = 50
"""How many times a row may change under one call."""
ADD_DEADLINE = 5.0
"""Seconds after which a store that is unavailable is not asked again, counted from the beginning of the first attempt:
one that says so at once is asked often, one that is silent until its own time-out once or twice."""
FIRST_DELAY = 0.05


class Call(NamedTuple):
    """A job to store, and the bound of its burst."""

    job: Job
    max_wait: int | None = None


class Stored(NamedTuple):
    """The row that holds the call now, without payload; and whether the call made it."""

    row: Job
    created: bool


Answer = Stored | Exception


class Joiner:
    """Stores calls in batches. One batch is one round trip, and two more where keys are taken."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.patience = ADD_DEADLINE

    async def put(self, calls: Sequence[Call], within: Any = None, *, leave: bool = False) -> list[Answer]:
        """Store the calls; answer, in order, the rows that hold them. At most one batch.

        `leave`: a call whose key somebody's open transaction holds is answered by `PartlyAdded`, and holds up no other.
        Calls of one debounced key in one batch go as one: the newest, with the first one's place in the burst.
        """
        standing = _collapse(calls)
        pending = sorted(set(standing))
        answers: dict[int, Answer] = {}
        in_doubt: set[int] = set()
        until = monotonic() + self.patience
        for lost_before in range(SWAPS):
            if lost_before:
                await asyncio.sleep(random.uniform(0, min(0.002 * 2**lost_before, 0.1)))
            added = await self._add([_standing_for(calls, standing, n) for n in pending], within, until, leave)
            rows = dict(zip(pending, added, strict=True))
            answers |= {n: row for n, row in rows.items() if isinstance(row, PartlyAdded)}
            rows_there = {n: row for n, row in rows.items() if isinstance(row, Job)}
            joined = self._join(calls, rows_there, answers, in_doubt)
            pending = await self._save(joined, answers, in_doubt, within, until)
            if not pending:
                break
        return [answers[n] if n == m else _shared(answers[n]) for m, n in enumerate(standing)]

    def _join(
        self, calls: Sequence[Call], rows: dict[int, Job], answers: dict[int, Answer], in_doubt: set[int]
    ) -> dict[int, Job]:
        """Answer the calls that need nothing more; what the others make of the rows that hold their keys."""
        now = self._clock.now()
        joined: dict[int, Job] = {}
        for n, row in rows.items():
            call = calls[n]
            mine = row.ask == call.job.ask
            changed = None if mine else states.join(row, ask_of(call.job), now, call.max_wait)
            if changed is None:
                answers[n] = Stored(row, created=mine and n not in in_doubt)
            else:
                joined[n] = changed
        return joined

    async def _save(
        self, joined: dict[int, Job], answers: dict[int, Answer], in_doubt: set[int], within: Any, until: float
    ) -> list[int]:
        """Save what was joined; answers which calls have to begin anew: if they cannot, their answers stand."""
        if not joined:
            return []
        try:
            saved = await self._store.save(list(joined.values()), within)
        except StoreUnavailable as error:
            if within is not None:
                raise
            answers |= dict.fromkeys(joined, error)
            in_doubt.update(joined)
            return list(joined) if monotonic() < until else []  # adding again tells which of them have landed
        for n, row in zip(joined, saved, strict=True):
            answers[n] = _contended(joined[n]) if row is None else Stored(row, created=False)
        if within is None:
            await self._wake([row for row in saved if row is not None])
        return [n for n, row in zip(joined, saved, strict=True) if row is None]

    async def _add(self, jobs: list[Job], within: Any, until: float, leave: bool) -> Sequence[Job | PartlyAdded]:
        if within is not None:
            return await self._store.add(jobs, within)
        delay = FIRST_DELAY
        while True:
            try:
                return await self._store.add(jobs)
            except StoreUnavailable as error:
                if leave and isinstance(error, PartlyAdded):
                    await self._wake([row for row in error.rows if row is not None])
                    return [error if row is None else row for row in error.rows]
                if monotonic() + delay >= until:
                    why = error.why if isinstance(error, PartlyAdded) else error
                    raise why from why.__cause__
                await asyncio.sleep(delay * random.uniform(0.5, 1))
                delay *= 2

    async def _wake(self, rows: list[Job]) -> None:
        try:
            for queue in {row.queue for row in rows if row.state is State.WAITING}:
                await self._store.wake(queue)
        except StoreError:
            pass  # a hint; polling is the truth


def _contended(job: Job) -> Contended:
    return Contended(f"the key of job {job.id} changed {SWAPS} times in a row. The call was not stored; try again.")


def _shared(answer: Answer) -> Answer:
    """The answer for a call for which another one stood."""
    return answer._replace(created=False) if isinstance(answer, Stored) else answer


def _collapse(calls: Sequence[Call]) -> list[int]:
    """For each call the one that stands for it: for a debounced key the last of its calls, else itself."""
    newest: dict[str, int] = {}
    for n, (job, _) in enumerate(calls):
        if job.rule == "merge" and job.order is None:
            newest[job.id] = n
    if not newest:
        return list(range(len(calls)))
    return [newest.get(call.job.id, n) if call.job.rule == "merge" else n for n, call in enumerate(calls)]


def _standing_for(calls: Sequence[Call], standing: list[int], n: int) -> Job:
    """The job of call `n`, as of the first call it stands for."""
    job, max_wait = calls[n]
    if job.rule != "merge":
        return job
    first = calls[standing.index(n)].job
    if first is job:
        return job
    bound = job.due_at if max_wait is None else min(job.due_at, first.asked_at + max_wait)
    return job.evolve(first_asked_at=first.asked_at, due_at=max(bound, job.asked_at))
