"""What a handler sees of its job. Handed to the parameter annotated with `Context`.

Safe in both kinds of handlers: `progress` and `log` take effect at once and may be awaited or not; in a handler that
runs in a thread, `sync` calls the coroutines of the API on the worker's loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar, Unpack, cast, overload

from mainspring.core.codec import encode_value
from mainspring.core.duration import Duration, until
from mainspring.core.job import Job
from mainspring.core.records import task_gate
from mainspring.core.request import CallOptions, Request, transaction_of
from mainspring.core.schedule import meant_for
from mainspring.errors import InputError, MainspringError
from mainspring.logs import running
from mainspring.stores.base import LogLine
from mainspring.transactions import TIMEOUT, run_in_transaction
from mainspring.worker.text import storable

if TYPE_CHECKING:
    from mainspring.client import Client, JobHandle
    from mainspring.core.task import Task
    from mainspring.leases import Lock
    from mainspring.worker.hold import Hold
    from mainspring.worker.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")

PROGRESS_LIMIT = 16 * 1024
LINE_LIMIT = 8 * 1024
LEVELS = ("debug", "info", "warning", "error", "critical")


class Done:
    """Already done; awaiting it is allowed and does nothing."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


DONE = Done()


class Context:
    """The run under way. Times are aware datetimes in UTC."""

    __mainspring_context__: ClassVar[bool] = True

    def __init__(self, hold: Hold, worker: Worker) -> None:
        self._hold = hold
        self._worker = worker

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def job(self) -> Job:
        """The row as last seen."""
        return self._hold.job

    @property
    def job_id(self) -> str:
        """The job's id: the same in every attempt."""
        return self.job.id

    @property
    def task(self) -> str:
        """The name of the task."""
        return self.job.task

    @property
    def queue(self) -> str:
        """The queue that the job was taken from."""
        return self.job.queue

    @property
    def attempt(self) -> int:
        """The number of this attempt, 1-based. Interrupted and snoozed runs do not count."""
        return self.job.attempt

    @property
    def fence(self) -> int:
        """Grows with each claim of this job: hand it to a resource that refuses writers with an older one."""
        return self.job.claims

    @property
    def scheduled_at(self) -> datetime:
        """The time that was asked for; retries and snoozes do not change it. Of a schedule, the time of the tick, also
        where somebody lets it run again later."""
        return _utc(meant_for(self.job))

    @property
    def started_at(self) -> datetime:
        """When this run was claimed."""
        return _utc(self.job.started_at or 0)

    @property
    def worker_id(self) -> str:
        """Whose run it is."""
        return self._worker.id

    @property
    def meta(self) -> dict[str, str]:
        """What the caller attached with `meta=`: trace ids, a tenant."""
        return dict(self.job.meta)

    @property
    def state(self) -> Mapping[str, Any]:
        """What the app's lifespan has yielded: `ctx.state["http"]`. Read-only. Raises `KeyError`."""
        return self._worker.lifespan.state

    @staticmethod
    def current() -> Context | None:
        """The context of the run that this code is called by, however deep; None outside of a run."""
        return cast("Context | None", running.get())

    @property
    def cancelled(self) -> bool:
        """Whether the run should end now: timed out, cancelled, lost, or the worker stops. For handlers in threads,
        which cannot be interrupted; coroutines get `asyncio.CancelledError`."""
        return self._hold.stop is not None

    # -- what it can say ------------------------------------------------------------------------------------------

    def progress(self, percent: float | None = None, data: Any = None) -> Awaitable[None]:
        """Report progress: a number from 0 to 100, and any JSON value of at most 16 KB.

        Stored at most four times a second, the last one with the end of the run. Raises `InputError`.
        """
        text = progress_text(percent, data, self._worker.clock.now())
        with self._worker.desk.lock:  # the heartbeat forgets what it has stored, and only that
            self._hold.progress = text
        self._worker.heartbeat.nudge()
        return DONE

    def log(self, text: object, level: str = "info") -> Awaitable[None]:
        """Append a line to the job's log (at most 8 KB; the last 1,000 lines are kept). Raises `InputError`."""
        check_level(level)
        job, line = self._hold.job, log_text(text)
        self._hold.lines.append(LogLine(job.id, job.claims, self._worker.clock.now(), level, line))
        self._worker.heartbeat.nudge()
        return DONE

    # -- what it can do -------------------------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """The client of the worker's event loop."""
        return self._worker.client

    @overload
    async def enqueue(self, task: Request[R], /) -> JobHandle[R]: ...

    @overload
    async def enqueue(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]: ...

    @overload
    async def enqueue(
        self, task: str, input: Mapping[str, Any] | None = None, /, **options: Unpack[CallOptions]
    ) -> JobHandle[Any]: ...

    async def enqueue(self, task: Any, /, *args: Any, **kwargs: Any) -> JobHandle[Any]:
        """Enqueue another job: a task and its arguments, a request (`task.job(...)`), or a name and an input."""
        return await self._worker.app.enqueue(task, *args, **kwargs)

    def lock(self, name: str, ttl: Duration = 30, wait: Duration | None = None) -> Lock:
        """A lock across all workers: `async with ctx.lock("name"): …`. Raises `LockHeld` when `wait` is over."""
        return self._worker.app.locks.lock(name, ttl=ttl, wait=wait)

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """A transaction of the store's own database: `async with ctx.transaction() as session: …`.

        `session` is the driver's own object, for your statements, `session=` and `mark_completed`. Committed at the
        end of the block, rolled back by an exception. Raises `StoreUnavailable` where another writer was faster (run
        it again, as `with_transaction` does), `DefinitionError` where the store has no transactions.
        """
        return self._worker.executor.completions.transaction(self._hold)

    async def with_transaction(self, callback: Callable[[Any], Awaitable[R]], *, timeout: Duration = TIMEOUT) -> R:
        """Await `callback(session)` in a `transaction`, and again where another writer was faster; see
        `app.with_transaction`. Answers its value."""
        completions = self._worker.executor.completions
        return await run_in_transaction(
            self.transaction, callback, self._worker.clock, timeout, lambda: completions.landed(self._hold)
        )

    async def mark_completed(self, result: Any = None, *, session: Any = None, within: Any = None) -> None:
        """End the job as completed, with `result`, exactly when the transaction `session` (or `within`) commits.

        So what that transaction writes happens exactly once. Twice is once. After the commit nothing that the handler
        does changes the outcome; where it is rolled back, the handler's end counts as always. Raises `LeaseLost`, and
        another exception where another run has completed the job already: let them pass, so that yours is rolled back.
        Raises `OutputError` and `PayloadTooLarge` as for a result that is returned.
        """
        await self._worker.executor.completions.mark(self._hold, result, transaction_of(within, session))

    async def throttle(self, duration: Duration | datetime, reason: str = "", *, scope: str = "cluster") -> None:
        """Start no further job of this task for `duration`, on any worker (`scope="local"`: on this one).

        The run under way goes on; raise `Snooze` to put it back too.
        """
        end = until(duration, self._worker.clock.now(), "throttle duration")
        if scope == "local":
            self._worker.pump.throttled[self.task] = end
        elif scope == "cluster":
            await self._worker.gates.close(task_gate(self.task), end, reason)
        else:
            raise InputError(f'bad throttle scope: {scope!r}. Expected "cluster" or "local".')

    def sync(self, call: Callable[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a coroutine function of the API from a handler in a thread: `ctx.sync(other.enqueue, x=1)`.

        Raises `MainspringError` in a coroutine, where it would wait for itself for ever.
        """
        if threading.get_ident() == self._worker.thread:
            name = getattr(call, "__qualname__", repr(call))
            raise MainspringError(
                f"ctx.sync was called on the worker's event loop (for {name}); it would block for ever. "
                "Await the function itself."
            )
        return asyncio.run_coroutine_threadsafe(call(*args, **kwargs), self._worker.loop).result()


def progress_text(percent: float | None, data: Any, now: int) -> str:
    """Progress as it is stored. Raises `InputError`."""
    if percent is not None and (isinstance(percent, bool) or not 0 <= percent <= 100):
        raise InputError(f"bad progress: {percent!r}. Expected a number from 0 to 100.")
    return encode_value({"percent": percent, "data": data, "at": now}, "progress", PROGRESS_LIMIT)


def log_text(text: object) -> str:
    """A log line as it is stored."""
    return storable(text, LINE_LIMIT)


def check_level(level: str) -> None:
    if level not in LEVELS:
        raise InputError(f"bad log level: {level!r}. Expected one of: {', '.join(LEVELS)}.")


def _utc(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)
