"""Which jobs an operator means: filters as people write them, as a query of the store and a test of a row.

A store selects by stored state; what it cannot tell apart (scheduled, pending, retrying are all waiting there) is told
apart here, row by row. The test is made again on every fresh row, so a bulk act never hits a job that has moved on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, cast

from mainspring.core import states
from mainspring.core.duration import instant
from mainspring.core.job import Job, State
from mainspring.errors import DefinitionError
from mainspring.stores.base import BATCH_ROWS, Query, Store

WAITING = ("scheduled", "pending", "retrying")
ENDED = ("completed", "failed", "dead", "cancelled")
STATUSES = (*WAITING, "running", "paused", *ENDED)
"""All that `core.states.status` can say."""


class JobFilters(TypedDict, total=False):
    """Which jobs; everything given must hold.

    task, queue      by name.
    status           one or several of the `STATUSES`: scheduled, pending, retrying, running, paused, completed ...
    worker           who claimed it last, by id.
    origin           what asked for it: "call", or a schedule or a trigger by name.
    error            text that the last error holds, in any case of letters.
    created_after    inclusive, an aware datetime.     created_before: exclusive.
    """

    task: str | None
    queue: str | None
    status: str | Sequence[str] | None
    worker: str | None
    origin: str | None
    error: str | None
    created_after: datetime | None
    created_before: datetime | None


_TEXTS = ("task", "queue", "worker", "origin", "error")
_TIMES = ("created_after", "created_before")


@dataclass(frozen=True, slots=True)
class Selection:
    """A query of the store, and the statuses that it alone cannot tell apart (empty: it can)."""

    query: Query
    statuses: frozenset[str]

    def holds(self, job: Job, now: int) -> bool:
        """Whether `job`, as it is now, is meant. For what can change in a job that the query once found."""
        query = self.query
        if query.states and job.state not in query.states:
            return False
        if self.statuses and states.status(job, now) not in self.statuses:
            return False
        if query.worker is not None and job.worker != query.worker:
            return False
        return query.error is None or (job.error is not None and query.error.casefold() in str(job.error).casefold())


def select(filters: JobFilters, otherwise: Sequence[str] = ()) -> Selection:
    """What `filters` mean; `otherwise` are the statuses where they name none. Raises `DefinitionError`."""
    given = {name: value for name, value in cast("dict[str, Any]", filters).items() if value is not None}
    for name in given:
        if name not in JobFilters.__annotations__:
            raise DefinitionError(f"unknown filter: {name!r}. Expected: {', '.join(JobFilters.__annotations__)}.")
    statuses = _statuses(given.get("status", ())) or frozenset(otherwise)
    fields: dict[str, Any] = {name: _text(given[name], name) for name in _TEXTS if name in given}
    fields |= {name: instant(given[name], name) for name in _TIMES if name in given}
    stored = {State.WAITING if status in WAITING else State(status) for status in statuses}
    query = Query(states=tuple(sorted(stored)), **fields)
    split = State.WAITING in stored and not statuses.issuperset(WAITING)
    return Selection(query, statuses if split else frozenset())


def _statuses(status: str | Sequence[str]) -> frozenset[str]:
    given = [status] if isinstance(status, str) else list(status)
    for one in given:
        if one not in STATUSES:
            raise DefinitionError(f"unknown status: {one!r}. Expected: {', '.join(STATUSES)}.")
    return frozenset(given)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise DefinitionError(f"bad filter {name}: {value!r}. Expected a text.")
    return value


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, to iterate over, and where the next ones are."""

    jobs: tuple[Job, ...]
    cursor: str | None
    """None: there are no more."""

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)


async def pages(store: Store, selection: Selection, now: int) -> AsyncIterator[list[Job]]:
    """All jobs that are meant, newest first, without payload, page by page of the store."""
    query = selection.query.evolve(limit=BATCH_ROWS)
    while True:
        page = await store.find(query)
        jobs = [job for job in page.jobs if selection.holds(job, now)]
        if jobs:
            yield jobs
        if page.cursor is None:
            return
        query = query.evolve(after=page.cursor)


async def one_page(store: Store, selection: Selection, now: int) -> JobPage:
    """Up to `query.limit` jobs that are meant, and the cursor behind the last of them."""
    if not selection.statuses:
        page = await store.find(selection.query)
        return JobPage(tuple(page.jobs), page.cursor)
    wanted, found = selection.query.limit, list[Job]()
    stride = min(BATCH_ROWS, 4 * wanted + 20)
    query = selection.query.evolve(limit=stride)
    while True:
        page = await store.find(query)
        places = [place for place, job in enumerate(page.jobs) if selection.holds(job, now)]
        if len(places) > wanted - len(found):
            # More than fit: read again just as far as the last that fits, so that the cursor stands behind it.
            query = query.evolve(limit=places[wanted - len(found) - 1] + 1)
            continue
        found += [page.jobs[place] for place in places]
        if page.cursor is None or len(found) == wanted:
            return JobPage(tuple(found), page.cursor)
        query = query.evolve(after=page.cursor, limit=stride)
