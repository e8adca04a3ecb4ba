"""A clock that stands still until a test moves it; workers do all there is to do on the way.

clock = FakeClock()
app = Mainspring("sqlite://:memory:", clock=clock)
async with app.worker():
    await clock.advance("30d")  # everything that is due in that time runs, in order
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from mainspring.app import Attached
from mainspring.core.duration import Duration, instant, milliseconds

START = datetime(2030, 1, 1, tzinfo=UTC)
ROUNDS = 20
"""How often all are asked whether something is left that is due now: what one worker ends may be work for another."""


class FakeClock:
    """Time for a whole app: its store, its workers and its clients. Safe to read from any thread."""

    def __init__(self, start: datetime = START) -> None:
        self._now = instant(start, "start")
        self._listeners: list[Callable[[], object]] = []
        self._attached: list[Attached] = []

    def now(self) -> int:
        """The time, in ms since the epoch."""
        return self._now

    def utcnow(self) -> datetime:
        """The time, as an aware datetime in UTC."""
        return datetime.fromtimestamp(self._now / 1000, UTC)

    @property
    def attached(self) -> tuple[Attached, ...]:
        """The workers that run by this clock, in any event loop."""
        return tuple(self._attached)

    async def advance(self, duration: Duration) -> None:
        """Move the time on. Where a worker runs, it goes from one due time to the next, of schedules and of jobs, and
        lets everything run that is due at each: so a month of a daily schedule is thirty runs, in order.

        A handler that does not end within a second is not waited for: it waits for the test, and keeps its lease.
        """
        end = self._now + milliseconds(duration, "advance")
        due = await self._quiet()
        while due is not None and due <= end:
            await self._move(due, end)
            due = await self._quiet()
        await self._move(end, end)
        await self._quiet()

    def listen(self, listener: Callable[[], object]) -> None:
        """Call `listener` whenever the time moves. It must not block."""
        self._listeners.append(listener)

    def attach(self, worker: Attached) -> None:
        """Ask this worker, if it lives in the event loop that moves the time, whether it may go on."""
        self._attached.append(worker)

    def detach(self, worker: Attached) -> None:
        self._attached = [one for one in self._attached if one is not worker]

    async def _move(self, now: int, end: int) -> None:
        for worker in list(self._attached):
            await worker.hold(end)
        self._now = now
        for listener in list(self._listeners):
            listener()

    async def _quiet(self) -> int | None:
        """Let all have their turn; answers the next due time after now."""
        dues: list[int] = []
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
            dues = [due for worker in list(self._attached) if (due := await worker.until()) is not None]
            if all(due > self._now for due in dues):
                break
        return min((due for due in dues if due > self._now), default=None)
