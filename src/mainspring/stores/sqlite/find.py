"""Pages and counts of jobs for people: filters as SQL, bounded by the page's limit.

A page goes by insertion. Each state asked for is read from its own index, so that the dead of a table of a million
finished jobs are found at once. Where the counts say that nothing fits, no row is read.
"""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

from mainspring.core.job import State
from mainspring.errors import DefinitionError
from mainspring.stores.base import Count, Query
from mainspring.stores.sqlite.rows import JOB
from mainspring.stores.sqlite.transaction import ask

FEW = 20_000
"""Up to so many waiting jobs are read and sorted (40 ms); where there are more, a walk by insertion meets them soon."""

CASEFOLD = "mainspring_casefold"
"""A function of Python that connections carry: for text that is not ASCII."""

# The last error as people see it. lower() knows ASCII only, and is twice as fast as a function of Python.
_ERROR = "json_extract(body, '$.error.type') || ': ' || json_extract(body, '$.error.message')"


class Filter(NamedTuple):
    """Conditions and their values."""

    conditions: tuple[str, ...]
    values: tuple[Any, ...]

    def where(self, *more: str) -> str:
        return " AND ".join((*more, *self.conditions)) or "TRUE"


def page(connection: sqlite3.Connection, query: Query) -> tuple[list[list[Any]], str | None]:
    """The rows of a page and the cursor of the next."""
    counted = _counted(connection, query)
    if not counted:
        return [], None
    order = "ASC" if query.oldest_first else "DESC"
    chosen = _filter(query, after=True)
    states = query.states and tuple(dict.fromkeys(state for state in query.states if counted.get(state)))
    sources = (
        [_source(state, counted[state]) for state in states] if states else [("mainspring_jobs NOT INDEXED", "TRUE")]
    )
    end = f"ORDER BY seq {order} LIMIT {query.limit + 1}"
    parts = [
        f"SELECT * FROM (SELECT seq FROM {table} WHERE {chosen.where(condition)} {end})" for table, condition in sources
    ]
    rows = ask(
        connection,
        f"""
        SELECT json_group_array(json_array(jobs.seq, {JOB})) FROM (
            SELECT seq FROM ({" UNION ALL ".join(parts)}) {end}
        ) AS chosen CROSS JOIN mainspring_jobs AS jobs ON jobs.seq = chosen.seq""",
        *chosen.values * len(parts),
    )
    rows.sort(key=lambda row: row[0], reverse=not query.oldest_first)
    shown = rows[: query.limit]
    return [row for _, row in shown], str(shown[-1][0]) if len(rows) > len(shown) else None


def _source(state: State, jobs: int) -> tuple[str, str]:
    """Where to read jobs of a state from, and the condition that the index needs to see."""
    if state is State.RUNNING:
        return "mainspring_jobs INDEXED BY mainspring_running", "state = 'running'"
    if state is State.WAITING:
        index = "INDEXED BY mainspring_waiting" if jobs <= FEW else "NOT INDEXED"
        return f"mainspring_jobs {index}", "state = 'waiting'"
    return (
        "mainspring_jobs INDEXED BY mainspring_resting",
        f"state <> 'waiting' AND state <> 'running' AND state = '{state.value}'",
    )


def count(connection: sqlite3.Connection, query: Query) -> list[Count]:
    """How many jobs there are per queue, task and state."""
    cheap = (query.worker, query.created_after, query.created_before, query.error) == (None, None, None, None)
    chosen = _filter(query)
    table, number = ("mainspring_counts", "sum(n)") if cheap else ("mainspring_jobs", "count(*)")
    found = ask(
        connection,
        f"""
        SELECT json_group_array(json_array(queue, task, state, jobs)) FROM (
            SELECT queue, task, state, {number} AS jobs FROM {table} WHERE {chosen.where()} GROUP BY queue, task, state
        ) WHERE jobs > 0""",
        *chosen.values,
    )
    return [Count(queue, task, State(state), jobs) for queue, task, state, jobs in found]


def _counted(connection: sqlite3.Connection, query: Query) -> dict[State, int]:
    """How many jobs per state there are at most."""
    totals: dict[State, int] = {}
    plain = Query(states=query.states, queue=query.queue, task=query.task, origin=query.origin, keyed=query.keyed)
    for found in count(connection, plain):
        totals[found.state] = totals.get(found.state, 0) + found.jobs
    return totals


def _filter(query: Query, after: bool = False) -> Filter:
    """The conditions of a query. For a page (`after`): with its cursor, and without its states, which are sources."""
    found: list[tuple[str, Any]] = [
        (f"{name} = ?", value)
        for name, value in (
            ("queue", query.queue),
            ("task", query.task),
            ("worker", query.worker),
            ("origin", query.origin),
            ("keyed", None if query.keyed is None else int(query.keyed)),
        )
        if value is not None
    ]
    if query.created_after is not None:
        found.append(("created_at >= ?", query.created_after))
    if query.created_before is not None:
        found.append(("created_at < ?", query.created_before))
    if query.error is not None:
        found.append(_holds_error(query.error))
    if after and query.after is not None:
        found.append((f"seq {'>' if query.oldest_first else '<'} ?", _cursor(query.after)))
    conditions = tuple(condition for condition, _ in found)
    if not after and query.states:
        conditions += (f"state IN ({', '.join(repr(state.value) for state in query.states)})",)
    return Filter(conditions, tuple(value for _, value in found))


def _holds_error(text: str) -> tuple[str, str]:
    fold = "lower" if text.isascii() else CASEFOLD
    return f"instr({fold}({_ERROR}), ?) > 0", text.lower() if text.isascii() else text.casefold()


def _cursor(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise DefinitionError(f"bad cursor: {text!r}. Expected the cursor of a page that find() answered.")
    return int(text)
