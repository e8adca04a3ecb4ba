"""Pages and counts of jobs for people. The scripts answer by insertion; what else is asked for is filtered here.

Each (queue, task, state) has an index of its own, and the counts say which of them hold anything, so the dead among a
million finished jobs are found at once. A script call reads a bounded number of rows; a filter that fits few rows takes
many calls, and keeps nobody else waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from mainspring.core.job import Job, State
from mainspring.errors import DefinitionError
from mainspring.stores.base import BATCH_ROWS, Count, Page, Query
from mainspring.stores.redis.link import Link
from mainspring.stores.redis.rows import SEPARATOR, read_job
from mainspring.stores.redis.sources import Sources


class Held(NamedTuple):
    """How many jobs of one kind there are: a field of the counts."""

    queue: str
    task: str
    state: State
    keyed: bool
    origin: str
    jobs: int


async def counts(link: Link) -> list[Held]:
    """All that is counted."""
    found = await link.command("HGETALL", f"{link.namespace}:counts")
    held = []
    for field, jobs in _pairs(found):
        state, queue, task, keyed, origin = field.decode().split(SEPARATOR, 4)
        held.append(Held(queue, task, State(state), keyed == "1", origin, int(jobs)))
    return held


def _pairs(flat: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _counted(held: Held, query: Query) -> bool:
    """Whether jobs that are counted there may fit."""
    return (
        (not query.states or held.state in query.states)
        and query.queue in (None, held.queue)
        and query.task in (None, held.task)
        and query.origin in (None, held.origin)
        and query.keyed in (None, held.keyed)
    )


async def count(link: Link, query: Query) -> list[Count]:
    """How many jobs there are per queue, task and state."""
    totals: dict[tuple[str, str, State], int] = {}
    if (query.worker, query.created_after, query.created_before, query.error) == (None, None, None, None):
        for held in await counts(link):
            if _counted(held, query):
                key = (held.queue, held.task, held.state)
                totals[key] = totals.get(key, 0) + held.jobs
    else:
        walk: Query | None = query.evolve(limit=BATCH_ROWS, after=None)
        while walk is not None:
            page = await find(link, walk)
            for job in page.jobs:
                key = (job.queue, job.task, job.state)
                totals[key] = totals.get(key, 0) + 1
            walk = None if page.cursor is None else walk.evolve(after=page.cursor)
    return [Count(*key, jobs) for key, jobs in totals.items()]


async def find(link: Link, query: Query) -> Page:
    """A page of jobs without payload."""
    after = "" if query.after is None else _cursor(query.after)
    held = [((held.queue, held.task), held.state) for held in await counts(link) if _counted(held, query)]
    sources = Sources(link, held, query.oldest_first)
    # One row more than the page tells whether there is another page.
    most = min(sources.bound, query.limit + 1)
    found: list[tuple[int, Job]] = []
    while len(found) <= query.limit:
        rows = await sources.read(after, most)
        for place, id, row in rows:
            if row is not None and fits(job := read_job(id, row), query):
                found.append((place, job))
        if len(rows) < most:
            break
        after, most = str(rows[-1].place), sources.bound  # the filter keeps few: read more at a time
    shown = found[: query.limit]
    return Page([job for _, job in shown], str(shown[-1][0]) if len(found) > len(shown) else None)


def fits(job: Job, query: Query) -> bool:
    """Whether everything that `query` gives holds of `job`."""
    return (
        (not query.states or job.state in query.states)
        and query.worker in (None, job.worker)
        and query.origin in (None, job.origin)
        and query.keyed in (None, job.keyed)
        and (query.created_after is None or job.created_at >= query.created_after)
        and (query.created_before is None or job.created_at < query.created_before)
        and (query.error is None or _holds_error(job, query.error))
    )


def _holds_error(job: Job, text: str) -> bool:
    return job.error is not None and text.casefold() in f"{job.error.type}: {job.error.message}".casefold()


def _cursor(text: str) -> str:
    if not text.isascii() or not text.isdigit():
        raise DefinitionError(f"bad cursor: {text!r}. Expected the cursor of a page that find() answered.")
    return text
