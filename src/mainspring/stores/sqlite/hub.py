"""Who waits for what, in this process: the short way for a hint between stores of the same database.

Other processes learn of it by the file (`hints`). May be called from any thread; holds no connection.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Waiter:
    """One sleeper, on one event loop."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)
        self.woken = False
        self.nudged = False
        self._loop = asyncio.get_running_loop()
        self._sleep: asyncio.Future[None] | None = None

    async def sleep(self, seconds: float) -> bool:
        """Sleep so long, or until woken. True: woken."""
        if self.woken:
            return True
        self._sleep = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._end)
        try:
            await self._sleep
        finally:
            timer.cancel()
            self._sleep = None
        return self.woken

    def wake(self) -> None:
        """End the sleep, or the next one. From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            pass  # That loop is closed.

    def nudge(self) -> None:
        """End the sleep, if there is one: it may be good to look. From the waiter's own loop."""
        self.nudged = True
        self._end()

    def _wake(self) -> None:
        self.woken = True
        self._end()

    def _end(self) -> None:
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)


class Hub:
    """The sleepers of one database."""

    def __init__(self) -> None:
        self.followed = False
        """Whether anybody follows the events, as the last write saw it."""
        self._lock = threading.Lock()
        self._waiters: set[Waiter] = set()

    @contextmanager
    def waiting(self, names: Sequence[str]) -> Iterator[Waiter]:
        """A waiter for `names`, for as long as the block lasts."""
        waiter = Waiter(names)
        with self._lock:
            self._waiters.add(waiter)
        try:
            yield waiter
        finally:
            with self._lock:
                self._waiters.discard(waiter)

    def wake(self, *names: str) -> None:
        """End the sleep of all who wait for one of `names`."""
        if not self._waiters or not names:
            return
        with self._lock:
            woken = [waiter for waiter in self._waiters if not waiter.names.isdisjoint(names)]
        for waiter in woken:
            waiter.wake()

    def wake_all(self) -> None:
        """End all sleeps."""
        with self._lock:
            woken = list(self._waiters)
        for waiter in woken:
            waiter.wake()


_hubs: weakref.WeakValueDictionary[str, Hub] = weakref.WeakValueDictionary()
_hubs_lock = threading.Lock()


def hub_of(path: str) -> Hub:
    """The hub of the database file at `path`: one per file and process."""
    path = os.path.realpath(path)
    with _hubs_lock:
        hub = _hubs.get(path)
        if hub is None:
            hub = _hubs[path] = Hub()
        return hub
