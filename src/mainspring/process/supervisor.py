"""The parent of worker processes: starts them, replaces what dies, and lapses a dead child's leases at once.

So a job whose worker was killed runs again within two seconds, not when its lease ends. The parent runs no handlers.
The first SIGTERM or SIGINT stops the children gracefully, the second now; those that outstay their grace are killed.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any

from mainspring.app import Mainspring
from mainspring.core import states
from mainspring.core.clock import Clock
from mainspring.core.job import State
from mainspring.core.records import WORKER
from mainspring.errors import StoreError
from mainspring.events import emit
from mainspring.process.children import Child, back_off
from mainspring.stores.base import BATCH_ROWS, Query, Store

HEALTHY_AFTER = 5.0
"""Seconds that a child must live for its death not to count as one of a series."""


class Supervisor:
    """Keeps `processes` workers of the app `name` alive until told to stop."""

    def __init__(self, app: Mainspring, name: str, processes: int, settings: dict[str, Any]) -> None:
        self._app = app
        self._name = name
        self._settings = settings
        self._children = [Child(number) for number in range(processes)]
        self._stopping = asyncio.Event()
        self._signals = 0
        self._store: Store | None = None

    async def run(self) -> int:
        """Until all children have ended; answers the exit code: 0 where they were told to and did."""
        loop = asyncio.get_running_loop()
        self._store = (await self._app.connect()).store
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled, number)
        try:
            async with asyncio.TaskGroup() as group:
                keepers = [group.create_task(self._keep(child)) for child in self._children]
        finally:
            await self._app.close()
        return max(keeper.result() for keeper in keepers)

    def _signalled(self, number: int) -> None:
        self._signals += 1
        emit("supervisor.signal", number=signal.Signals(number).name, count=self._signals)
        self._stopping.set()
        for child in self._children:
            child.send(signal.SIGTERM if self._signals < 3 else signal.SIGKILL)

    # -- one child -----------------------------------------------------------------------------------------------------

    async def _keep(self, child: Child) -> int:
        """Start the child, and another one whenever it dies, until stopped."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            begun = loop.time()
            if not await self._start(child):
                child.early_deaths += 1
                await back_off(child.early_deaths, self._stopping)
                continue
            code = await child.ended(self._stopping, self._settings)
            assert self._store is not None
            await bury(self._store, child.id, self._app.clock)
            if self._stopping.is_set():
                # A child that is told to end before it can listen is ended by the signal itself; it held nothing yet.
                return 0 if code in (0, -signal.SIGTERM) else 1
            child.restarts += 1
            emit("child.died", logging.ERROR, worker=child.id, exit_code=code, restarts=child.restarts)
            child.early_deaths = 0 if loop.time() - begun >= HEALTHY_AFTER else child.early_deaths + 1
            await back_off(child.early_deaths, self._stopping)
        return 0

    async def _start(self, child: Child) -> bool:
        """False: the system has no process for us now."""
        started = await child.start(self._name, self._settings)
        if started and self._stopping.is_set():
            child.send(signal.SIGTERM)
        return started


async def bury(store: Store, worker: str, clock: Clock) -> None:
    """Make what a dead worker held due now, and count it among the workers no longer.

    Nothing else is written of its jobs, so the interruptions count.
    """
    for attempt in range(10):
        try:
            lapsed = await lapse_leases(store, worker, clock.now())
            if (record := await store.read(WORKER, worker)) is not None:
                await store.erase(record)
        except StoreError as error:
            emit("lapse.failed", logging.WARNING, worker=worker, error=str(error))
            await asyncio.sleep(0.1 * (attempt + 1))
            continue
        if lapsed:
            emit("lapsed", logging.WARNING, worker=worker, jobs=lapsed)
        return


async def lapse_leases(store: Store, worker: str, now: int) -> int:
    """End all leases of `worker`, which is known to be dead. Answers how many."""
    query = Query(states=(State.RUNNING,), worker=worker, limit=BATCH_ROWS)
    lapsed, queues = 0, set[str]()
    while True:
        page = await store.find(query)
        jobs = [job for row in page.jobs if (job := states.lapse(row, now)) is not None]
        saved = [job for job in await store.save(jobs) if job is not None] if jobs else []
        lapsed += len(saved)
        queues |= {job.queue for job in saved}
        if page.cursor is None:
            break
        query = query.evolve(after=page.cursor)
    for queue in queues:
        await store.wake(queue)
    return lapsed
