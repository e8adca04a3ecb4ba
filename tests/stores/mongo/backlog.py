"""A database full of jobs of every kind, made by plain PyMongo, in the store's own documents.

Of every hundred: 45 finished; 17 that nobody named, 12 behind a closed gate, 8 of a task whose cap is reached and 5
that are due later, all of higher priority than what is wanted; 10 in a hundred lanes; 3 in three hundred, which are the
oldest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pymongo import WriteConcern
from pymongo.database import Database

from mainspring.core.job import Error, Job, State
from mainspring.stores.mongo.rows import new_row
from tests.factory import NOW, make_job

HOUR = 3_600_000
AT_ONCE = 5_000
LANES, MANY = 100, 300
FEW = 200
"""Of what is wanted, lapsed, dead or expired: as many however large the database is."""


def fill(database: Database[dict[str, Any]], number: int) -> None:
    """Insert so many jobs."""
    jobs = database.get_collection("mainspring_jobs", write_concern=WriteConcern(1))
    rows: list[dict[str, Any]] = []
    for job in _jobs(number):
        rows.append(new_row(job))
        if len(rows) == AT_ONCE:
            jobs.insert_many(rows, ordered=False)
            rows = []
    if rows:
        jobs.insert_many(rows, ordered=False)


def _jobs(number: int) -> Iterator[Job]:
    for n in range(FEW):
        yield make_job(queue="flood", task="wanted", priority=10, due=NOW - FEW + n)
        yield make_job(
            queue="busy", task="lapsed", state=State.RUNNING, due=NOW - 1, token="gone", worker="w:0", claims=1
        )
        yield make_job(queue="archive", task="bad", state=State.DEAD, error=Error(type="E", message=f"m{n}"))
        yield make_job(queue="archive", task="old", state=State.CANCELLED, expires_at=NOW - 1)
    yield make_job(queue="flood", task="full", state=State.RUNNING, due=NOW + HOUR, token="held", claims=1)
    for n in range(number * 3 // 100):  # the oldest: who looks for them among the newest looks through everything
        yield make_job(queue="many", task=f"many-{n % MANY}", due=NOW - n - 1)
    for n in range(number - number * 3 // 100 - 4 * FEW - 1):
        yield _one_of_many(n)


def _one_of_many(n: int) -> Job:
    part, n = n % 100, n // 100
    if part < 17:
        return make_job(queue="flood", task="unnamed", priority=100, due=NOW - HOUR + n % HOUR)
    if part < 29:
        return make_job(queue="flood", task="gated", priority=90, due=NOW - HOUR + n % HOUR)
    if part < 37:
        return make_job(queue="flood", task="full", priority=80, due=NOW - HOUR + n % HOUR)
    if part < 42:
        return make_job(queue="flood", task="wanted", priority=50 + n % 10, due=NOW + HOUR + n)
    if part < 52:
        return make_job(queue="lanes", task=f"lane-{(10 * n + part) % LANES}", priority=n % 5 * 10, due=NOW - n - 1)
    return make_job(queue="archive", task="done", state=State.COMPLETED, expires_at=NOW + HOUR + n)
