"""The plan of every statement that runs often: an index for each, and no walk over jobs."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from functools import partial

import pytest

from mainspring.core.job import State
from mainspring.core.records import Record
from mainspring.stores.base import LogLine, Query
from mainspring.stores.sqlite import events, find, hints, logs, purge, records
from mainspring.stores.sqlite import jobs as job_table
from tests.factory import NOW, make_job
from tests.stores.sqlite.direct import add, take, write

WALK = re.compile(
    r"SCAN (mainspring_jobs|jobs|mainspring_payloads|payloads|mainspring_logs|logs|mainspring_records|records)\b"
)
SORT = re.compile(r"TEMP B-TREE")


def adds(c: sqlite3.Connection) -> None:
    add(c, [make_job(f"a{n}") for n in range(60)])


def claims(c: sqlite3.Connection) -> None:
    take(c, {"t": 3}, limit=2, cap=5)
    take(c, {"t": 3}, now=NOW + 10**6, limit=2, cap=5)


def saves(c: sqlite3.Connection) -> None:
    row = make_job("a9").evolve(version=1, input='{"b":1}')
    assert write(c, partial(job_table.save, changes=[job_table.change_of(row)])) != [None]
    over = row.evolve(version=2, state=State.DEAD, expires_at=0)
    assert write(c, partial(job_table.save, changes=[job_table.change_of(over)])) != [None]


def beats(c: sqlite3.Connection) -> None:
    [row] = take(c, {"t": None}, limit=1).rows
    assert write(c, partial(job_table.renew, beats=[(row[0], row[7], NOW + 10**7, None)]))


def gets(c: sqlite3.Connection) -> None:
    assert job_table.get(c, ["a1"])


def purges(c: sqlite3.Connection) -> None:
    add(c, [make_job(state=State.DEAD, expires_at=NOW)])
    assert purge.purge(c, NOW, 10) == 1


def uses_records(c: sqlite3.Connection) -> None:
    record = Record(kind="k", name="a", due_at=1, expires_at=5)
    [written] = write(c, partial(records.write, records=[record]))
    assert records.read(c, "k", "a") == written
    assert records.scan(c, "k", None, None, 5) == records.scan(c, "k", 7, None, 5) == [written]
    assert written is not None
    assert write(c, partial(records.erase, record=written))


def logs_lines(c: sqlite3.Connection) -> None:
    write(c, partial(logs.append, lines=[LogLine("a2", 1, 1, "info", "x")] * 3, keep=2))
    assert len(logs.tail(c, "a2", 0, 5)) == 2


def gives_hints(c: sqlite3.Connection) -> None:
    write(c, partial(hints.bump, names=["q"]))


def tells(c: sqlite3.Connection) -> None:
    last = write(c, partial(events.follow, name="f"))
    write(c, partial(events.publish, rows=['{"job_id":"","task":"","queue":"","kind":"","status":"","at":1}']))
    assert len(events.since(c, last, 5)[1]) == 1


@pytest.mark.parametrize(
    "work",
    [adds, claims, saves, beats, gets, purges, uses_records, logs_lines, gives_hints, tells],
    ids=lambda work: work.__name__,
)
@pytest.mark.parametrize("analysed", [False, True], ids=["fresh", "analysed"])
def test_hot_statements_use_their_indexes(
    connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], None], analysed: bool
) -> None:
    add(connection, [make_job() for _ in range(200)])
    if work is not adds:
        adds(connection)
    if analysed:
        connection.execute("ANALYZE")  # Statistics of a small table must not talk SQLite out of an index.
    for statement in traced(connection, lambda: work(connection)):
        plan = explain(connection, statement)
        assert not WALK.search(plan), f"{statement}\n{plan}"
        # The few rows that a claim answers are put in order; nothing that grows is.
        assert not SORT.search(plan) or "json_each" in statement, f"{statement}\n{plan}"


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (Query(states=(State.DEAD,)), "mainspring_resting (state=?"),
        (Query(states=(State.RUNNING,), worker="w:1"), "mainspring_running"),
        (Query(states=(State.WAITING,), queue="default"), "mainspring_waiting (queue=?"),
    ],
    ids=["dead", "running", "waiting"],
)
def test_a_page_of_a_state_is_read_from_its_index(connection: sqlite3.Connection, query: Query, index: str) -> None:
    add(connection, [make_job() for _ in range(20)])
    add(connection, [make_job(state=state) for state in query.states])
    *_, statement = traced(connection, lambda: find.page(connection, query))
    assert index in explain(connection, statement)


def test_a_page_without_a_state_is_read_from_the_end(connection: sqlite3.Connection) -> None:
    add(connection, [make_job() for _ in range(500)])
    few = len(find.page(connection, Query(limit=5))[0])
    *_, statement = traced(connection, lambda: find.page(connection, Query(limit=5)))
    assert few == 5
    assert "SCAN mainspring_jobs" in explain(connection, statement)
    assert "USING INDEX" not in explain(connection, statement), "by rowid, so that the limit ends the walk"


def traced(connection: sqlite3.Connection, work: Callable[[], object]) -> list[str]:
    """The statements that `work` executes, with their values."""
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    work()
    connection.set_trace_callback(None)
    assert statements
    return statements


def explain(connection: sqlite3.Connection, statement: str) -> str:
    if statement.startswith(("BEGIN", "COMMIT")):
        return ""
    return "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
