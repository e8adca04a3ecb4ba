"""The kit: an app as a test has it, on a store of its own and by a clock that the test moves.

The app stays the same object, with its tasks, schedules and hooks; only what it stands on is another while the kit is
in use. Nothing here is global but that, and an app can be in one kit at a time.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

from mainspring.app import Mainspring
from mainspring.core.duration import Duration
from mainspring.core.task import Task
from mainspring.errors import DefinitionError, MainspringError
from mainspring.stores import open_store
from mainspring.stores.base import Store
from mainspring.sync import Bridge
from mainspring.testing import draining
from mainspring.testing.assertions import Enqueued, Jobs
from mainspring.testing.clock import FakeClock
from mainspring.testing.inline import KitClient
from mainspring.testing.store import Outages, unreliable
from mainspring.worker.drain import LIMIT, TIMEOUT, Drained, Tally, raise_first
from mainspring.worker.worker import Worker

CLOSING = 10.0
"""Seconds that an event loop of another thread has to let go of the store."""


class Kit:
    """An app in a test: `async with kit(app) as k:`, in synchronous tests `with kit(app) as k:` and `k.sync`."""

    app: Mainspring
    """The app itself. Its own store and clock are back at the end of the block."""
    clock: FakeClock
    store: Outages
    """The switch of the store: `k.store.down()`, `k.store.fail_next()`, ..."""
    inline: bool
    """Whether `enqueue` runs the job at once. May be set at any time."""
    raise_errors: bool
    """Whether `drain`, `advance` and, in inline mode, `enqueue` raise what a handler raised. May be set at any time."""

    def __init__(
        self,
        app: Mainspring,
        *,
        store: str | Store = "sqlite://:memory:",
        clock: FakeClock | None = None,
        inline: bool = False,
        raise_errors: bool = False,
        check: bool = False,
    ) -> None:
        if not isinstance(app, Mainspring):
            raise MainspringError(f"a kit for {app!r}. Expected an app: kit(app), where app = Mainspring(...).")
        if not (clock is None or isinstance(clock, FakeClock)):
            raise DefinitionError(f"bad clock of a kit: {clock!r}. Expected a FakeClock, or None for a new one.")
        if not isinstance(store, (str, Store)):
            raise DefinitionError(f"bad store of a kit: {store!r}. Expected the URL of a store, or a store.")
        self.app = app
        self.clock = FakeClock() if clock is None else clock
        self.store = Outages()
        self.inline = inline
        self.raise_errors = raise_errors
        self._check = check
        self._url = store
        self._stack = ExitStack()
        self._jobs = Jobs(app)
        self.store.listen(self._nudge)

    # -- life ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if _running_loop() is not None:
            raise MainspringError("`with kit(app)` inside a running event loop. Use: async with kit(app) as k: ...")
        return self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            self._stack.callback(self.app.sync.close)
            self._stack.callback(self._close_everywhere)
            self._calm()
            if self._check and error is None:
                self.sync.assert_no_failures()

    async def __aenter__(self) -> Self:
        return self._begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            self._stack.callback(self.app.sync.close)
            self._calm()
            try:
                if self._check and error is None:
                    await self.assert_no_failures()
            finally:
                await self.close()

    def _begin(self) -> Self:
        inner = open_store(self._url, self.clock.now) if isinstance(self._url, str) else self._url
        store = unreliable(inner, self.store)
        self._stack.enter_context(self.app._elsewhere(store, self.clock, partial(KitClient, self)))
        return self

    def _calm(self) -> None:
        self.inline = False
        self.store.up()

    async def close(self) -> None:
        """Stop the workers that run in this event loop, whatever their handlers do, and let go of the store here. The
        end of a kit does it; what has an event loop of its own, which ends before that, should."""
        for worker in self.workers_here():
            await worker.stop(grace=0)
        await self.app.close()

    def _close_everywhere(self) -> None:
        """The same in each event loop that was used, also in those that do not turn now: a test's has been left."""
        for loop in {one.worker.loop for one in self.clock.attached} | set(self.app._clients.loops):
            if loop.is_closed():
                continue
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(self.close(), loop).result(CLOSING)
            else:
                loop.run_until_complete(self.close())

    # -- running jobs ----------------------------------------------------------------------------------------------

    async def drain(
        self,
        *,
        queue: str | None = None,
        with_scheduled: bool = False,
        timeout: Duration = TIMEOUT,
        limit: int = LIMIT,
        raise_errors: bool | None = None,
    ) -> Drained:
        """Run the jobs that are due, and those that they enqueue, until nothing is due; answers what became of it.

        `queue`: only that one. `with_scheduled`: what is due later, too: the clock moves from one time to the next.
        `raise_errors`: at the end, raise what the first handler raised that failed; default: as the kit says.
        Raises `NotDrained` where it does not end within `timeout` of real time, or after `limit` runs.
        """
        return await draining.drain(
            self.app,
            queue=queue,
            with_scheduled=with_scheduled,
            timeout=timeout,
            limit=limit,
            raise_errors=self.raise_errors if raise_errors is None else raise_errors,
        )

    async def advance(self, duration: Duration, *, raise_errors: bool | None = None) -> Drained:
        """Move the clock on and run all that is due on the way, at its time and in order; answers what became of it.

        `kit.clock.advance` moves the clock, too, but where no worker runs, it runs nothing.
        """
        tally = Tally()
        await draining.advance(self.app, self.clock, duration, tally)
        drained = tally.drained()
        if self.raise_errors if raise_errors is None else raise_errors:
            raise_first(drained.errors)
        return drained

    def workers_here(self) -> list[Worker]:
        """The workers that run in this event loop."""
        return draining.workers_here(self.app)

    def _nudge(self) -> None:
        """The store is up again: whoever waits for that looks at once."""
        for one in self.clock.attached:
            one.worker.call_soon(one.worker.pump.nudge)
            one.worker.call_soon(one.worker.ticker.nudge)

    # -- looking at jobs -------------------------------------------------------------------------------------------

    async def all_enqueued(self, task: Task[Any, Any] | str | None = None, /, **wanted: Any) -> list[Enqueued]:
        """The jobs that wait or run, oldest first. What `wanted` may say: `assert_enqueued`."""
        return await self._jobs.matching(task, wanted)

    async def assert_enqueued(
        self, task: Task[Any, Any] | str | None = None, /, *, count: int | None = None, **wanted: Any
    ) -> Enqueued:
        """Assert that a job waits or runs, and answer it, or the first of several. `count`: exactly so many.

        `wanted`: `queue`, `priority`, `key`, `origin`, `status`, `at` (a time, or from now), `within` (how far off that
        may be), `meta` (a part), `input` (a part), and arguments of the task by their own names. A function is asked
        with the value; anything else is compared by `==`. Raises `AssertionError`, which says what there is, and
        `DefinitionError` for an argument that the task does not have.
        """
        __tracebackhide__ = True
        return await self._jobs.assert_some(task, wanted, count)

    async def refute_enqueued(self, task: Task[Any, Any] | str | None = None, /, **wanted: Any) -> None:
        """Assert that no such job waits or runs. What `wanted` may say: `assert_enqueued`."""
        __tracebackhide__ = True
        await self._jobs.assert_none(task, wanted)

    async def assert_no_failures(self, *, ignoring: tuple[Task[Any, Any] | str, ...] | list[Any] = ()) -> None:
        """Assert that no job has failed, is dead, or waits for a retry. `ignoring`: tasks, and texts of errors."""
        __tracebackhide__ = True
        await self._jobs.assert_no_failures(ignoring)

    # -- synchronous tests -----------------------------------------------------------------------------------------

    @property
    def sync(self) -> Any:
        """The same for synchronous tests: `k.sync.drain()`, `k.sync.assert_enqueued(...)`, `k.sync.advance("1d")`."""
        return Bridge(self.app.sync, self)


kit = Kit
"""`async with kit(app) as k:` reads better than the name of a class."""


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
