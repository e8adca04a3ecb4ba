"""The parent of worker processes: starts them, replaces what dies, and lapses a dead child's leases at once.

So a job whose worker was killed runs again within two seconds, not when its lease ends. The parent runs no handlers.
The first SIGTERM or SIGINT stops the children gracefully, the second now; those that outstay their grace are killed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import socket
import sys
from dataclasses import dataclass, field
from typing import Any

from mainspring.app import Mainspring
from mainspring.core import states
from mainspring.core.duration import milliseconds
from mainspring.core.job import State
from mainspring.core.records import WORKER
from mainspring.errors import StoreError
from mainspring.events import emit
from mainspring.stores.base import BATCH_ROWS, Query, Store

HEALTHY_AFTER = 5.0
"""Seconds that a child must live for its death not to count as one of a series."""
FIRST_BACK_OFF = 0.1
LONGEST_BACK_OFF = 10.0
KILL_AFTER = 5.0
"""Seconds past the grace after which a child that has not ended is killed."""


@dataclass
class Child:
    """One place for a child process, and who sits in it."""

    number: int
    id: str = ""
    process: asyncio.subprocess.Process | None = None
    early_deaths: int = 0
    restarts: int = field(default=0)


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
            self._send(child, signal.SIGTERM if self._signals < 3 else signal.SIGKILL)

    def _send(self, child: Child, number: int) -> None:
        if child.process is not None and child.process.returncode is None:
            try:
                child.process.send_signal(number)
            except ProcessLookupError:
                pass

    # -- one child -----------------------------------------------------------------------------------------------------

    async def _keep(self, child: Child) -> int:
        """Start the child, and another one whenever it dies, until stopped."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            begun = loop.time()
            if not await self._start(child):
                child.early_deaths += 1
                await self._pause(child.early_deaths)
                continue
            code = await self._ended(child)
            await self._bury(child.id)
            if self._stopping.is_set():
                # A child that is told to end before it can listen is ended by the signal itself; it held nothing yet.
                return 0 if code in (0, -signal.SIGTERM) else 1
            child.restarts += 1
            emit("child.died", logging.ERROR, worker=child.id, exit_code=code, restarts=child.restarts)
            child.early_deaths = 0 if loop.time() - begun >= HEALTHY_AFTER else child.early_deaths + 1
            await self._pause(child.early_deaths)
        return 0

    async def _pause(self, early_deaths: int) -> None:
        if early_deaths:
            # The exponent is bounded: 0.1 * 2 ** 1024, after three hours of deaths, is an OverflowError.
            delay = min(FIRST_BACK_OFF * 2 ** min(early_deaths - 1, 10), LONGEST_BACK_OFF)
            try:
                await asyncio.wait_for(self._stopping.wait(), delay)
            except TimeoutError:
                pass

    async def _start(self, child: Child) -> bool:
        """False: the system has no process for us now."""
        child.id = f"{socket.gethostname()}:{os.getpid()}.{child.number}:{secrets.token_hex(3)}"
        settings = json.dumps(self._settings | {"id": child.id})
        command = (sys.executable, "-m", "mainspring.process.child", self._name, settings)
        try:
            # Ctrl-C reaches the whole foreground group: the children hear of it from us alone, once.
            child.process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            emit("child.not_started", logging.ERROR, worker=child.id, error=str(error))
            return False
        emit("child.started", worker=child.id, pid=child.process.pid)
        if self._stopping.is_set():
            self._send(child, signal.SIGTERM)
        return True

    async def _ended(self, child: Child) -> int:
        assert child.process is not None
        ended = asyncio.ensure_future(child.process.wait())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            grace = milliseconds(self._settings.get("grace", 10), "grace") / 1000
            await asyncio.wait([ended], timeout=grace + KILL_AFTER)
            if not ended.done():
                emit("child.killed", logging.ERROR, worker=child.id)
                self._send(child, signal.SIGKILL)
        return await ended

    async def _bury(self, worker: str) -> None:
        """Make what a dead child held due now, and count it among the workers no longer.

        Nothing else is written of its jobs, so the interruptions count.
        """
        assert self._store is not None
        for attempt in range(10):
            try:
                lapsed = await lapse_leases(self._store, worker, self._app.clock.now())
                if (record := await self._store.read(WORKER, worker)) is not None:
                    await self._store.erase(record)
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
