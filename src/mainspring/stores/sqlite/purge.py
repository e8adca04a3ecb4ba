"""Erasing what has expired. The test is part of the erasing transaction, so a job that was revived meanwhile stays."""

from __future__ import annotations

import sqlite3

from mainspring.stores.sqlite import counts, events, hints
from mainspring.stores.sqlite.counts import Tally
from mainspring.stores.sqlite.jobs import erase
from mainspring.stores.sqlite.transaction import ask, transaction

_EXPIRED = """FROM mainspring_jobs INDEXED BY mainspring_expiring
    WHERE expires_at IS NOT NULL AND expires_at <= :now AND state NOT IN ('waiting', 'running', 'paused')"""

DUE = f"""
    SELECT EXISTS (SELECT 1 {_EXPIRED})
        OR EXISTS (SELECT 1 FROM mainspring_records WHERE expires_at IS NOT NULL AND expires_at <= :now)
        OR EXISTS (SELECT 1 FROM mainspring_counts WHERE n = 0)
        OR EXISTS (SELECT 1 FROM mainspring_events)"""

JOBS = f"""
    SELECT json_group_array(json_array(seq, queue, task, origin, keyed, state))
    FROM (SELECT * {_EXPIRED} LIMIT :limit)"""

RECORDS = """
    DELETE FROM mainspring_records WHERE (kind, name) IN (
        SELECT kind, name FROM mainspring_records INDEXED BY mainspring_records_expiring
        WHERE expires_at IS NOT NULL AND expires_at <= :now LIMIT :limit
    )"""


def purge(connection: sqlite3.Connection, now: int, limit: int) -> int:
    """Erase up to `limit` jobs and as many records. Writes nothing where nothing has expired."""
    if connection.execute(DUE, {"now": now}).fetchone() == (0,):
        return 0
    with transaction(connection, "BEGIN IMMEDIATE"):
        jobs = ask(connection, JOBS, now=now, limit=limit)
        erase(connection, [seq for seq, *_ in jobs])
        tally = Tally()
        for _, *place in jobs:
            tally.leave(tuple(place))
        tally.write(connection)
        records = connection.execute(RECORDS, {"now": now, "limit": limit}).rowcount
        connection.execute(counts.SWEEP)
        hints.sweep(connection)
        events.trim(connection)
    return len(jobs) + records
