"""Hints that cross processes: a number per name, which changes with each wake; a waiter compares it with what it knew.

A wait is told cheaply that the file has changed (`data_version`), and only then looks here, so neither the settles nor
the heartbeats of others wake anybody. A job that comes to wait bumps the number of its queue in its own transaction,
so what commits, wakes. A claim reads the number in the snapshot in which it found nothing: that is how an `add`
between claim and wait is noticed, whoever made it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Sequence

from mainspring.stores.sqlite.transaction import Bulk, ask, json_list

GATES = "gate:"
"""Bumped when a gate is written or erased: what waited may come in. No queue and no worker is called so."""

DAY = 86_400_000

# n is the time, or one more than it was: so it differs after a sweep, too.
BUMP = Bulk(
    """
    INSERT INTO mainspring_hints (name, n) VALUES {rows}
    ON CONFLICT (name) DO UPDATE SET n = max(n + 1, excluded.n)""",
    columns=2,
)
READ = """
    SELECT json_group_array(coalesce(n, 0)) FROM (
        SELECT hints.n FROM json_each(?) AS names LEFT JOIN mainspring_hints AS hints ON hints.name = names.value
        ORDER BY names.key
    )"""
STALE = "SELECT EXISTS (SELECT 1 FROM mainspring_hints WHERE n < ?)"
SWEEP = "DELETE FROM mainspring_hints WHERE n < ?"


def bump(connection: sqlite3.Connection, names: Collection[str]) -> None:
    """Let those who wait for `names` know, once this transaction commits."""
    if names:
        now = _now()
        BUMP.run(connection, [(name, now) for name in names])


def marks(connection: sqlite3.Connection, names: Sequence[str]) -> dict[str, int]:
    """The number of each name. That of a queue covers the gates."""
    gates, *numbers = ask(connection, READ, json_list([GATES, *names]))
    return {name: n if ":" in name else n + gates for name, n in zip(names, numbers, strict=True)}


def sweep(connection: sqlite3.Connection) -> None:
    """Forget names that nobody woke for a day: worker ids are never used twice."""
    before = _now() - DAY
    if connection.execute(STALE, (before,)).fetchone() == (1,):
        connection.execute(SWEEP, (before,))


def _now() -> int:
    # Not the store's clock: a number that differs is all that is asked for.
    return time.time_ns() // 1_000_000
