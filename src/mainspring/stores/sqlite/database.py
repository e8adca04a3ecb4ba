"""The connections of a store: a file's own two or three, or the one that all clones of a memory store share.

Writes and claims go through one connection, reads through another, so that a page of a dashboard does not hold up a
claim. A third connection is only asked whether the file has changed. In memory all three are one.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Protocol

from mainspring.errors import StoreUnavailable
from mainspring.stores.sqlite import events
from mainspring.stores.sqlite.channel import Channel, T, Work
from mainspring.stores.sqlite.connect import connect, open_for_writing, open_in_memory
from mainspring.stores.sqlite.hub import Hub, Waiter, hub_of
from mainspring.stores.sqlite.settings import Settings
from mainspring.stores.sqlite.transaction import transaction
from mainspring.stores.sqlite.watch import Watch

ALERT = 0.015
"""Seconds of looking after the file was written."""
ALERT_FULL = 0.1
"""The same with `synchronous=full`, where a commit can be seen when the disk has answered."""


class Database(Protocol):
    """What a store needs of its connections."""

    hub: Hub
    others_write: bool
    """Whether other processes may write."""
    alert: float
    """Seconds of looking after the file was written, for what was committed by that."""

    @property
    def watched(self) -> bool:
        """Whether the kernel tells of changes, so that nobody has to look for them."""
        ...

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def run(self, work: Work[T]) -> T:
        """Let `work` use the writing connection; its transactions are its own affair."""
        ...

    async def write(self, work: Work[T]) -> T:
        """Let `work` write, in one transaction."""
        ...

    async def read(self, work: Work[T]) -> T:
        """Let `work` read one snapshot."""
        ...

    def version(self) -> int:
        """A number that is another one after somebody has written. Cheap enough for the event loop: 4 us."""
        ...

    def listening(self, waiter: Waiter) -> AbstractContextManager[bool]:
        """Nudge the waiter when somebody may have written. False: nobody will, so it must look for itself."""
        ...


class File:
    """The connections of one store to a database file."""

    others_write = True

    def __init__(self, settings: Settings) -> None:
        assert settings.path is not None
        self.hub = hub_of(settings.path)
        self.alert = ALERT_FULL if settings.synchronous == "full" else ALERT
        self._settings = settings
        self._writer = Channel("writer", settings)
        self._reader = Channel("reader", settings)
        self._watcher: sqlite3.Connection | None = None
        self._watch: Watch | None = None
        self._seen = 0

    @property
    def watched(self) -> bool:
        return self._watch is not None and self._watch.works

    async def open(self) -> None:
        await self._writer.open(partial(open_for_writing, self._settings))
        try:
            await self._reader.open(partial(connect, self._settings))
            self._watcher = connect(self._settings)
            self._watch = Watch(str(self._settings.path))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.close()
        if self._watch is not None:
            self._watch.close()
        await self._reader.close()
        await self._writer.close()

    async def run(self, work: Work[T]) -> T:
        return await self._writer.call(work)

    async def write(self, work: Work[T]) -> T:
        return await self._writer.call(partial(_written, self.hub, work))

    async def read(self, work: Work[T]) -> T:
        return await self._reader.call(work)

    def version(self) -> int:
        if self._watcher is None:
            raise StoreUnavailable(f"{self._settings.path}: the store was closed.")
        try:
            (self._seen,) = self._watcher.execute("PRAGMA data_version").fetchone()
        except sqlite3.OperationalError:
            pass  # Locked for a moment by recovery: ask again at the next turn.
        return self._seen

    def listening(self, waiter: Waiter) -> AbstractContextManager[bool]:
        return nullcontext(False) if self._watch is None else self._watch.listening(waiter)


class Memory:
    """One database in memory, and how many stores use it. It lives as long as somebody refers to it."""

    others_write = False
    watched = False

    def __init__(self, settings: Settings) -> None:
        self.hub = Hub()
        self.alert = 0.0
        self._settings = settings
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._channel = Channel("memory", settings)
        self._users = 0

    async def open(self) -> None:
        # Two loops may open clones at once: the second waits a moment for a few statements in memory.
        with self._lock:
            if self._connection is None:
                self._connection = open_in_memory()
                weakref.finalize(self, self._connection.close)
            if self._users == 0:
                self._channel.start(self._connection)
            self._users += 1

    async def close(self) -> None:
        with self._lock:
            self._users -= 1
            channel, last = self._channel, self._users == 0
            if last:
                self._channel = Channel("memory", self._settings)
        if last:
            await channel.close(keep=True)

    async def run(self, work: Work[T]) -> T:
        return await self._channel.call(work)

    async def write(self, work: Work[T]) -> T:
        return await self._channel.call(partial(_written, self.hub, work))

    async def read(self, work: Work[T]) -> T:
        return await self._channel.call(work)

    def version(self) -> int:
        return 0  # All who write are in this process, and tell the hub.

    def listening(self, waiter: Waiter) -> AbstractContextManager[bool]:
        return nullcontext(True)


def _written(hub: Hub, work: Work[T], connection: sqlite3.Connection) -> T:
    with transaction(connection, "BEGIN IMMEDIATE"):
        answer = work(connection)
        hub.followed = events.followed(connection)
    return answer
