"""Sleeping until there may be something to do.

Stores of the same process are woken at once, by the hub. For other processes the kernel tells that the file is written
(`watch`); for a moment after that, and where it cannot tell, the file is asked every few milliseconds whether something
was committed, which costs 5 us and no write. Only when it was, the hints are read. So idle workers never write, and the
settles and heartbeats of others wake nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

from mainspring.stores.sqlite import hints
from mainspring.stores.sqlite.database import Database
from mainspring.stores.sqlite.hub import Waiter

QUEUE_PERIOD = 0.010
"""Seconds between two looks at the file for work: half of it is the pick-up latency from another process."""
WORKER_PERIOD = 0.050
"""The same where only worker ids are waited for: a cancel may take a little longer."""
SOON = 0.001
"""Seconds to the second look after the file was written: a commit can be seen only a moment later. Each further look
comes twice as late, down to the period."""
ASLEEP = 0.25
"""Seconds between two looks while the kernel would tell: for file systems on which it forgets to."""
FREED = "freed:"
"""What a waiter that a cap held back waits for, too, in the hub."""


class Marks:
    """What this store knew of each name: of a queue as of its last claim, of a worker as of its last wait."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._full: set[str] = set()

    def claimed(self, queue: str, mark: int, full: bool) -> None:
        """Take in what a claim saw. `full`: a cap kept something back, so any change may let it in."""
        self._known[queue] = mark
        if full:
            self._full.add(queue)
        else:
            self._full.discard(queue)

    def known(self, name: str) -> int | None:
        return self._known.get(name, 0 if _is_worker(name) else None)

    def full(self, names: Sequence[str]) -> bool:
        return not self._full.isdisjoint(names)

    def seen(self, now: dict[str, int]) -> None:
        """Take in what a wait saw: it uses up the wakes of a worker id. Those of a queue a claim uses up."""
        self._known.update({name: n for name, n in now.items() if _is_worker(name)})


def _is_worker(name: str) -> bool:
    return ":" in name


async def wait(database: Database, marks: Marks, names: Sequence[str], timeout: float) -> bool:
    """Sleep until one of `names` is woken (True), or for `timeout` seconds of real time (False)."""
    full = marks.full(names)
    with database.hub.waiting([*names, FREED] if full else names) as waiter:
        look = _Look(database, waiter, WORKER_PERIOD if all(map(_is_worker, names)) else QUEUE_PERIOD, timeout)
        now = await _read(database, names)
        known = {name: now[name] if (n := marks.known(name)) is None else n for name in names}
        while now == known and not waiter.woken:
            if not await look.again():
                return False
            if look.changed or waiter.woken:
                now = await _read(database, names)
                if full:
                    break
        marks.seen(now)
        return True


class _Look:
    """When to look at the file, and whether it has changed since the last look."""

    def __init__(self, database: Database, waiter: Waiter, period: float, timeout: float) -> None:
        self.changed = False
        self._database = database
        self._waiter = waiter
        self._period = period
        self._time = asyncio.get_running_loop().time
        self._end = self._time() + timeout
        self._alert_until = 0.0
        self._pause = period
        self._version = database.version()

    async def again(self) -> bool:
        """Sleep until it is time to look, and look. False: the time is over."""
        left = self._end - self._time()
        if left <= 0:
            return False
        await self._sleep(left)
        last, self._version = self._version, self._database.version()
        self.changed = last != self._version
        if self.changed:
            # It was not for us, or we would not be back here. A busy file is looked at once a period.
            self._pause, self._alert_until = self._period, self._time() + self._period
        elif self._waiter.nudged:
            self._pause, self._alert_until = SOON, self._time() + self._database.alert
        return True

    async def _sleep(self, left: float) -> None:
        self._waiter.nudged = False
        alert = self._time() < self._alert_until
        with nullcontext(False) if alert else self._database.listening(self._waiter) as listening:
            await self._waiter.sleep(min(left, ASLEEP if listening else self._pause))
        self._pause = min(self._period, self._pause * 2)


async def _read(database: Database, names: Sequence[str]) -> dict[str, int]:
    return await database.read(partial(hints.marks, names=names))
