"""What a cpu handler sees of its job: the same `Context`, in another process than its worker.

What it reports goes to the worker. What it does with the store, it does by the app of its own process, which connects
when it is first asked for something.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, cast

from mainspring.core.duration import Duration, until
from mainspring.core.job import Job
from mainspring.core.records import task_gate
from mainspring.core.task import Task
from mainspring.errors import InputError, MainspringError
from mainspring.gates import Gates
from mainspring.process.reports import Reports
from mainspring.transactions import TIMEOUT
from mainspring.worker.context import DONE, Context, check_level, log_text, progress_text
from mainspring.worker.wire import Order

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.client import Client, JobHandle
    from mainspring.leases import Lock

P = ParamSpec("P")
R = TypeVar("R")


class HandlerContext(Context):
    """The run under way in a process of its own."""

    def __init__(self, order: Order, task: Task[Any, Any], reports: Reports, url: str) -> None:
        self._order = order
        self._reports = reports
        self._own = cast("Mainspring", task.app)
        self._url = url
        self._begun = time.monotonic()

    def now(self) -> int:
        """ms on the worker's clock, which is the store's."""
        return self._order.now + round((time.monotonic() - self._begun) * 1_000)

    @property
    def job(self) -> Job:
        return self._order.job

    @property
    def worker_id(self) -> str:
        return self._order.worker

    @property
    def cancelled(self) -> bool:
        """Always False: a cpu handler that is to end is killed."""
        return False

    @property
    def state(self) -> Mapping[str, Any]:
        raise MainspringError(
            "ctx.state is what the lifespan has made in the worker, and a cpu handler has a process of its own. "
            "Expected a dependency (Depends), which is made there."
        )

    def progress(self, percent: float | None = None, data: Any = None) -> Awaitable[None]:
        self._reports.progress(progress_text(percent, data, self.now()))
        return DONE

    def log(self, text: object, level: str = "info") -> Awaitable[None]:
        check_level(level)
        self._reports.say(log_text(text), level, self.now())
        return DONE

    @property
    def _app(self) -> Mainspring:
        """The app of this process, where it is on the worker's store."""
        if self._own.url != self._url or ":memory:" in self._url:
            raise MainspringError(
                f"a cpu handler cannot reach the store of its worker ({self._url!r}) from its own process, whose app "
                f"is on {self._own.url!r}. Expected a store that processes can share, named by the module of the app."
            )
        return self._own

    @property
    def client(self) -> Client:
        return self._app.client

    async def enqueue(self, task: Any, /, *args: Any, **kwargs: Any) -> JobHandle[Any]:
        return await self._app.enqueue(task, *args, **kwargs)

    def lock(self, name: str, ttl: Duration = 30, wait: Duration | None = None) -> Lock:
        return self._app.locks.lock(name, ttl=ttl, wait=wait)

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        self._refuse("transaction")

    async def with_transaction(self, callback: Callable[[Any], Awaitable[R]], *, timeout: Duration = TIMEOUT) -> R:
        self._refuse("with_transaction")

    async def mark_completed(self, result: Any = None, *, session: Any = None, within: Any = None) -> None:
        self._refuse("mark_completed")

    async def throttle(self, duration: Duration | datetime, reason: str = "", *, scope: str = "cluster") -> None:
        if scope != "cluster":
            raise InputError(f'bad throttle scope: {scope!r}. Expected "cluster": this process is no worker.')
        client = await self._app.connect()
        end = until(duration, self.now(), "throttle duration")
        await Gates(client.store, self._own.clock).close(task_gate(self.task), end, reason)

    def sync(self, call: Callable[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs) -> R:
        return self._app.sync(call, *args, **kwargs)

    def _refuse(self, what: str) -> NoReturn:
        raise MainspringError(
            f"ctx.{what} cannot be used by a cpu handler: its transaction would be of another process than its job's "
            "lease. Expected an async or a plain handler; or return what is to be written, and write it there."
        )
