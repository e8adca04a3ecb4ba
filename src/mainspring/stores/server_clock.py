"""The time of the store: the server's clock plus an offset that all processes share.

Leases and due times are told by it, so a clock that steps (set by hand, or another server's after a failover) would end
all leases at once, or hold everything back. Each process knows how much time has passed since it last asked. Where the
server says something else, the offset takes up the difference, and then goes back to zero slowly: time runs on for
everybody, 5 % faster or slower for a while; 50 % where the clock was off by more than ten minutes.

A process that was suspended is wrong itself. It moves the clock, the others move it back, and it has learnt: a process
moves the clock once in ten minutes at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

TOLERATED = 1_000
"""ms that the server may be off what was expected: a round trip and the drift of two clocks are far less."""
SLOW, FAST = 0.05, 0.5
"""ms that the offset shrinks in each ms."""
FAR = 600_000
"""ms of offset from which it shrinks fast."""
ONCE_IN = 600_000
"""ms for which a process that has moved the clock takes it as it is."""
SURE = 500
"""ms that a reading may take for anything to be concluded from it."""
ATTEMPTS = 5


class Reading(NamedTuple):
    server: int
    """What the server's clock shows, ms since the epoch."""
    offset: int
    """What all processes add to it."""
    moved: int
    """When the offset was changed last, on the store's clock."""


class Server(Protocol):
    """Where the time comes from."""

    async def read(self) -> Reading: ...

    async def move(self, offset: int, new: int, at: int) -> bool:
        """Change the offset, if it is still `offset`. False: somebody else was faster."""
        ...


def since_boot() -> int:
    """ms since some moment in the past, time asleep included where the system counts it."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return (time.monotonic_ns() if clock is None else time.clock_gettime_ns(clock)) // 1_000_000


class ServerClock:
    """One process's view of the time of a store; see the module."""

    def __init__(self, since: Callable[[], int] = since_boot) -> None:
        self._since = since
        self._last: tuple[int, int] | None = None
        """When it was read last, and what it was."""
        self._moved_at: int | None = None
        """When this process moved it for a difference."""

    async def now(self, source: Server) -> int:
        """The time in ms since the epoch. Writes only while the server's clock is found to be off."""
        asked = answered = now = 0
        for _ in range(ATTEMPTS):
            asked = self._since()
            server, offset, moved = await source.read()
            answered = self._since()
            now = server + offset
            if answered - asked > SURE:  # as during a failover, when all depends on it: the next one is quick
                continue
            off = self._difference(offset, now, asked, answered)
            step = off or _back(offset, now - moved)
            if not step:
                break
            if await source.move(offset, offset + step, now + step):
                now += step
                self._moved_at = answered if off else self._moved_at
                break
        if answered - asked <= SURE:  # else nobody knows when within that time it was read
            self._last = ((asked + answered) // 2, now)
        return now

    def _difference(self, offset: int, now: int, asked: int, answered: int) -> int:
        """How far to move the clock for it to go on as it went; 0 where it does, or nobody can tell."""
        if self._last is None:
            return 0
        if self._moved_at is not None and answered - self._moved_at < ONCE_IN:
            return 0
        then, was = self._last
        passed = (asked + answered) // 2 - then
        error = now - (was + passed)
        # The offset may have been larger when it was read last, and have shrunk fast.
        rate = _rate(abs(offset) + passed)
        return 0 if abs(error) <= TOLERATED + passed * rate else -error


def _rate(offset: int) -> float:
    return FAST if abs(offset) > FAR else SLOW


def _back(offset: int, passed: int) -> int:
    """How far to move an offset towards zero, `passed` ms after its last move."""
    most = int(max(0, passed) * _rate(offset))
    return max(-most, min(most, -offset))
