"""What a claim costs does not depend on how many jobs there are: counted in steps of SQLite's machine, not in time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from mainspring.core.job import State
from mainspring.core.records import GATE, Record, task_gate
from mainspring.stores.sqlite import records
from tests.factory import NOW, make_job
from tests.stores.sqlite.direct import add, steps, take, write

FILL = """
    WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :count)
    INSERT INTO mainspring_jobs (id, task, queue, state, priority, due_at, version, token, claims, settled, worker,
                                 last_worker, origin, keyed, created_at, body)
    SELECT :task || :priority || '-' || n, :task, 'default', 'waiting', :priority, :due_at + n, 1, '', 0, 0, '',
           '', 'call', 0, 0, '{}'
    FROM number"""


def fill(connection: sqlite3.Connection, count: int, task: str, priority: int = 50, due_at: int = NOW - 10**6) -> None:
    """Put jobs there the short way: a hundred thousand in a second."""
    connection.execute(FILL, {"count": count, "task": task, "priority": priority, "due_at": due_at})


def cost(connection: sqlite3.Connection, **tasks: int | None) -> int:
    """The steps of a claim that takes exactly one job, of task t."""
    add(connection, [make_job(task="t", due=NOW)])
    taken = []
    spent = steps(connection, lambda: taken.append(take(connection, {"t": None} | tasks, limit=1)))
    assert [row[1] for row in taken[0].rows] == ["t"]
    return spent


def future_jobs(connection: sqlite3.Connection, count: int) -> int:
    fill(connection, count, "t", priority=90, due_at=NOW + 1_000)
    return cost(connection)


def unnamed_jobs(connection: sqlite3.Connection, count: int) -> int:
    fill(connection, count, "unknown", priority=90)
    return cost(connection)


def gated_jobs(connection: sqlite3.Connection, count: int) -> int:
    fill(connection, count, "gated", priority=90)
    write(connection, lambda c: records.write(c, [Record(kind=GATE, name=task_gate("gated"), written_at=1)]))
    return cost(connection, gated=None)


def full_jobs(connection: sqlite3.Connection, count: int) -> int:
    fill(connection, count, "full", priority=90)
    return cost(connection, full=0)


def due_jobs(connection: sqlite3.Connection, count: int) -> int:
    fill(connection, count, "t", priority=10)
    return cost(connection)


def finished_jobs(connection: sqlite3.Connection, count: int) -> int:
    fill(connection, count, "t")
    connection.execute("UPDATE mainspring_jobs SET state = 'completed'")
    return cost(connection)


def jobs_of_another_queue(connection: sqlite3.Connection, count: int) -> int:
    fill(connection, count, "t")
    connection.execute("UPDATE mainspring_jobs SET queue = 'busy'")
    return cost(connection)


@pytest.mark.parametrize(
    "backlog",
    [future_jobs, unnamed_jobs, gated_jobs, full_jobs, due_jobs, finished_jobs, jobs_of_another_queue],
    ids=lambda backlog: backlog.__name__,
)
def test_a_claim_costs_the_same_whatever_lies_before_it(
    connection: sqlite3.Connection, backlog: Callable[[sqlite3.Connection, int], int]
) -> None:
    few = backlog(connection, 2)
    connection.execute("DELETE FROM mainspring_jobs")
    many = backlog(connection, 20_000)
    assert many <= few * 1.05 + 20, f"{few} steps behind 2 jobs, {many} behind 20,000"


def test_a_hundred_thousand_future_jobs_of_a_higher_priority(connection: sqlite3.Connection) -> None:
    few = future_jobs(connection, 1)
    connection.execute("DELETE FROM mainspring_jobs")
    assert future_jobs(connection, 100_000) <= few * 1.05 + 20


@pytest.mark.slow
def test_full_lanes_cost_seeks_each_and_no_walk(connection: sqlite3.Connection) -> None:
    lanes: dict[str, int | None] = {f"full-{n}": 1 for n in range(300)}
    for task in lanes:
        fill(connection, 1, task, priority=90)
        add(connection, [make_job(task=task, state=State.RUNNING, due=NOW + 5_000)])
    few = cost(connection, **lanes)
    for task in lanes:
        connection.execute("DELETE FROM mainspring_jobs WHERE state = 'waiting' AND task = ?", (task,))
        fill(connection, 100, task, priority=90)
    many = cost(connection, **lanes)
    assert many <= few * 1.05 + 20, f"{few} steps behind 300 jobs in full lanes, {many} behind 30,000"
    assert few < 300 * 300, "each full lane is a few seeks"


def test_a_claim_that_fills_its_limit_looks_at_no_lower_priority(connection: sqlite3.Connection) -> None:
    cost(connection)
    alone = cost(connection)
    for priority in range(40):
        fill(connection, 1, "low", priority=priority)
    assert cost(connection, low=None) <= alone * 1.05 + 20


def test_an_empty_claim_writes_nothing_and_takes_no_lock(connection: sqlite3.Connection) -> None:
    fill(connection, 10, "t", due_at=NOW + 1_000)
    changes = connection.total_changes
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    assert take(connection, {"t": None}).rows == []
    assert connection.total_changes == changes
    assert not [text for text in statements if text.startswith(("BEGIN IMMEDIATE", "UPDATE", "INSERT", "DELETE"))]
