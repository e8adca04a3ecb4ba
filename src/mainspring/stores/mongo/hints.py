"""Hints: a small capped collection rings in all processes that listen. May be lost; polling is the truth.

A document names the lanes (`queue/task`) or worker ids that are to look. All who wait for a queue hear it, so they
would all look at once, and all but one in vain. Therefore whoever looked in vain after a hint waits a little longer the
next time, up to `WIDEST`, and whoever found something waits less: in an idle fleet the first to look is there in a
moment, the others' looks are spread, and a worker that is alone does not wait at all.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing

from mainspring.errors import StoreError
from mainspring.stores.mongo.link import Link
from mainspring.stores.mongo.tail import OPENED, tail

LAST_WORDS = 1.0
"""Seconds that the last hint may take when the store is closed."""
NARROWEST, WIDEST = 0.002, 0.25
"""Seconds over which looks are spread."""
ALL = "*"
"""In place of a task, or of a queue: a hint for all of them."""


class Hints:
    """What one store hears and tells."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._ear: asyncio.Task[None] | None = None
        self._heard = 0
        """Grows with each hint."""
        self._latest: dict[str, dict[str, int]] = {}
        """By queue or worker id, and task: when it was last named, as `_heard` was."""
        self._looked: dict[str, int] = {}
        """What had been heard when this queue was last claimed from."""
        self._tasks: dict[str, frozenset[str]] = {}
        """By queue: what has ever been claimed of it."""
        self._opened = asyncio.Event()
        """The ear is connected. Before that it is not to be cancelled: asyncio of Python 3.11 leaks the socket."""
        self._changed = False
        self._wanted: set[str] = set()
        """The names that are listened for; a set that only grows."""
        self._waiters: set[asyncio.Future[None]] = set()
        self._spread = 0.0
        self._woken = False
        self._at_once = False
        self._pending: set[str] = set()
        self._telling: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._telling is not None:
            await asyncio.wait([self._telling], timeout=LAST_WORDS)
        if self._ear is not None and not self._ear.done():
            opened = asyncio.create_task(self._opened.wait())
            await asyncio.wait([self._ear, opened], timeout=LAST_WORDS, return_when=asyncio.FIRST_COMPLETED)
            opened.cancel()
        ending = {task for task in (self._ear, self._telling) if task is not None}
        self._ear = self._telling = None
        while ending:  # again and again: a driver may take a cancellation for its own
            for task in ending:
                task.cancel()
            _, ending = await asyncio.wait(ending, timeout=0.2)

    # -- telling -----------------------------------------------------------------------------------------------

    def tell(self, names: Iterable[str]) -> asyncio.Task[None]:
        """Ring for these names. While one hint is on its way others gather, and go together."""
        self._pending.update(names)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell(), name="mainspring-tell")
        return self._telling

    async def _tell(self) -> None:
        while self._pending:
            names, self._pending = sorted(self._pending), set()
            self._hear(names)
            self._at_once = True  # whoever has made room is the first to look
            try:
                with self._link.calls():
                    await self._link["signals"].insert_one({"names": names})
            except StoreError:
                pass  # a hint

    # -- hearing -----------------------------------------------------------------------------------------------

    def claims(self, queue: str, tasks: Mapping[str, int | None]) -> None:
        """A claim begins: what was heard before it is done with."""
        known = self._tasks.get(queue, frozenset())
        if not tasks.keys() <= known or queue not in self._tasks:
            self._tasks[queue] = known.union(tasks)  # of all workers that share this store
            self._listen_for({queue, *(f"{queue}/{task}" for task in tasks), *(f"{ALL}/{task}" for task in tasks)})
        self._looked[queue] = self._heard
        self._at_once = False

    def claimed(self, took: bool) -> None:
        """A claim is over."""
        if not self._woken:
            return
        self._woken = False
        wider = min(max(self._spread * 2, NARROWEST), WIDEST)
        self._spread = wider if not took else self._spread / 2 if self._spread > NARROWEST else 0.0

    async def wait(self, names: Sequence[str], timeout: float) -> bool:
        """Sleep until one of `names` is heard, or `timeout` seconds are over."""
        self._link.check_open()
        self._listen_for({name for name in names if name not in self._tasks})
        # As it is now: another worker that shares this store may claim meanwhile, and does not look for us.
        since = {name: self._looked.get(name, 0) for name in names}
        try:
            async with asyncio.timeout(timeout):
                while not self._is_woken(since):
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
                if self._spread and not self._at_once and not any(":" in name for name in names):
                    await asyncio.sleep(random.uniform(0, self._spread))
        except TimeoutError:
            return self._is_woken(since)
        for name in names:
            if ":" in name:  # a worker's id: it claims nothing, so this is when it has looked
                self._looked[name] = self._heard
        self._woken = True
        return True

    def _is_woken(self, since: Mapping[str, int]) -> bool:
        return any(self._newest(name) > before for name, before in since.items())

    def _newest(self, name: str) -> int:
        """When a hint last came for `name` that concerns the tasks that are claimed of it."""
        tasks = self._tasks.get(name)
        return max(
            (
                at
                for place in ((name,) if ":" in name else (name, ALL))
                for task, at in self._latest.get(place, {}).items()
                if task == ALL or tasks is None or task in tasks
            ),
            default=0,
        )

    def _listen_for(self, names: set[str]) -> None:
        """Hear these names too. The server sorts out the others: in a large fleet most hints are for somebody else."""
        self._changed = self._changed or not names <= self._wanted
        self._wanted |= names
        if self._ear is None or self._ear.done():
            self._ear = asyncio.create_task(self._run(), name="mainspring-ear")
        elif self._changed and self._opened.is_set():
            self._ear.cancel()
            self._ear = asyncio.create_task(self._run(), name="mainspring-ear")

    async def _run(self) -> None:
        again = False
        while not again or self._changed:
            self._changed = False
            self._opened.clear()
            again = await self._hear_all(again)

    async def _hear_all(self, again: bool) -> bool:
        """Listen until other names are wanted, too; answers that it has listened."""
        # A queue that is waited for, and was not claimed from, stands for all of its lanes.
        lanes = [re.compile(f"^{re.escape(name)}/") for name in self._wanted - self._tasks.keys() if ":" not in name]
        names = {"names": {"$in": [*sorted(self._wanted), *lanes]}}
        async with aclosing(tail(self._link, "signals", names)) as documents:
            async for document in documents:
                if document is OPENED:
                    self._opened.set()
                    if again:  # while nobody listened something may have been said
                        self._hear(self._looked)
                    again = True
                elif document is not None:
                    self._hear(document["names"])
                if self._changed or asyncio.current_task() is not self._ear:
                    return True
        return True

    def _hear(self, names: Iterable[str]) -> None:
        self._heard += 1
        for name in names:
            # A queue's name has no colon, a worker's id always has one.
            place, _, task = (name, "", ALL) if ":" in name else name.partition("/")
            self._latest.setdefault(place, {})[task or ALL] = self._heard
        if len(self._latest) > 10_000:  # names of workers that came and went
            self._latest.clear()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
