"""Hints: waiting on lists that hold at most one token each, so that one wake ends one wait.

A waiter listens for its names, and for the lanes (queue and task) that it named in its last claim: what is added goes
to somebody who can run it. Who fills all its slots with a claim passes the hint on (`lua/claim.lua`, `duties.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

from mainspring.errors import StoreError, StoreFull
from mainspring.stores.redis.duties import Duties
from mainspring.stores.redis.failures import Broken, Refusal
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
        self.duties = Duties(self._return)

    def claims(self, queue: str, tasks: Mapping[str, int | None]) -> None:
        """Remember what a claim of `queue` names."""
        self._lanes[queue] = tasks

    async def wake(self, *names: str) -> None:
        """End one wait for each of `names`."""
        try:
            await self._put(*map(self._key, names))
        except StoreFull:
            pass  # a hint may be lost; a pause, or whatever it tells of, stands

    async def wait(self, names: Sequence[str], timeout: float) -> bool:
        """Sleep until one of `names` is woken, or `timeout` seconds are over."""
        line = await self._link.borrow()
        try:
            waiting = _Waiting(line, self._keys(names), max(timeout, SHORTEST))
        except Broken as error:
            self._link.give_back(line)
            raise self._link.judged(line, error) from error
        self._waiting.add(waiting)
        self.duties.waits()
        try:
            await waiting.over
        finally:
            self._waiting.discard(waiting)
            if waiting.replied:
                self._link.give_back(line)
            else:
                self._end(waiting)
            if waiting.token is not None:  # also where the wait was cancelled in that moment
                self.duties.take(waiting.token.decode().removeprefix(self._key("")))
            self.duties.waited()
        if waiting.error is not None:
            raise self._link.judged(line, waiting.error) from waiting.error
        if waiting.token is not None:
            self._share(waiting.token)
        return waiting.token is not None or not waiting.replied

    def _share(self, key: bytes) -> None:
        """Tell the others who wait here for the same: one token is for one store, however many wait in it."""
        for waiting in self._waiting:
            if key.decode() in waiting.keys:
                waiting.wake()

    def _end(self, waiting: _Waiting) -> None:
        """Have a wait that was left end on the server too, without losing the token it may have got."""
        self._spawn(self._unblock(waiting))

    def _return(self, names: Iterable[str]) -> None:
        """Put hints back that this store took, and does nothing about."""
        self._spawn(self._put_quietly(names))

    def _spawn(self, ending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(ending, name="mainspring-unblock")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _put_quietly(self, names: Iterable[str]) -> None:
        try:
            async with asyncio.timeout(GIVE_UP):
                await self._put(*map(self._key, names))
        except (StoreError, TimeoutError):
            pass  # a hint may be lost

    async def _unblock(self, waiting: _Waiting) -> None:
        waiting.begin_again()
        pause = RETRY
        try:
            async with asyncio.timeout(GIVE_UP):
                while not waiting.replied:
                    # The server may learn of the end before it learns of the wait.
                    await self._link.command("CLIENT", "UNBLOCK", waiting.line.id)
                    await asyncio.wait([waiting.over], timeout=pause)
                    pause *= 2
            if waiting.token is not None:
                await self._put(waiting.token)
        except (StoreError, TimeoutError):
            pass  # a hint may be lost
        finally:
            self._link.give_back(waiting.line)

    async def close(self) -> None:
        """Let the waits that are still ending end, and others take over what was told to this store alone."""
        if names := self.duties.release():
            self._return(names)
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _put(self, *keys: str | bytes) -> None:
        # A token more than the one that is there is none.
        await self._link.commands(
            [command for key in keys for command in (("RPUSH", key, 1), ("LTRIM", key, 0, 0), ("PEXPIRE", key, KEPT))]
        )

    def _keys(self, names: Iterable[str]) -> list[str]:
        names = list(names)
        lanes = [f"{name}/{task}" for name in names for task in self._lanes.get(name, ())]
        return [self._key(name) for name in (*names, *lanes)]

    def _key(self, name: str) -> str:
        return f"{self._link.namespace}:hint:{name}"


class _Waiting:
    """One blocked read, on a connection of its own.

    It takes the reply itself (`line.Receiver`): a future and a task between the socket and the pump would be two turns
    of the loop more, a tenth of a millisecond of every pick-up.
    """

    def __init__(self, line: Line, keys: list[str], seconds: float) -> None:
        self.line = line
        self.keys = keys
        self.over = asyncio.get_running_loop().create_future()
        """Done when there is a reply, or another wait of this store got a token of these keys."""
        self.replied = False
        self.token: bytes | None = None
        """The key of the list that a token came from."""
        self.error: Refusal | Broken | None = None
        line.block_to(self, ("BLPOP", *keys, seconds), seconds)

    def wake(self) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def begin_again(self) -> None:
        """Wait for the reply itself, after the wait was left."""
        self.over = asyncio.get_running_loop().create_future()
        if self.replied:
            self.wake()

    # -- what a line does with its receivers

    def done(self) -> bool:
        return False

    def set_result(self, reply: list[bytes] | None) -> None:
        self.replied = True
        self.token = None if reply is None else reply[0]
        self.wake()

    def set_exception(self, error: Exception) -> None:
        self.replied = True
        self.error = error if isinstance(error, (Refusal, Broken)) else None
        self.wake()
