"""How many jobs there are, per lane, origin, keyed and state: kept in the transaction that changes them.

One upsert per distinct key of a batch, so a batch of 500 jobs of one lane costs one or two. Rows at zero stay until the
next purge; readers pass over them.
"""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

from mainspring.stores.sqlite.transaction import Bulk

ADJUST = Bulk(
    """
    INSERT INTO mainspring_counts (queue, task, origin, keyed, state, n) VALUES {rows}
    ON CONFLICT (queue, task, origin, keyed, state) DO UPDATE SET n = n + excluded.n""",
    columns=6,
)
SWEEP = "DELETE FROM mainspring_counts WHERE n = 0"


class Place(NamedTuple):
    """What jobs are counted by."""

    queue: str
    task: str
    origin: str
    keyed: int
    state: str


class Tally:
    """The changes of one transaction."""

    def __init__(self) -> None:
        self._changes: dict[tuple[Any, ...], int] = {}

    def enter(self, place: tuple[Any, ...]) -> None:
        self._changes[place] = self._changes.get(place, 0) + 1

    def leave(self, place: tuple[Any, ...]) -> None:
        self._changes[place] = self._changes.get(place, 0) - 1

    def write(self, connection: sqlite3.Connection) -> None:
        ADJUST.run(connection, [(*place, n) for place, n in self._changes.items() if n])
