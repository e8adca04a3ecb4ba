"""A worker: the services of this folder around one store, in the event loop of whoever starts it."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from mainspring.core import states
from mainspring.core.clock import Clock
from mainspring.core.duration import Duration, milliseconds
from mainspring.core.job import Job, State
from mainspring.core.records import WORKER, Record
from mainspring.errors import MainspringError, StoreError
from mainspring.events import emit
from mainspring.gates import Gates
from mainspring.snapshots import Snapshots
from mainspring.stores.base import Store
from mainspring.triggers.reconcile import Reconciler
from mainspring.worker.choice import chosen_tasks, served_queues
from mainspring.worker.drain import LIMIT, TIMEOUT, Drained, Tally, check_running, drain
from mainspring.worker.executor import Executor
from mainspring.worker.heartbeat import Heartbeat
from mainspring.worker.hold import Desk, Hold
from mainspring.worker.janitor import Janitor
from mainspring.worker.lifespan import Lifespan
from mainspring.worker.pump import Pump
from mainspring.worker.quiet import Quiet
from mainspring.worker.record import told_by
from mainspring.worker.settings import WorkerSettings
from mainspring.worker.settler import Settler
from mainspring.worker.telling import Telling
from mainspring.worker.ticker import Ticker

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.client import Client
    from mainspring.core.task import Task

EXIT_STUCK = 75
SPARE = 1_000
"""ms after which a run that had to be left behind is taken up by somebody else; its process has ended by then."""
AFTER_CANCEL = 1_000
LAST_GRACE = 1_000
"""ms that a lifespan has to end, however little of the grace is left."""
SHOWN_FOR = 60_000
"""A worker's record expires this long after its last sign of life."""

SHOWN_AGAIN = 3
"""Times that a worker writes its record where somebody else writes it at that moment."""

Status = Literal["starting", "running", "paused", "stopping", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStats:
    id: str
    status: Status
    active: int
    """Handlers that run now."""
    processed: int
    """Runs that were settled, whatever their outcome."""
    failed: int
    """Of these, the runs that failed."""
    uptime: float
    """Seconds."""
    loop_lag: int
    """ms, as of the last beat."""


class Worker:
    """Runs jobs. `async with app.worker(concurrency=20) as worker: …`, or `await app.run_worker()`.

    Raises `UnknownTask` and `DefinitionError` for settings that make no sense, `StoreError` from the store.
    """

    client: Client
    store: Store
    loop: asyncio.AbstractEventLoop
    thread: int
    """The thread that the event loop runs in."""
    gates: Gates
    heartbeat: Heartbeat

    def __init__(self, app: Mainspring, settings: WorkerSettings | None = None) -> None:
        self.app = app
        self.settings: WorkerSettings = settings or WorkerSettings()
        self.id: str = self.settings.id or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self.clock: Clock = app.clock
        self.tasks: dict[str, Task[Any, Any]] = chosen_tasks(app.tasks, self.settings)
        self.caps: dict[str, int | None] = {name: task.max_concurrency for name, task in self.tasks.items()}
        self.queues: list[str] = served_queues(self.settings, self.tasks)
        self.desk = Desk(self.settings.concurrency)
        self.settler = Settler(self)
        self.telling = Telling(app.hooks.listeners, self.id, self.clock)
        self.executor = Executor(self)
        self.lifespan = Lifespan(app, app.hooks.lifespan)
        self.pump = Pump(self)
        self.janitor = Janitor(self)
        self.ticker = Ticker(self)
        self._quiet = Quiet(self)
        self.tallies: set[Tally] = set()
        self.processed: int = 0
        self.failed: int = 0
        self.exit_code: int = 0
        self._status: Status = "starting"
        self._started = 0
        self._shown_at = 0
        self._kept_at = 0
        self._begun = False
        self._main: asyncio.Task[None] | None = None
        self._pumping: asyncio.Task[None] | None = None
        self._services: tuple[asyncio.Task[None], ...] = ()
        self._ending: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._stop_now = asyncio.Event()

    # -- life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the store, announce the tasks, begin to claim. Once; after an error it may be tried again."""
        if self._begun:
            raise MainspringError(f"worker {self.id} was started before. Make another one: app.worker(...).")
        self._begun = True
        try:
            await self._connect()
            if self._failure is not None:
                raise self._failure  # the lifespan broke while the rest was made ready
        except BaseException:
            self._begun = False
            await self._leave_lifespan(0)
            await self.executor.close()
            raise
        self._started = self.clock.monotonic()
        self.heartbeat = Heartbeat(self)
        self.heartbeat.start()
        self._main = asyncio.create_task(self._serve(), name="mainspring-worker")
        self._main.add_done_callback(self._served)
        self._status = "paused" if self.pump.paused else "running"
        self.telling.worker("worker.started")
        emit("worker.started", worker=self.id, queues=",".join(self.queues), tasks=len(self.tasks))

    async def _connect(self) -> None:
        self.loop, self.thread = asyncio.get_running_loop(), threading.get_ident()
        self.client = await self.app.connect()
        self.store = self.client.store
        self.gates = Gates(self.store, self.clock)
        await self.executor.open()
        await self.lifespan.enter(self.fail)
        former = await self.client.publish_tasks(list(self.tasks.values()))
        self.queues = served_queues(self.settings, self.tasks, former)
        self._shown_at = self.clock.now()
        # First it says which schedules it declares, so that nobody retires them.
        await self.show(self.store, self._shown_at, first=True)
        await Reconciler(self.store, self.clock, self.app.declared).run()
        if self.app.time is not None:
            self.app.time.attach(self._quiet)

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as services:
            self._pumping = services.create_task(self.pump.run(), name="mainspring-pump")
            ticking = services.create_task(self.ticker.run(), name="mainspring-ticker")
            cleaning = services.create_task(self.janitor.run(), name="mainspring-janitor")
            self._services = (self._pumping, ticking, cleaning)

    def _served(self, main: asyncio.Task[None]) -> None:
        """The services have ended. If nobody asked for it, end what they leave, even where nobody joins."""
        if self._ending is not None:
            return
        error = self._failure if main.cancelled() else main.exception()
        if error is None:
            self.heartbeat.end()  # the event loop ends without a stop
            self.executor.abandon()
            return
        emit("worker.failed", logging.CRITICAL, exc_info=error, worker=self.id)
        self._begin_to_stop(self.settings.grace_ms if self._failure is None else 0)

    @property
    def cut_off(self) -> bool:
        """Whether the event loop ends without a stop, and so cancels handlers: that is no failure of theirs."""
        return self._main is not None and self._main.cancelling() > 0

    async def join(self) -> None:
        """Wait until the worker has ended. Raises what a service of it failed with."""
        assert self._main is not None
        await asyncio.wait([self._main])
        if self._ending is not None:
            await asyncio.shield(self._ending)
        if self._failure is not None:
            raise self._failure
        if not self._main.cancelled() and (error := self._main.exception()) is not None:
            raise error

    def fail(self, error: BaseException) -> None:
        """A service outside the event loop has failed: end."""
        self._failure = error
        if self._main is not None:
            self._main.cancel()

    async def drain(self, *, timeout: Duration = TIMEOUT, limit: int = LIMIT, raise_errors: bool = False) -> Drained:
        """Run all that is due now, and what that enqueues, until nothing is left; answers what became of the runs.

        What is due later stays, and so does what this worker does not run: other queues and tasks, what is paused.
        `raise_errors`: raise, at the end, what the first handler raised that failed. Raises `NotDrained` where it does
        not end within `timeout` or after `limit` runs, `MainspringError` where the worker does not run here.
        """
        check_running(self, self.loop if self._main is not None else None)
        return await drain(self, self._quiet, timeout, limit, raise_errors)

    def pause(self) -> None:
        """Claim nothing more; what runs goes on. For this worker; `app.queues.pause` is for all."""
        self.pump.paused = True
        if self._status == "running":
            self._status = "paused"

    def resume(self) -> None:
        self.pump.paused = False
        if self._status == "paused":
            self._status = "running"
        self.pump.nudge()

    def hurry(self) -> None:
        """End a stop's grace now."""
        self._stop_now.set()

    async def stop(self, grace: Duration | None = None) -> None:
        """Stop claiming, let handlers end within `grace` (default: the settings'), give back the rest.

        Twice is once: the first grace counts, all wait for the end. Where the caller is cancelled, the stop goes on.
        """
        wait = self.settings.grace_ms if grace is None else milliseconds(grace, "grace")
        if self._main is None:
            return
        if self._ending is None:
            self._begin_to_stop(wait)
        assert self._ending is not None
        await asyncio.shield(self._ending)

    def _begin_to_stop(self, grace: int) -> None:
        self._status = "stopping"
        self.pump.stopping = True
        self.pump.nudge()
        self._ending = self.loop.create_task(self._end(grace), name="mainspring-stop")

    async def _end(self, grace: int) -> None:
        assert self._main is not None
        until = self.clock.monotonic() + grace
        try:
            await self._end_runs(grace)
            await self._end_services(self._main)
            await self._within(self.settings.lease_ms, self._settles(), hurried=False)
            await self.heartbeat.stop()
            await self._leave_behind([hold for hold in self.desk.holds if not hold.handler_done])
            await self._leave_lifespan(until - self.clock.monotonic())
            await self._close()
        finally:  # where the loop ends before that, nothing is to go on without it
            self._main.cancel()
            self.heartbeat.end()
            self._status = "stopped"

    async def _end_services(self, main: asyncio.Task[None]) -> None:
        """A claim under way is waited for: what it takes is given back, and not left to its lease."""
        if self._pumping is not None:
            await self._within(AFTER_CANCEL, asyncio.wait([self._pumping]), hurried=False)
        main.cancel()
        # Again and again: a driver in the middle of a call may swallow a cancellation, and a service would go on.
        while not (await asyncio.wait([main], timeout=AFTER_CANCEL / 1000))[0]:
            for service in self._services:
                service.cancel()
        await asyncio.gather(main, return_exceptions=True)
        if self.app.time is not None:
            self.app.time.detach(self._quiet)
        await self.ticker.close()
        await self.pump.close()

    async def _end_runs(self, grace: int) -> None:
        """Let the handlers end; after `grace` ask them to."""
        await self._within(grace, self.desk.empty(handlers=True))
        for hold in list(self.desk.holds):
            self.executor.stop(hold, "shutdown", "the worker stops")
        if self.desk.running:
            await self._within(AFTER_CANCEL, self.desk.empty(handlers=True), hurried=False)

    async def _leave_lifespan(self, left: int) -> None:
        """It has what is left of the grace, and `LAST_GRACE` at the least; who is in a hurry waits for that alone."""

        async def wait(life: asyncio.Task[None]) -> None:
            await self._within(max(left, LAST_GRACE), asyncio.shield(life))
            if not life.done():
                await self._within(LAST_GRACE, asyncio.shield(life), hurried=False)

        await self.lifespan.leave(wait)

    async def _settles(self) -> None:
        """Wait until every run that has ended is stored."""
        while any(hold.handler_done for hold in self.desk.holds):
            await self.desk.changed()

    async def _within(self, ms: int, wait: Any, hurried: bool = True) -> None:
        """Wait for `wait`, `ms` at the most, or until somebody is in a hurry."""
        tasks = [asyncio.ensure_future(wait)]
        if hurried:
            tasks.append(asyncio.ensure_future(self._stop_now.wait()))
        try:
            await asyncio.wait(tasks, timeout=ms / 1000, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _leave_behind(self, holds: list[Hold]) -> None:
        """Make runs that will not end due soon. One that timed out counts as a timeout, the others as interrupted."""

        async def leave(hold: Hold) -> None:
            due = self.clock.now() + SPARE

            def left(job: Job) -> Job:
                if hold.stop == "timeout":
                    return states.doom(job, due)
                return job.evolve(due_at=min(job.due_at, due))

            await self.settler.write(hold, left)
            hold.stop = "lost"
            self.desk.drop(hold)

        await asyncio.gather(*(leave(hold) for hold in holds))

    async def _close(self) -> None:
        await self.executor.close()
        try:
            record = await self.store.read(WORKER, self.id)
            if record is not None:
                await self.store.erase(record)
        except StoreError as error:
            emit("worker.record", logging.WARNING, worker=self.id, error=str(error))
        self.telling.worker("worker.stopped")
        emit("worker.stopped", worker=self.id, processed=self.processed, failed=self.failed)
        await self.app.hooks.listeners.close_here()

    # -- what the services tell ----------------------------------------------------------------------------------------

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Call on the worker's event loop, from any thread. Nothing happens where it is closed."""
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            pass

    def settled(self, row: Job) -> None:
        """A run of this worker is over and stored."""
        self.processed += 1
        self.failed += self.telling.settled(row)
        self.left(row)

    def left(self, row: Job) -> None:
        """A job that this worker held has left the running state, its handler called or not."""
        self.telling.left(row)
        if row.state is State.WAITING:
            self.pump.nudge()
        self.ticker.ended(row)
        for tally in self.tallies:
            tally.left(row)

    def stuck(self, hold: Hold) -> None:
        """A handler did not end within `grace` of being asked to."""
        emit("run.stuck", logging.ERROR, job_id=hold.job.id, task=hold.job.task, reason=hold.reason)
        if self.settings.owns_process and self._ending is None:
            self.exit_code = EXIT_STUCK  # a thread cannot be killed, a process can: end this one
            self._begin_to_stop(self.settings.grace_ms)

    async def keep_time(self, store: Store) -> None:
        """On the heartbeat's thread, in each pass: once a beat take in the store's clock, and say that we live."""
        asked = self.clock.monotonic()
        if asked - self._kept_at < self.settings.beat_ms // 2:
            return
        self._kept_at = asked
        now = await store.time()
        self.clock.adjust(asked, self.clock.monotonic(), now)
        if now - self._shown_at >= SHOWN_FOR // 4 and self._status != "stopping":
            self._shown_at = now
            await self.show(store, now)

    async def show(self, store: Store, now: int, first: bool = False) -> None:
        """Write the record that says that this worker lives, as of `now`. Under a clock that a test moves two may say
        so at once: then both are heard, and the later time holds."""
        for _ in range(SHOWN_AGAIN):
            if await self._shown(store, now, first):
                return

    async def _shown(self, store: Store, now: int, first: bool) -> bool:
        old = await store.read(WORKER, self.id)
        if old is None and not first:
            # A store that lost its data has lost the tasks too, and others enqueue by their names.
            await Snapshots(store, self.clock, self.tasks).publish(list(self.tasks.values()))
        old = old or Record(kind=WORKER, name=self.id)
        asked = None if first else old.value.get("asked")  # by `app.workers.pause`, `resume`
        value = told_by(self, asked)
        unseen = not first and (old.expires_at or 0) <= self.clock.now()
        until = max(now + SHOWN_FOR, old.expires_at or 0)
        [written] = await store.write([old.evolve(written_at=now, expires_at=until, value=value)])
        if written is None:
            return False
        if unseen:
            self.call_soon(self.ticker.declare)
        if asked is not None:
            self.call_soon(self.pause if asked == "pause" else self.resume)
        return True

    def stats(self) -> WorkerStats:
        """What this worker did and does."""
        return WorkerStats(
            id=self.id,
            status=self._status,
            active=self.desk.running,
            processed=self.processed,
            failed=self.failed,
            uptime=(self.clock.monotonic() - self._started) / 1000 if self._started else 0.0,
            loop_lag=self.heartbeat.lag if self._status != "starting" else 0,
        )
