"""The client of an app in a kit: it fails at once where the store does, and runs what it stores, in inline mode.

A job in inline mode goes the way of every job: validated, stored, claimed by a worker in this event loop, run, settled.
The caller waits for that, and no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from mainspring.client import Client
from mainspring.core.clock import Clock
from mainspring.core.handle import Caller, JobHandle
from mainspring.core.job import State
from mainspring.core.request import Request
from mainspring.core.task import Task
from mainspring.errors import NotDrained
from mainspring.stores.base import Store
from mainspring.worker.drain import TIMEOUT, Tally

if TYPE_CHECKING:
    from mainspring.testing.apps import Kit
    from mainspring.worker.worker import Worker

R = TypeVar("R")
CONCURRENCY = 100
"""How deep jobs may enqueue jobs: each of them keeps its slot until what it has enqueued has run."""


class KitClient(Client):
    """A client for tests. In inline mode, `enqueue` and `enqueue_many` answer when the jobs that are due have run."""

    def __init__(
        self, kit: Kit, store: Store, clock: Clock, tasks: Mapping[str, Task[Any, Any]], caller: Caller
    ) -> None:
        super().__init__(store, clock, tasks, caller)
        self._kit = kit
        self._workers: list[Worker] = []
        self._joiner.patience = 0.0  # a test of an outage need not wait until an enqueue gives up

    async def enqueue_request(self, request: Request[R]) -> JobHandle[R]:
        if not self._kit.inline or request.within is not None:
            return await super().enqueue_request(request)
        async with self._running([request]) as ran:
            handle = await super().enqueue_request(request)
            await ran.wait(self.store, handle)
        return handle

    async def enqueue_many(self, requests: Iterable[Request[R]], within: Any = None) -> list[JobHandle[R]]:
        requests = list(requests)
        if not self._kit.inline or within is not None:
            return await super().enqueue_many(requests, within)
        async with self._running(requests) as ran:
            handles = await super().enqueue_many(requests)
            for handle in handles:
                await ran.wait(self.store, handle)
        return handles

    @asynccontextmanager
    async def _running(self, requests: list[Request[R]]) -> AsyncIterator[Inline]:
        """With a worker in this event loop for each of these."""
        for request in requests:
            await self._serve(request)
        inline = Inline(self._workers, await self._under_way(requests))
        try:
            yield inline
        finally:
            inline.close()
        if self._kit.raise_errors:
            inline.raise_first()

    async def _under_way(self, requests: list[Request[R]]) -> set[str]:
        """The jobs that hold a key of these and run already. Nobody waits for them: it may be they who enqueue."""
        keys = [request.id for request in requests if request.id is not None]
        rows = await self.store.get(keys) if keys else []
        return {row.id for row in rows if row is not None and row.state is State.RUNNING}

    async def _serve(self, request: Request[R]) -> None:
        await self._ready()
        self._workers = [one for one in self._workers if one in self._kit.workers_here()]
        if not any(request.queue in one.queues and request.task in one.tasks for one in self._workers):
            worker = self._kit.app.worker(queues=[request.queue], concurrency=CONCURRENCY)
            await worker.start()
            self._workers.append(worker)


class Inline:
    """The runs of some jobs that are about to be stored, as their caller waits for them."""

    def __init__(self, workers: list[Worker], under_way: set[str]) -> None:
        self._workers = workers
        self._under_way = under_way
        self._tally = Tally()
        self._waited: set[str] = set()
        for worker in workers:
            worker.tallies.add(self._tally)

    def close(self) -> None:
        for worker in self._workers:
            worker.tallies.discard(self._tally)

    def raise_first(self) -> None:
        """Raise what the first of the handlers raised that were waited for."""
        for id, error in self._tally.errors:
            if id in self._waited:
                raise error

    async def wait(self, store: Store, handle: JobHandle[Any]) -> None:
        """Wait until a run of the job has ended, or it cannot run now: it is due later, or held back.

        Raises `NotDrained` where that takes too long, as where jobs enqueue themselves.
        """
        if handle.id in self._under_way:
            return
        self._waited.add(handle.id)
        try:
            async with asyncio.timeout(TIMEOUT):
                while handle.id not in self._tally.ended and await self._may_run(store, handle):
                    pass
        except TimeoutError:
            raise NotDrained(
                f"inline: job {handle.id} of task {handle.task!r} has not ended within {TIMEOUT} s. Expected its "
                f"handler to come to its end, and jobs that enqueue jobs to be less than {CONCURRENCY} deep. Without "
                "inline mode nobody waits for it."
            ) from None

    async def _may_run(self, store: Store, handle: JobHandle[Any]) -> bool:
        """Let the workers have their turn. False: they found nothing to do, and nobody runs it."""
        for worker in self._workers:
            if any(hold.job.id == handle.id for hold in worker.desk.holds):
                await worker.desk.changed()
                return True
        for worker in self._workers:
            if handle.id not in self._tally.ended:
                await worker.pump.rounds.idle(worker.pump.nudge, None)
        held = any(hold.job.id == handle.id for worker in self._workers for hold in worker.desk.holds)
        if held or handle.id in self._tally.ended:
            return True
        [row] = await store.get([handle.id])
        if row is not None and row.state is State.RUNNING:  # by the worker of another event loop
            await asyncio.sleep(0.001)
            return True
        return False
