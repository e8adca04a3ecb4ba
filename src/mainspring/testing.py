"""For tests: a clock that stands still until it is told otherwise.

clock = FakeClock()
app = Mainspring("sqlite://:memory:", clock=clock)
await clock.advance("1h")
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from mainspring.core.duration import Duration, instant, milliseconds

START = datetime(2030, 1, 1, tzinfo=UTC)


class FakeClock:
    """Time for a whole app: its store, its workers and its clients. Safe to read from any thread."""

    def __init__(self, start: datetime = START) -> None:
        self._now = instant(start, "start")
        self._listeners: list[Callable[[], object]] = []

    def now(self) -> int:
        """The time, in ms since the epoch."""
        return self._now

    async def advance(self, duration: Duration) -> None:
        """Move the time on, wake what waits for it, and let it take its turn."""
        self._now += milliseconds(duration, "advance")
        for listener in list(self._listeners):
            listener()
        await asyncio.sleep(0)

    def listen(self, listener: Callable[[], object]) -> None:
        """Call `listener` whenever the time moves. It must not block."""
        self._listeners.append(listener)
