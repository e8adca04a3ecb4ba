"""Gates: records that close a queue or a task to claims until they expire. Pause has no end, a throttle has one.

A claim reads the gates in its own atomic step, so nothing is claimed after `close` has returned. One gate per queue or
task: the last word counts.
"""

from __future__ import annotations

from mainspring.core.clock import Clock
from mainspring.core.records import GATE, Record, closed
from mainspring.errors import Contended
from mainspring.stores.base import Store

ATTEMPTS = 50


class Gates:
    """Opens and closes gates by name (`core.records.queue_gate`, `task_gate`)."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def close(self, name: str, until: int | None, reason: str = "") -> None:
        """Close until `until` (ms; None: until opened). Raises `Contended` where others write it all the time."""
        for _ in range(ATTEMPTS):
            now = self._clock.now()
            gate = await self._store.read(GATE, name) or Record(kind=GATE, name=name)
            gate = gate.evolve(written_at=now, expires_at=until, value={"reason": reason, "since": now})
            if (await self._store.write([gate]))[0] is not None:
                return
        raise Contended(f"gate {name!r} was written by others {ATTEMPTS} times in a row. Try again.")

    async def open(self, name: str) -> bool:
        """Open. False: it was not closed."""
        for _ in range(ATTEMPTS):
            gate = await self._store.read(GATE, name)
            if gate is None:
                return False
            if await self._store.erase(gate):
                return closed(gate, self._clock.now())
        raise Contended(f"gate {name!r} was written by others {ATTEMPTS} times in a row. Try again.")

    async def read(self, name: str) -> Record | None:
        """The gate, if it is closed now."""
        gate = await self._store.read(GATE, name)
        return gate if gate is not None and closed(gate, self._clock.now()) else None
