"""Sleeping until there may be something to do.

Stores of the same process are woken at once, by the hub. For other processes the file is asked whether it has changed,
which costs 4 us and no write; only when it has, the hints are read. So idle workers never write, and the settles and
heartbeats of others wake nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from mainspring.stores.sqlite import hints
from mainspring.stores.sqlite.database import Database

QUEUE_PERIOD = 0.010
"""Seconds between two looks at the file for work: half of it is the pick-up latency from another process."""
WORKER_PERIOD = 0.050
"""The same where only worker ids are waited for: a cancel may take a little longer."""
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
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    full = marks.full(names)
    period = WORKER_PERIOD if all(map(_is_worker, names)) else QUEUE_PERIOD
    with database.hub.waiting([*names, FREED] if full else names) as waiter:
        version = database.version()
        now = await _read(database, names)
        known = {name: now[name] if (n := marks.known(name)) is None else n for name in names}
        while now == known and not waiter.woken:
            left = end - loop.time()
            if left <= 0:
                return False
            await waiter.sleep(min(left, period) if database.shared else left)
            last, version = version, database.version()
            if last != version or waiter.woken:
                now = await _read(database, names)
                if full:
                    break
        marks.seen(now)
        return True


async def _read(database: Database, names: Sequence[str]) -> dict[str, int]:
    return await database.read(partial(hints.marks, names=names))
