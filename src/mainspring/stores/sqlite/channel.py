"""A connection with a thread of its own, which event loops talk to by futures.

A plain thread with an inbox costs 45 us a call, `asyncio.to_thread` 99 us. The thread is a daemon, so a store that was
not closed cannot keep the interpreter from ending. A call that was given up (cancelled, or past its deadline) leaves
the connection whole: what has begun is finished or interrupted, what has not begun is dropped.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from mainspring.errors import StoreUnavailable
from mainspring.stores.sqlite.failures import busy, interrupted, translate
from mainspring.stores.sqlite.settings import Settings

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

FIRST_PAUSE = 0.0002
LONGEST_PAUSE = 0.005
"""Seconds between two tries for a lock. SQLite's own handler sleeps up to 100 ms at a time: the unlucky starve."""


class Call(Generic[T]):
    """One piece of work on its way through a channel."""

    __slots__ = ("future", "loop", "work")

    def __init__(self, work: Work[T]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()

    def deliver(self, value: T | None, error: BaseException | None) -> None:
        """Hand the outcome to the loop that asked. From the channel's thread."""
        try:
            self.loop.call_soon_threadsafe(self._finish, value, error)
        except RuntimeError:
            pass  # That loop is closed: nobody is left to tell.

    def _finish(self, value: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(value)
        else:
            self.future.set_exception(error)


class Channel:
    """Runs work on one connection, one piece at a time, in the order of arrival."""

    def __init__(self, name: str, settings: Settings) -> None:
        self._name = name
        self._settings = settings
        self._inbox: SimpleQueue[Call[Any] | None] = SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._current: Call[Any] | None = None
        self._thread: threading.Thread | None = None
        self._process = 0
        self._last: Call[None] | None = None
        self._keep = False

    # -- from event loops ----------------------------------------------------------------------------------------

    def start(self, connection: sqlite3.Connection | None = None) -> None:
        """Start the thread, over a connection that is there already, or before `open` makes one."""
        self._process = os.getpid()
        self._connection = connection
        self._thread = threading.Thread(target=self._run, name=f"mainspring-{self._name}", daemon=True)
        self._thread.start()

    async def open(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Start, and `connect` in the thread. On failure nothing is left behind."""

        def begin(_: object) -> None:
            self._connection = connect()

        self.start()
        try:
            await self.call(begin)
        except BaseException:
            await self.close()
            raise

    async def call(self, work: Work[T]) -> T:
        """What `work` answers. Raises a `StoreError`; `StoreUnavailable` once the deadline has passed."""
        if self._process != os.getpid() or self._thread is None:
            raise self._absent()
        call = Call(work)
        self._inbox.put(call)
        timer = call.loop.call_later(self._settings.deadline, self._give_up, call)
        try:
            return await call.future
        finally:
            timer.cancel()

    async def close(self, keep: bool = False) -> None:
        """Finish what was asked for, let go of the connection (unless `keep`), end the thread. Twice is once."""
        thread, self._thread = self._thread, None
        if thread is None or self._process != os.getpid():
            return
        self._last = Call(lambda _: None)
        self._keep = keep
        self._inbox.put(None)
        try:
            async with asyncio.timeout(self._settings.deadline):
                await self._last.future
            thread.join(timeout=1.0)
        except TimeoutError:
            pass  # It hangs in the disk. The thread is a daemon, and holds nobody up.

    def _give_up(self, call: Call[Any]) -> None:
        if call.future.done():
            return
        path, deadline = self._settings.path or ":memory:", self._settings.deadline
        call.future.set_exception(
            StoreUnavailable(
                f"{path}: no answer within {deadline:g} s. It is not known whether the call took effect; try again."
            )
        )
        connection = self._connection
        if self._current is call and connection is not None:
            connection.interrupt()

    def _absent(self) -> StoreUnavailable:
        path = self._settings.path or ":memory:"
        if self._process and self._process != os.getpid():
            return StoreUnavailable(f"{path}: the store was opened in another process. Open one after the fork.")
        return StoreUnavailable(f"{path}: the store is not open. Call open() first, and close() last.")

    # -- in the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (call := self._inbox.get()) is not None:
            if call.future.done():
                continue
            self._current = call
            value, error = self._outcome(call)
            self._current = None
            call.deliver(value, error)
            del call, value, error
        connection, self._connection = self._connection, None
        if connection is not None and not self._keep:
            connection.close()
        if self._last is not None:
            self._last.deliver(None, None)

    def _outcome(self, call: Call[T]) -> tuple[T | None, BaseException | None]:
        try:
            return self._patiently(call), None
        except sqlite3.Error as e:
            translated = translate(e, self._settings)
            translated.__cause__ = e
            return None, translated
        except BaseException as e:
            return None, e

    def _patiently(self, call: Call[T]) -> T:
        """Do the work, again as long as another process holds the lock. Work is one transaction, so again is safe."""
        give_up = time.monotonic() + self._settings.patience
        pause = FIRST_PAUSE
        while True:
            try:
                return call.work(self._connection)  # type: ignore[arg-type]
            except sqlite3.OperationalError as e:
                # An interrupt meant for the call before may hit this one.
                if not (busy(e) or interrupted(e)) or time.monotonic() + pause > give_up:
                    raise
                time.sleep(pause)
                if call.future.done():
                    raise  # The caller has gone: nobody waits for it any longer.
            pause = min(pause * 1.5, LONGEST_PAUSE)
