"""Hints: waiting on lists that hold at most one token each, so that one wake ends one wait.

A waiter listens for its names, and for the lanes (queue and task) that it named in its last claim: what is added goes
to somebody who can run it. Who fills all its slots with a claim passes the hint on (`lua/claim.lua`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mainspring.errors import StoreError, StoreFull
from mainspring.stores.redis.line import Line
from mainspring.stores.redis.link import Link

KEPT = 3_600_000
"""ms after which a hint that nobody fetched goes."""
SHORTEST = 0.002
"""Seconds; 0 would be without end, and Redis 6.2 takes 0.001 for 0."""
RETRY = 0.005
"""Seconds after which a server that did not know the wait yet is told of its end again; twice as long each time."""
GIVE_UP = 1.0
"""Seconds after which a wait that the server does not know of is hung up: its connection is half-open."""


class Hints:
    """The waits of one store."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lanes: dict[str, Mapping[str, int | None]] = {}
        self._waiting: set[_Waiting] = set()
        self._ending: set[asyncio.Task[None]] = set()

    def claimed(self, queue: str, tasks: Mapping[str, int | None]) -> None:
        """Remember what a claim of `queue` named."""
        self._lanes[queue] = tasks

    async def wake(self, name: str) -> None:
        """End one wait for `name`."""
        try:
            await self._put(self._key(name))
        except StoreFull:
            pass  # a hint may be lost; a pause, or whatever it tells of, stands

    async def wait(self, names: Sequence[str], timeout: float) -> bool:
        """Sleep until one of `names` is woken, or `timeout` seconds are over."""
        waiting = _Waiting(self._link, self._keys(names), max(timeout, SHORTEST))
        self._waiting.add(waiting)
        try:
            ends: list[asyncio.Future[Any]] = [waiting.task, waiting.told]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            token = waiting.task.result() if waiting.task.done() else None
            if token is not None:
                self._share(token[0].decode())
            return token is not None or waiting.told.done()
        finally:
            self._waiting.discard(waiting)
            if not waiting.task.done():
                self._end(waiting)

    def _share(self, key: str) -> None:
        """Tell the others who wait here for the same: one token is for one store, however many wait in it."""
        for waiting in self._waiting:
            if key in waiting.keys and not waiting.told.done():
                waiting.told.set_result(None)

    def _end(self, waiting: _Waiting) -> None:
        """Have a wait that was cancelled end on the server too, without losing the token it may have got."""
        ending = asyncio.create_task(self._give_back(waiting), name="mainspring-unblock")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _give_back(self, waiting: _Waiting) -> None:
        try:
            token = await waiting.end()
            if token is not None:
                await self._put(token[0])
        except StoreError:
            pass  # a hint may be lost

    async def close(self) -> None:
        """Let the waits that are still ending end."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _put(self, key: str | bytes) -> None:
        # A token more than the one that is there is none.
        await self._link.commands([("RPUSH", key, 1), ("LTRIM", key, 0, 0), ("PEXPIRE", key, KEPT)])

    def _keys(self, names: Iterable[str]) -> list[str]:
        names = list(names)
        lanes = [f"{name}/{task}" for name in names for task in self._lanes.get(name, ())]
        return [self._key(name) for name in (*names, *lanes)]

    def _key(self, name: str) -> str:
        return f"{self._link.namespace}:hint:{name}"


class _Waiting:
    """One blocked read, on a connection of its own."""

    def __init__(self, link: Link, keys: list[str], seconds: float) -> None:
        self._link = link
        self._line: Line | None = None
        self.keys = keys
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when another wait of this store got a token of these keys."""
        self.task = asyncio.create_task(self._block(keys, seconds), name="mainspring-wait")

    async def _block(self, keys: list[str], seconds: float) -> list[bytes] | None:
        async with self._link.blocking() as line:
            self._line = line
            token: list[bytes] | None = await line.block(("BLPOP", *keys, seconds), seconds)
            return token

    async def end(self) -> list[bytes] | None:
        """Unblock it; answers what it had got by then."""
        if self._line is None:
            self.task.cancel()
        pause = RETRY
        try:
            async with asyncio.timeout(GIVE_UP):
                while self._line is not None and not self.task.done():
                    # The server may learn of the end before it learns of the wait.
                    await self._link.command("CLIENT", "UNBLOCK", self._line.id)
                    await asyncio.wait([self.task], timeout=pause)
                    pause *= 2
        except (StoreError, TimeoutError):
            self.task.cancel()
        await asyncio.wait([self.task])
        return None if self.task.cancelled() else self.task.result()
