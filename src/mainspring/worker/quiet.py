"""A worker under a clock that a test holds: what it does before the time moves on, and after."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mainspring.worker.hold import Hold
    from mainspring.worker.worker import Worker

PATIENCE = 1.0
"""Seconds, of the wall clock, for which a handler is waited for; one that takes longer waits for the test."""
SLICES = 10
"""The parts of it: a machine that stands still for a second costs one of them, and not a handler its time."""
LOST = 10.0
"""Seconds after which a service that makes no round is not waited for any longer: its store has hung up."""


class Quiet:
    def __init__(self, worker: Worker) -> None:
        self.worker: Worker = worker
        self._given_up: set[Hold] = set()
        self._held_until = 0

    async def until(self) -> int | None:
        """Wait until nothing is left that is due now; answers when something is due next, as far as this worker knows.

        It answers None in another event loop than the worker's.
        """
        worker = self.worker
        if asyncio.get_running_loop() is not worker.loop:
            return None
        while True:
            taken = worker.desk.taken
            dues = [
                await worker.ticker.rounds.idle(worker.ticker.nudge, LOST),
                await worker.pump.rounds.idle(worker.pump.nudge, LOST),
            ]
            stuck = worker.pump.stuck
            await self._handlers()
            goes_on = stuck and not worker.pump.stuck
            if worker.desk.taken == taken and not goes_on:
                return min((due for due in dues if due is not None), default=None)

    async def empty(self) -> None:
        """Wait until nothing is left that is due now, however long handlers take."""
        worker = self.worker
        while True:
            taken = worker.desk.taken
            await worker.ticker.rounds.idle(worker.ticker.nudge, None)
            if not worker.pump.paused:
                await worker.pump.rounds.idle(worker.pump.nudge, None)
            await worker.desk.empty()
            if worker.desk.taken == taken:
                return

    async def hold(self, now: int) -> None:
        """Keep what is held here, as its heartbeat would in all the time that is about to pass at once."""
        if asyncio.get_running_loop() is not self.worker.loop:
            return
        if now > self._held_until:
            self._held_until = now
            await self.worker.heartbeat.hold(now, alive=True)
        elif self.worker.desk.holds:
            await self.worker.heartbeat.hold(now)

    async def _handlers(self) -> None:
        desk = self.worker.desk
        self._given_up &= desk.holds
        for _ in range(SLICES):
            try:
                async with asyncio.timeout(PATIENCE / SLICES):
                    while desk.holds - self._given_up:
                        await desk.changed()
                return
            except TimeoutError:
                pass
        self._given_up |= desk.holds
