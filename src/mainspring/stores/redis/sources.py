"""Rows by insertion, out of many indexes at once, in calls that are short for the server.

Each (queue, task, class) has an index of its own. What runs has none by insertion, but it is few: its places are looked
up before the indexes are read, so that a job which ends in that moment is met at least once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mainspring.core.job import State
from mainspring.stores.base import BATCH_ROWS
from mainspring.stores.redis.link import Link
from mainspring.stores.redis.scripts import FIND

READ = 1_000
"""Index entries that one script call reads, and places that one command looks up."""
FEWEST = 10
"""Rows that are asked for at least."""

Lane = tuple[str, str]
"""Queue and task."""


class Row(NamedTuple):
    place: int
    id: str
    row: bytes | None
    """None: it is missing (evicted, or deleted by hand)."""


class Sources:
    """The indexes that hold jobs of some lanes and states, read as if they were one."""

    def __init__(self, link: Link, held: Iterable[tuple[Lane, State]], oldest_first: bool) -> None:
        self._link = link
        self._oldest_first = oldest_first
        self._indexes, self._running = _places(held)
        self._empty = not self._indexes and not self._running
        self.bound = min(BATCH_ROWS, max(FEWEST, READ // max(1, len(self._indexes))))
        """Rows to ask for at most."""

    async def read(self, after: str, most: int) -> list[Row]:
        """The first `most` rows after a place; fewer: there are no more."""
        if self._empty:
            return []
        running = await self._running_after(after, most)
        at_once = max(1, READ // most)
        rows = running
        for first in range(0, len(self._indexes), at_once):
            rows += await self._find(after, most, self._indexes[first : first + at_once])
        unique = {row.place: row for row in rows}
        return [unique[place] for place in sorted(unique, reverse=not self._oldest_first)[:most]]

    async def _find(self, after: str, most: int, indexes: Sequence[tuple[str, ...]]) -> list[Row]:
        order = "oldest" if self._oldest_first else "newest"
        found = await self._link.call(FIND, order, after, most, *(text for index in indexes for text in index))
        return [Row(place, id.decode(), row) for place, id, row in zip(*[iter(found)] * 3, strict=True)]

    async def _running_after(self, after: str, most: int) -> list[Row]:
        """What runs, as `_find` answers it."""
        passed = None if after == "" else int(after)
        places = {place: id for place, id in await self._running_places() if self._follows(place, passed)}
        wanted = sorted(places, reverse=not self._oldest_first)[:most]
        rows = await self._link.commands([("HGET", f"{self._link.namespace}:job:{places[n]}", "j") for n in wanted])
        return [Row(place, places[place], row) for place, row in zip(wanted, rows, strict=True)]

    def _follows(self, place: int, passed: int | None) -> bool:
        if passed is None:
            return True
        return place > passed if self._oldest_first else place < passed

    async def _running_places(self) -> list[tuple[int, str]]:
        """Of all that runs in the lanes of which nothing else is asked for."""
        ns = self._link.namespace
        tasks = {task: n for n, task in enumerate(dict.fromkeys(task for _, task in self._running))}
        held = await self._link.commands([("ZRANGE", f"{ns}:held:{task}", 0, -1) for task in tasks])
        slices = [
            (f"{ns}:idx:{queue}:{task}:live", held[tasks[task]][first : first + READ])
            for queue, task in self._running
            for first in range(0, len(held[tasks[task]]), READ)
        ]
        scores = await self._link.commands([("ZMSCORE", index, *ids) for index, ids in slices])
        # None where the job is of another queue, or has ended in that moment.
        return [
            (int(float(place)), id.decode())
            for (_, ids), places in zip(slices, scores, strict=True)
            for place, id in zip(places, ids, strict=True)
            if place is not None
        ]


def _places(held: Iterable[tuple[Lane, State]]) -> tuple[list[tuple[str, ...]], list[Lane]]:
    """The indexes to read, and the lanes of which only what runs is asked for: else it is found with what waits."""
    states: dict[Lane, set[State]] = {}
    for lane, state in held:
        states.setdefault(lane, set()).add(state)
    indexes: list[tuple[str, ...]] = []
    running = []
    for lane, found in states.items():
        if State.WAITING in found:
            indexes.append((*lane, "live"))
        elif State.RUNNING in found:
            running.append(lane)
        indexes += [(*lane, state.value) for state in found if state not in (State.WAITING, State.RUNNING)]
    return indexes, running
