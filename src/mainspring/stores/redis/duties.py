"""Duties: what this store has to look after, for it took the hint that told of it.

The token of a lane is in its list, or it is the duty of one store. Whose duty it is looks again when the lane's first
job is due, which its claims tell, until nothing waits there. Where a claim fills all slots, the script hands the duty
on to the next waiter; where no claim follows at all (a pause, a stop, an error), it goes back into the list. So no job
has to wait for a poll because the one who knew of it got busy with something else. What dies with its process is left
to the polls of others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

PATIENCE = 0.5
"""Seconds after a wait within which a worker claims, if it goes on at all."""


class Duties:
    """Of one store. A name is that of a hint: a queue, or a queue and a task with a slash between."""

    def __init__(self, give_back: Callable[[Collection[str]], object]) -> None:
        self._give_back = give_back
        self._names: set[str] = set()
        self._fresh: set[str] = set()
        """Those whose queue was not claimed since the last wait."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._names)

    def take(self, name: str) -> None:
        """A hint was taken."""
        if ":" not in name:  # what a worker's own id is woken for nobody else can do
            self._names.add(name)

    def claimed(
        self, queue: str, tasks: Mapping[str, int | None], told: Collection[str], *, full: bool, nothing: bool
    ) -> None:
        """A claim of `queue` was made, whose script was told of the duties `told`.

        `full`: it took all that it could, and handed on what it was told of. `nothing`: nothing is to come for it.
        """
        for name in told:
            place, slash, task = name.partition("/")
            over = place == queue and (nothing or task not in tasks)
            if over or (full and slash):
                self._names.discard(name)
        self._fresh = {name for name in self._fresh if name.partition("/")[0] != queue}

    def waits(self) -> None:
        """A wait begins."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def waited(self) -> None:
        """A wait has ended: now claims should follow."""
        self.waits()
        if self._names:
            self._fresh = set(self._names)
            self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._give_up)

    def _give_up(self) -> None:
        left = self._fresh & self._names
        self._names -= left
        if left:
            self._give_back(left)

    def release(self) -> frozenset[str]:
        """Have none any more; answers what they were."""
        self.waits()
        names, self._names = self.names, set()
        return names
