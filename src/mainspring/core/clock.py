"""The clock: the store's time, kept between two readings by this process's monotonic clock.

Every process runs on its monotonic clock plus an offset measured against `store.time()` at connect and at each beat.
So all agree within a round trip, a machine whose wall clock is wrong or steps does no harm, and a test can pass one
fake clock to everything.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SURE = 500
"""ms that a reading may take for its middle to be taken as the moment at which the store looked."""


def wall_ms() -> int:
    """The machine's wall clock in ms."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Clock:
    """Store time in ms, without asking the store. Not thread-bound: `adjust` replaces one number."""

    def __init__(self, monotonic: Callable[[], int] = monotonic_ms, wall: Callable[[], int] = wall_ms) -> None:
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def now(self) -> int:
        """The time of the store, in ms since the epoch."""
        return self._monotonic() + self._offset

    def adjust(self, asked: int, answered: int, store_time: int) -> int:
        """Take in a reading of the store's clock, made between two of `monotonic()`. Answers the change, in ms.

        A slow one (a server or a process that stood still, a failover) proves no more than that the store looked in
        that time: what was known before stands, as far as that allows.
        """
        if answered - asked <= SURE:
            offset = store_time - (asked + answered) // 2
        else:
            offset = min(max(self._offset, store_time - answered), store_time - asked)
        change, self._offset = offset - self._offset, offset
        return change

    def monotonic(self) -> int:
        return self._monotonic()
