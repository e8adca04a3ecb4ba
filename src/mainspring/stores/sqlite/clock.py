"""The clock of a database file: one time for all processes of a machine, whatever happens to its wall clock.

The time is the machine's time since boot, which nobody can set, plus an offset that all processes read from a record of
the database. So a wall clock that is stepped, or seen wrongly by one process, ends no lease. Where the wall clock is
found elsewhere, the offset follows it slowly: by a twentieth of the time that passes, so that two processes that read
it a beat apart differ by less than a beat. A wall clock that is off by more than ten minutes was not set before, and is
followed at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mainspring.core.clock import wall_ms
from mainspring.core.records import Record
from mainspring.stores.base import Store

KIND, NAME = "clock", "machine"
TOLERATED = 1_000
"""ms that the wall clock may differ before the offset follows it."""
RATE = 0.05
JUMP = 600_000
"""ms beyond which the offset follows at once."""
ATTEMPTS = 10


def boot_id() -> str | None:
    """Tells one boot of the machine from another; None where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def since_boot() -> int:
    """ms since the machine was booted, time asleep included. The same in all of its processes."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class MachineClock:
    """Reads the time of a store; see the module."""

    def __init__(
        self,
        wall: Callable[[], int] = wall_ms,
        since: Callable[[], int] = since_boot,
        boot: Callable[[], str | None] = boot_id,
    ) -> None:
        self._wall = wall
        self._since = since
        self._boot = boot()

    async def now(self, store: Store) -> int:
        """The time in ms since the epoch. Writes only at first after a boot, and while the wall clock differs."""
        if self._boot is None:
            return self._wall()
        for _ in range(ATTEMPTS):
            since = self._since()
            record = await store.read(KIND, NAME) or Record(kind=KIND, name=NAME)
            known = record.value.get("boot") == self._boot
            offset = int(record.value["offset"]) if known else self._wall() - since
            step = self._step(record.value, offset, since) if known else 0
            if known and not step:
                return since + offset
            value = {"boot": self._boot, "offset": offset + step, "moved_at": since}
            if (await store.write([record.evolve(written_at=since + offset, value=value)]))[0] is not None:
                return since + offset + step
        return self._wall()  # ten other processes in a row were faster; the next beat reads what they wrote

    def _step(self, value: dict[str, Any], offset: int, since: int) -> int:
        """How far to move the offset towards the wall clock now."""
        error = self._wall() - since - offset
        if abs(error) <= TOLERATED:
            return 0
        most = int((since - int(value["moved_at"])) * RATE)
        return error if abs(error) > JUMP else max(-most, min(most, error))
