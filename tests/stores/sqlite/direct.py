"""The insides of the store's transactions, called on a connection of the test's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from mainspring.core.ids import new_token
from mainspring.core.job import Job
from mainspring.stores.sqlite import jobs as job_table
from mainspring.stores.sqlite.channel import T
from mainspring.stores.sqlite.choose import Want
from mainspring.stores.sqlite.claim import Taken, claim
from mainspring.stores.sqlite.transaction import transaction
from tests.factory import LEASE, NOW


def write(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    with transaction(connection, "BEGIN IMMEDIATE"):
        return work(connection)


def add(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
    write(connection, partial(job_table.add, jobs=[job_table.new_job(job) for job in jobs]))


def take(
    connection: sqlite3.Connection,
    tasks: Mapping[str, int | None],
    now: int = NOW,
    limit: int = 10,
    cap: int | None = None,
) -> Taken:
    return claim(connection, Want("default", tasks, "w:1", new_token(), now, now + LEASE, limit, cap))


def steps(connection: sqlite3.Connection, work: Callable[[], object]) -> int:
    """What `work` costs, in steps of SQLite's virtual machine: the same on every machine, whatever else it does."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    connection.set_progress_handler(count, 1)
    try:
        work()
    finally:
        connection.set_progress_handler(None, 1)
    return taken
