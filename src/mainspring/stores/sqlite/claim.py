"""The claim: choose, mark, lease, count and answer, in one atomic step.

The first choice is made without the write lock. Where there is nothing to take, that is all, so an idle worker never
writes and never waits for one who does. Where there is, the transaction becomes a writing one; if somebody wrote in
between, SQLite refuses that, and the choice is made again under the lock.
"""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

from mainspring.stores.sqlite.choose import Choice, Want, choose
from mainspring.stores.sqlite.counts import Tally
from mainspring.stores.sqlite.events import followed
from mainspring.stores.sqlite.failures import busy
from mainspring.stores.sqlite.jobs import RUNNING, WAITING
from mainspring.stores.sqlite.rows import JOB_WITH_PAYLOAD, KEYED, ORIGIN, QUEUE, TASK
from mainspring.stores.sqlite.transaction import ask, json_list, transaction

TAKE = """
    UPDATE mainspring_jobs SET
        state = 'running', due_at = :until, token = :token, last_worker = worker, last_started_at = started_at,
        worker = :worker, started_at = :now, claims = claims + 1, version = version + 1
    WHERE seq IN (SELECT value FROM json_each(:chosen))"""

ANSWER = f"""
    SELECT json_group_array({JOB_WITH_PAYLOAD}) FROM (SELECT value AS seq FROM json_each(?) ORDER BY key) AS chosen
    CROSS JOIN mainspring_jobs AS jobs ON jobs.seq = chosen.seq
    LEFT JOIN mainspring_payloads AS payloads ON payloads.seq = jobs.seq"""


class Taken(NamedTuple):
    rows: list[list[Any]]
    """In the order in which they were chosen."""
    choice: Choice
    followed: bool
    """Whether anybody follows the events."""


def claim(connection: sqlite3.Connection, want: Want) -> Taken:
    """Take what there is. Begins and ends its own transactions."""
    try:
        with transaction(connection, "BEGIN"):
            return _claim(connection, want)
    except sqlite3.OperationalError as e:
        if not busy(e):
            raise
    with transaction(connection, "BEGIN IMMEDIATE"):
        return _claim(connection, want)


def _claim(connection: sqlite3.Connection, want: Want) -> Taken:
    choice = choose(connection, want)
    seqs = choice.lapsed + choice.waiting
    if not seqs:
        return Taken([], choice, False)
    chosen = json_list(seqs)
    connection.execute(
        TAKE,
        {"chosen": chosen, "until": want.until, "token": want.token, "worker": want.worker, "now": want.now},
    )
    rows: list[list[Any]] = ask(connection, ANSWER, chosen)
    tally = Tally()
    for row in rows[len(choice.lapsed) :]:
        lane = (row[QUEUE], row[TASK], row[ORIGIN], row[KEYED])
        tally.leave((*lane, WAITING))
        tally.enter((*lane, RUNNING))
    tally.write(connection)
    return Taken(rows, choice, followed(connection))
