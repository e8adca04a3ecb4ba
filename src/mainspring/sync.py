"""For synchronous callers: one thread with an event loop, and one way through to it.

job = app.sync(send_email.enqueue, to="a@b.c")
app.sync(job.result, timeout=10)
app.sync.jobs.list(status="dead")
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from mainspring.errors import MainspringError

if TYPE_CHECKING:
    from mainspring.app import Mainspring

P = ParamSpec("P")
T = TypeVar("T")


class Sync:
    """Calls coroutine functions from synchronous code, from any number of threads, and waits for their answer."""

    def __init__(self, app: Mainspring) -> None:
        self._app = app
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def __call__(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call and wait. Raises what the function raises, and `MainspringError` from inside an event loop."""
        _refuse_inside_loop(function)

        async def call() -> T:
            return await function(*args, **kwargs)

        future = asyncio.run_coroutine_threadsafe(call(), self._running_loop())
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C while waiting: the call is given up too
            raise

    def __getattr__(self, name: str) -> Any:
        """The same attribute of the app, its coroutine functions made synchronous: `app.sync.enqueue(...)`."""
        if name.startswith("_"):
            raise AttributeError(name)
        return _bridged(self, getattr(self._app, name))

    def close(self) -> None:
        """End the thread; its client is closed. Twice is once; a later call starts it again."""
        with self._starting:
            thread, self._thread = self._thread, None
            if thread is None or self._loop is None or self._stop is None:
                return
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join()
            atexit.unregister(self.close)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                started = threading.Event()
                self._thread = threading.Thread(
                    target=lambda: asyncio.run(self._live(started)), name="mainspring-sync", daemon=True
                )
                self._thread.start()
                started.wait()
                atexit.register(self.close)
            assert self._loop is not None
            return self._loop

    async def _live(self, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        started.set()
        await self._stop.wait()
        await self._app.close()


class Bridge:
    """Something of the app, for synchronous callers."""

    def __init__(self, sync: Sync, target: Any) -> None:
        self._sync = sync
        self._target = target

    def __getattr__(self, name: str) -> Any:
        return _bridged(self._sync, getattr(self._target, name))


def _bridged(sync: Sync, value: Any) -> Any:
    if inspect.iscoroutinefunction(value):
        return partial(sync, value)
    if not callable(value) and type(value).__module__.startswith("mainspring."):
        return Bridge(sync, value)
    return value


def _refuse_inside_loop(function: object) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    name = getattr(function, "__qualname__", repr(function))
    raise MainspringError(
        f"app.sync was called from inside a running event loop (for {name}); it would block the loop. "
        "Await the function itself."
    )
