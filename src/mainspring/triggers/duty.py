"""Who fires: one worker at a time does it at once, and the others see to it that it is done.

This saves work and is never needed for correctness: any number may fire at once (`triggers.clock`). A record names the
one on duty. Nothing is renewed. What is due and still stands after `PATIENCE` is fired by whoever sees it first, who is
on duty from then on: so a dead one costs half a second to a second once, and needs no time-out.
"""

from __future__ import annotations

import random
from time import monotonic

from mainspring.core.clock import Clock
from mainspring.core.records import DUTY, WORKER, Record
from mainspring.stores.base import Store

PATIENCE = 0.5
"""Seconds for which what is due may stand still before somebody else takes over."""
NAME = "clock"


class Duty:
    """Whether `worker` is the one to fire."""

    def __init__(self, store: Store, clock: Clock, worker: str) -> None:
        self._store = store
        self._clock = clock
        self._worker = worker
        self._standing: tuple[str, int] | None = None
        self._since = 0.0
        self.mine = False
        """As of the last look."""

    async def take(self, first: Record | None) -> bool:
        """Whether to fire now, `first` being what is due for longest; None: nothing is, take it where nobody has it."""
        record = await self._store.read(DUTY, NAME)
        self.mine = record is not None and record.value.get("worker") == self._worker
        if self.mine:
            return True
        if record is not None and (first is None or not self._stands_still(first)):
            return False
        wanted = (record or Record(kind=DUTY, name=NAME)).evolve(
            written_at=self._clock.now(), value={"worker": self._worker}
        )
        [won] = await self._store.write([wanted])
        self.mine = won is not None
        return self.mine

    def _stands_still(self, first: Record) -> bool:
        place = (first.name, first.version)
        if place != self._standing:
            self._standing, self._since = place, monotonic()
        return monotonic() - self._since >= PATIENCE

    async def hand_over(self) -> None:
        """Let the next one fire at once."""
        record = await self._store.read(DUTY, NAME)
        if record is None or record.value.get("worker") != self._worker:
            return
        if await self._store.erase(record):
            await wake_on_duty(self._store, self._clock.now(), but=self._worker)


async def wake_on_duty(store: Store, now: int, but: str = "") -> None:
    """Let the one on duty look now, or where nobody is, some worker `but` this one: a schedule has changed.

    A hint, as all of them.
    """
    record = await store.read(DUTY, NAME)
    worker = None if record is None else record.value.get("worker")
    if not isinstance(worker, str):
        found = await store.scan(WORKER)
        workers = [record.name for record in found if (record.expires_at or 0) > now and record.name != but]
        worker = random.choice(workers) if workers else None
    if worker is not None:
        await store.wake(worker)
