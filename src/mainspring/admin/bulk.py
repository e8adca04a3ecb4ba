"""One transition over many jobs, each by its own swap: safe beside workers, producers and other operators.

There is no transaction over the whole. A job that moves on meanwhile is looked at again and tested again; one that
keeps moving is left alone after many lost swaps, as if it had come after us. So a bulk act can be repeated.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from mainspring.admin.selection import Selection, pages
from mainspring.client import Client
from mainspring.core import states
from mainspring.core.job import Job, State
from mainspring.core.policy import Policy
from mainspring.errors import Contended, IllegalTransition, StoreError
from mainspring.stores.base import BATCH_BYTES, BATCH_ROWS, Event

Transition = Callable[[Job, int, Policy], Job | None]
"""What a row becomes at a time under its task's policy; None: it stays as it is."""

SWAPS = 50
"""Lost swaps in a row before a call gives up."""
ROW_BYTES = 1_024
"""What a row weighs in a batch besides its runs and its ask."""
PAYLOAD_ROWS = 20
"""Rows that are read at once with payload, of up to half a megabyte each."""


async def change_all(client: Client, selection: Selection, transition: Transition) -> int:
    """Apply `transition` to all jobs that are meant; answers how many changed.

    Jobs that are stored while this goes on are not looked for. Raises `StoreError`, `Contended`: what was changed
    until then stays changed.
    """
    bulk = _Bulk(client, selection, transition)
    changed = 0
    async for jobs in pages(client.store, selection, client.clock.now()):
        changed += await bulk.change(jobs)
        await asyncio.sleep(0)  # an embedded store may never have suspended us
    return changed


class _Bulk:
    def __init__(self, client: Client, selection: Selection, transition: Transition) -> None:
        self._client = client
        self._selection = selection
        self._transition = transition
        self._policies: dict[str, Policy] = {}

    async def change(self, jobs: Sequence[Job]) -> int:
        """Change these rows, looking again at those that moved on."""
        changed = 0
        for _ in range(SWAPS):
            new = await self._apply(await self._with_input(jobs))
            lost: list[str] = []
            for batch in _batches(new):
                saved = await self._client.store.save([job.evolve(input=None, result=None) for job in batch])
                await self._tell([row for row in saved if row is not None])
                changed += sum(row is not None for row in saved)
                lost += [job.id for job, row in zip(batch, saved, strict=True) if row is None]
            if not lost:
                return changed
            jobs = await self._again(lost)
        raise Contended(
            f"{len(jobs)} jobs changed {SWAPS} times in a row; {changed} of their page were done. Try again."
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
        for first in range(0, len(ids), PAYLOAD_ROWS):
            fresh = await self._client.store.get(ids[first : first + PAYLOAD_ROWS])
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
