"""One transition over many jobs, each by its own swap: safe beside workers, producers and other operators.

There is no transaction over the whole. A job that moves on meanwhile is looked at again and tested again; one that
keeps moving is left alone after many lost swaps, as if it had come after us. So a bulk act can be interrupted between
two pages, and repeated. It holds a page at a time, however many jobs there are.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace

from mainspring.admin.selection import ROWS_WITH_PAYLOAD, Selection, pages
from mainspring.audit import Act
from mainspring.client import Client
from mainspring.core import states
from mainspring.core.job import Job, State
from mainspring.core.policy import Policy
from mainspring.errors import Contended, DefinitionError, IllegalTransition, StoreError
from mainspring.stores.base import BATCH_BYTES, BATCH_ROWS, Event

Transition = Callable[[Job, int, Policy], Job | None]
"""What a row becomes at a time under its task's policy; None: it stays as it is."""
Progress = Callable[[int, int], object]
"""Told after each page how many jobs have been changed so far, of how many that were looked at."""

SWAPS = 50
"""Lost swaps in a row before a call gives up."""
ROW_BYTES = 1_024
"""What a row weighs in a batch besides its runs and its ask."""


async def change_all(
    client: Client, selection: Selection, transition: Transition, act: Act, on_progress: Progress | None = None
) -> int:
    """Apply `transition` to all jobs that are meant; answers how many changed, which `act` knows at any time.

    Jobs that are stored while this goes on are not looked for, and what ends meanwhile is left alone: a job that is
    retried and dies again is not retried for ever. Raises `DefinitionError`, `StoreError`, `Contended`, and what
    `on_progress` raises; what was changed until then stays changed. A cancellation ends it when its page is done.
    """
    if on_progress is not None and not callable(on_progress):
        raise DefinitionError(
            f"bad on_progress: {on_progress!r}. Expected a function of two numbers: changed so far, and looked at."
        )
    begun = client.clock.now()
    selection = replace(selection, as_of=begun)
    bulk = _Bulk(client, selection, transition, act)
    seen = 0
    async for jobs in pages(client.store, selection, begun):
        seen += len(jobs)
        try:
            await _to_its_end(bulk.change(jobs))
        finally:
            if on_progress is not None:
                on_progress(act.changed, seen)
    return act.changed


async def _to_its_end(work: Coroutine[None, None, None]) -> None:
    """Await `work`; a cancellation waits for it, so that what is counted is what was done."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise


class _Bulk:
    def __init__(self, client: Client, selection: Selection, transition: Transition, act: Act) -> None:
        self._client = client
        self._selection = selection
        self._transition = transition
        self._act = act
        self._policies: dict[str, Policy] = {}

    async def change(self, jobs: Sequence[Job]) -> None:
        """Change these rows, looking again at those that moved on."""
        for _ in range(SWAPS):
            new = await self._apply(await self._with_input(jobs))
            lost: list[str] = []
            for batch in _batches(new):
                saved = await self._client.store.save([job.evolve(input=None, result=None) for job in batch])
                self._act.changed += sum(row is not None for row in saved)
                await self._tell([row for row in saved if row is not None])
                lost += [job.id for job, row in zip(batch, saved, strict=True) if row is None]
            if not lost:
                return
            jobs = await self._again(lost)
        raise Contended(
            f"{len(jobs)} jobs changed {SWAPS} times in a row; {self._act.changed} others were done. Try again."
        )

    async def _apply(self, jobs: Sequence[Job]) -> list[Job]:
        now = self._client.clock.now()
        new: list[Job] = []
        for job in jobs:
            try:
                made = self._transition(job, now, await self._policy(job.task))
            except IllegalTransition:
                continue  # it is in a state in which this cannot be done: not one of those meant
            if made is not None:
                new.append(made)
        return new

    async def _policy(self, task: str) -> Policy:
        if task not in self._policies:
            self._policies[task] = await self._client.policy(task)
        return self._policies[task]

    async def _with_input(self, jobs: Sequence[Job]) -> list[Job]:
        """Running rows with their input, which a further run of them needs; the others as they are."""
        bare = [job.id for job in jobs if job.state is State.RUNNING and job.input is None]
        return [job for job in jobs if job.id not in set(bare)] + await self._again(bare)

    async def _again(self, ids: Sequence[str]) -> list[Job]:
        """These rows as they are now, where they are still meant."""
        now = self._client.clock.now()
        rows: list[Job] = []
        for first in range(0, len(ids), ROWS_WITH_PAYLOAD):
            fresh = await self._client.store.get(ids[first : first + ROWS_WITH_PAYLOAD])
            rows += [row.evolve(result=None) for row in fresh if row is not None and self._selection.holds(row, now)]
        return rows

    async def _tell(self, rows: Sequence[Job]) -> None:
        """Hints: to followers, to the workers that run these jobs, and to the queues that have more to do."""
        now = self._client.clock.now()
        events = [
            Event(job_id=job.id, task=job.task, queue=job.queue, kind="state", status=states.status(job, now), at=now)
            for job in rows
        ]
        running = Counter(job.worker for job in rows if job.state is State.RUNNING)
        waiting = Counter(job.queue for job in rows if job.state is State.WAITING)
        try:
            await self._client.store.publish(events)
            for name in (*running, *waiting):
                await self._client.store.wake(name)
        except StoreError:
            pass  # hints may be lost


def _batches(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """The jobs in batches that a store takes in one round trip."""
    batch: list[Job] = []
    size = 0
    for job in jobs:
        weight = _weight(job)
        if batch and (len(batch) == BATCH_ROWS or size + weight > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += weight
    if batch:
        yield batch


def _weight(job: Job) -> int:
    errors = [job.error, *(run.error for run in job.runs)]
    weight = sum(len(error.message) + len(error.traceback) for error in errors if error is not None)
    return ROW_BYTES + weight + (0 if job.again is None else len(job.again.input))
