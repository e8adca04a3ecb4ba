"""Which jobs an operator means: filters as people write them, as a query of the store and a test of a row.

A store selects by what its indexes hold; what it cannot tell apart (scheduled, pending and retrying are all waiting
there) and what lies in the body of a row is told here, row by row. The test is made again on every fresh row, so a bulk
act never hits a job that has moved on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple, TypedDict, cast

from mainspring.client import Client
from mainspring.core import states
from mainspring.core.duration import instant
from mainspring.core.ids import key_id
from mainspring.core.job import TERMINAL, Job, State
from mainspring.core.request import KINDS
from mainspring.core.task import Task
from mainspring.errors import DefinitionError, UnknownTask
from mainspring.stores.base import BATCH_ROWS, Count, Query, Store

WAITING = ("scheduled", "pending", "retrying")
ENDED = ("completed", "failed", "dead", "cancelled")
STATUSES = (*WAITING, "running", "paused", *ENDED)
"""All that `core.states.status` can say."""
MEANT: dict[str, tuple[str, ...]] = {
    "retry": ("failed", "dead"),
    "cancel": (*WAITING, "running", "paused"),
    "delete": ENDED,
    "pause": WAITING,
    "resume": ("paused",),
}
"""The statuses that an act by filters means, where they name none."""
ROWS_WITH_PAYLOAD = 20
"""Rows that are read at once with payload, of up to half a megabyte each."""


class JobFilters(TypedDict, total=False):
    """Which jobs; everything given must hold.

    task, queue      one or several, by name; a task also as itself. Raises `UnknownTask` for a task of which nobody
                     knows and no job is left.
    status           one or several of the `STATUSES`: scheduled, pending, retrying, running, paused, completed ...
    ids              these jobs.
    key              the job that holds this key of a call.
    worker           who claimed it last, by id.
    origin           what asked for it: "call", or a schedule or a trigger by name.
    error            text that the last error holds, in any case of letters; of a failed or dead job also its reason,
                     which is what a `DeadLetter` said, or "exhausted", "not retryable", "poison".
    has_error        whether there is a last error, or such a reason.
    created_after    inclusive, an aware datetime.     created_before: exclusive. Likewise:
    ended_after, ended_before   when it completed, failed, died or was cancelled.
    due_after, due_before       when it is due, of what waits or is paused.
    """

    task: str | Task[..., Any] | Sequence[str | Task[..., Any]] | None
    queue: str | Sequence[str] | None
    status: str | Sequence[str] | None
    ids: Sequence[str] | None
    key: str | None
    worker: str | None
    origin: str | None
    error: str | None
    has_error: bool | None
    created_after: datetime | None
    created_before: datetime | None
    ended_after: datetime | None
    ended_before: datetime | None
    due_after: datetime | None
    due_before: datetime | None


class Span(NamedTuple):
    """A time from, inclusive, and one until, exclusive, in ms; None: no bound."""

    after: int | None = None
    before: int | None = None

    def holds(self, at: int | None) -> bool:
        if self == EVER:
            return True
        return at is not None and (self.after is None or at >= self.after) and (self.before is None or at < self.before)


EVER = Span()
_DUE = frozenset({State.WAITING, State.PAUSED})
_BADLY = frozenset({State.FAILED, State.DEAD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A query of the store, and what the store alone cannot tell: what is empty or None here is no condition."""

    query: Query
    statuses: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()
    """More than one, as `queues`."""
    queues: frozenset[str] = frozenset()
    ids: tuple[str, ...] | None = None
    """Where the rows are read by their ids, and the query is only a test."""
    key: str | None = None
    error: str | None = None
    """Not in the query: a store tests the last error alone, and a handler may say in the reason why it ended."""
    has_error: bool | None = None
    ended: Span = EVER
    due: Span = EVER
    as_of: int | None = None
    """What has ended after that is not meant."""

    @property
    def counted(self) -> bool:
        """Whether the store's counts, filtered by `counts`, tell how many there are."""
        by_row = (self.ids, self.key, self.error, self.has_error, self.as_of)
        return not self.statuses and by_row == (None,) * len(by_row) and self.ended == self.due == EVER

    @property
    def exact(self) -> bool:
        """Whether all that the query finds is meant."""
        return self.counted and not self.tasks and not self.queues

    def counts(self, count: Count) -> bool:
        """Whether what is counted there is meant."""
        return (not self.tasks or count.task in self.tasks) and (not self.queues or count.queue in self.queues)

    def holds(self, job: Job, now: int) -> bool:
        """Whether `job`, as it is now, is meant."""
        query = self.query
        return (
            (not query.states or job.state in query.states)
            and (not self.statuses or states.status(job, now) in self.statuses)
            and query.task in (None, job.task)
            and query.queue in (None, job.queue)
            and (not self.tasks or job.task in self.tasks)
            and (not self.queues or job.queue in self.queues)
            and query.worker in (None, job.worker)
            and query.origin in (None, job.origin)
            and self._holds_error(job)
            and Span(query.created_after, query.created_before).holds(job.created_at)
            and self._holds_times(job)
        )

    def _holds_error(self, job: Job) -> bool:
        said = [str(job.error)] if job.error is not None else []
        if job.reason and job.state in _BADLY:
            said.append(job.reason)
        if self.has_error is not None and bool(said) is not self.has_error:
            return False
        return self.error is None or any(self.error.casefold() in text.casefold() for text in said)

    def _holds_times(self, job: Job) -> bool:
        ended = job.finished_at if job.state in TERMINAL else None
        return (
            self.ended.holds(ended)
            and self.due.holds(job.due_at if job.state in _DUE else None)
            and (self.as_of is None or ended is None or ended <= self.as_of)
        )


# -- from what people write --------------------------------------------------------------------------------------------


async def chosen(client: Client, filters: JobFilters, otherwise: Sequence[str] = ()) -> Selection:
    """What `filters` mean in this store; `otherwise` are the statuses where they name none.

    Raises `DefinitionError`, and `UnknownTask` for a task of which nobody knows and no job is left.
    """
    selection = select(filters, otherwise)
    names = selection.tasks or ({selection.query.task} - {None})
    for name in sorted(cast("frozenset[str]", names)):
        await _check_known(client, name)
    if selection.key is None:
        return selection
    tasks = names or {*await client.snapshots.names(), *(count.task for count in await client.store.count(Query()))}
    ids = [key_id(str(task), kind, selection.key) for task in sorted(map(str, tasks)) for kind in KINDS.values()]
    given = selection.ids
    return replace(selection, ids=tuple(id for id in ids if given is None or id in given))


async def _check_known(client: Client, task: str) -> None:
    if task in client.tasks or await client.snapshots.read(task) is not None:
        return
    if not any(count.jobs for count in await client.store.count(Query(task=task))):
        raise UnknownTask(task, await client.snapshots.names())


def select(filters: JobFilters, otherwise: Sequence[str] = ()) -> Selection:
    """What `filters` mean, as far as that can be said without a store. Raises `DefinitionError`."""
    given = {name: value for name, value in by_name(filters).items() if value is not None}
    for name in given:
        if name not in JobFilters.__annotations__:
            raise DefinitionError(f"unknown filter: {name!r}. Expected: {', '.join(JobFilters.__annotations__)}.")
    named = _several(given, "status")
    for one in named:
        if one not in STATUSES:
            raise DefinitionError(f"unknown status: {one!r}. Expected: {', '.join(STATUSES)}.")
    ended, due, created = _span(given, "ended"), _span(given, "due"), _span(given, "created")
    statuses = _with_times(frozenset(named) or frozenset(otherwise), ended, due)
    stored = {State.WAITING if status in WAITING else State(status) for status in statuses}
    fields: dict[str, Any] = {name: _text(given[name], name) for name in ("worker", "origin") if name in given}
    tasks, queues = _several(given, "task"), _several(given, "queue")
    # What has ended before a time was made before it; the store can tell that.
    before = [at for at in (created.before, ended.before) if at is not None]
    query = Query(
        states=tuple(sorted(stored)), task=tasks[0] if len(tasks) == 1 else None,
        queue=queues[0] if len(queues) == 1 else None, created_after=created.after,
        created_before=min(before, default=None), **fields,
    )  # fmt: skip
    split = State.WAITING in stored and not statuses.issuperset(WAITING)
    return Selection(
        query=query, statuses=statuses if split else frozenset(), ended=ended, due=due,
        tasks=frozenset(tasks if len(tasks) > 1 else ()), queues=frozenset(queues if len(queues) > 1 else ()),
        ids=tuple(dict.fromkeys(_several(given, "ids"))) or None,
        key=_text(given["key"], "key") if "key" in given else None, has_error=_flag(given, "has_error"),
        error=_text(given["error"], "error") if "error" in given else None,
    )  # fmt: skip


def by_name(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The filters with the names of the tasks that were given as themselves."""
    named = dict(filters)
    task = named.get("task")
    if isinstance(task, Task):
        named["task"] = task.name
    elif isinstance(task, (list, tuple, set, frozenset)):
        named["task"] = [one.name if isinstance(one, Task) else one for one in task]
    return named


def _with_times(statuses: frozenset[str], ended: Span, due: Span) -> frozenset[str]:
    """The statuses that can have these times. Raises `DefinitionError` where none is left."""
    left = statuses or frozenset(STATUSES)
    left &= frozenset(ENDED) if ended != EVER else left
    left &= frozenset((*WAITING, "paused")) if due != EVER else left
    if not left:
        shown = ", ".join(sorted(statuses)) or "what is due, and has ended"
        raise DefinitionError(
            f"times that none of these can have: {shown}. Expected due_after and due_before with {', '.join(WAITING)} "
            f"or paused; ended_after and ended_before with {', '.join(ENDED)}."
        )
    return left if statuses or ended != EVER or due != EVER else statuses


def _several(given: dict[str, Any], name: str) -> list[str]:
    """The texts of a filter that takes one or several. None is no filter, but an empty list is a slip: it would mean
    everything where nothing was meant."""
    if name not in given:
        return []
    value = given[name]
    texts = (
        [value] if isinstance(value, str) else list(value) if isinstance(value, (list, tuple, set, frozenset)) else None
    )
    if not texts:
        raise DefinitionError(f"bad filter {name}: {value!r}. Expected a text, or a list of one at least.")
    return [_text(text, name) for text in texts]


def _span(given: dict[str, Any], name: str) -> Span:
    after, before = f"{name}_after", f"{name}_before"
    return Span(
        instant(given[after], after) if after in given else None,
        instant(given[before], before) if before in given else None,
    )


def _flag(given: dict[str, Any], name: str) -> bool | None:
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise DefinitionError(f"bad filter {name}: {value!r}. Expected True or False.")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise DefinitionError(f"bad filter {name}: {value!r}. Expected a text.")
    return value


# -- pages -------------------------------------------------------------------------------------------------------------


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
    """All jobs that are meant, newest first, page by page of the store; without payload, but where ids were given."""
    if selection.ids is not None:
        for first in range(0, len(selection.ids), ROWS_WITH_PAYLOAD):
            jobs = await _of_ids(store, selection, selection.ids[first : first + ROWS_WITH_PAYLOAD], now)
            if jobs:
                yield jobs
        return
    query = selection.query.evolve(limit=BATCH_ROWS)
    while True:
        page = await store.find(query)
        await asyncio.sleep(0)  # an embedded store may never have suspended us, and nothing may be meant for long
        jobs = [job for job in page.jobs if selection.holds(job, now)]
        if jobs:
            yield jobs
        if page.cursor is None:
            return
        query = query.evolve(after=page.cursor)


async def _of_ids(store: Store, selection: Selection, ids: Sequence[str], now: int) -> list[Job]:
    rows = await store.get(ids)
    return [job.evolve(result=None) for job in rows if job is not None and selection.holds(job, now)]


async def one_page(store: Store, selection: Selection, now: int) -> JobPage:
    """Up to `query.limit` jobs that are meant, and the cursor behind the last of them."""
    if selection.ids is not None:
        return await _page_of_ids(store, selection, now)
    if selection.exact:
        page = await store.find(selection.query)
        return JobPage(tuple(page.jobs), page.cursor)
    wanted, found = selection.query.limit, list[Job]()
    stride = min(BATCH_ROWS, 4 * wanted + 20)
    query = selection.query.evolve(limit=stride)
    while True:
        page = await store.find(query)
        await asyncio.sleep(0)
        places = [place for place, job in enumerate(page.jobs) if selection.holds(job, now)]
        if len(places) > wanted - len(found):
            # More than fit: read again just as far as the last that fits, so that the cursor stands behind it.
            query = query.evolve(limit=places[wanted - len(found) - 1] + 1)
            continue
        found += [page.jobs[place] for place in places]
        if page.cursor is None or len(found) == wanted:
            return JobPage(tuple(found), page.cursor)
        query = query.evolve(after=page.cursor, limit=stride)


async def _page_of_ids(store: Store, selection: Selection, now: int) -> JobPage:
    """By the time at which they were made; the cursor is the id of the last one."""
    found = [job.evolve(input=None) async for jobs in pages(store, selection, now) for job in jobs]
    found.sort(key=lambda job: (job.created_at, job.id), reverse=not selection.query.oldest_first)
    after, limit = selection.query.after, selection.query.limit
    behind = next((place + 1 for place, job in enumerate(found) if job.id == after), 0)
    shown = tuple(found[behind : behind + limit])
    return JobPage(shown, shown[-1].id if len(found) > behind + limit else None)


async def how_many(store: Store, selection: Selection, now: int) -> int:
    """How many jobs are meant: from the store's counts, or row by row."""
    if selection.counted:
        return sum(count.jobs for count in await store.count(selection.query) if selection.counts(count))
    return sum([len(jobs) async for jobs in pages(store, selection, now)])
