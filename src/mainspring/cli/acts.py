"""Acts on jobs: on those named, one by one, or on all that filters name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import typer

from mainspring.admin import JobFilters, JobPage
from mainspring.cli.output import complain, confirm, fail, say
from mainspring.errors import MainspringError
from mainspring.stores.base import BATCH_ROWS

Act = Callable[[str], Awaitable[object]]
"""Does something to the job of an id; answers False where it came too late."""
Bulk = Callable[[], Awaitable[int]]
"""Does it to all that the filters name; answers how many changed."""


async def act(ids: Sequence[str], one: Act, done: str) -> None:
    """Do it to each of these jobs. Ends with 1 where it could not be done to one of them."""
    problems = 0
    for id in ids:
        try:
            if await one(id) is False:
                raise MainspringError(f"job {id} was not {done}: it had ended already, or is gone.")
            say(f"{done} {id}")
        except MainspringError as error:
            complain(str(error))
            problems += 1
    if problems:
        raise typer.Exit(1)


async def act_on_all(filters: JobFilters, bulk: Bulk, words: tuple[str, str], yes: bool) -> None:
    """Do it to all jobs that the filters name, once that is confirmed. `words`: what it is called, before and after."""
    verb, done = words
    if not filters:
        fail(f"no job to {verb}. Expected ids, or filters such as --task or --queue.", 2)
    confirm(f"{verb.capitalize()} all jobs whose {_told(filters)}?", yes)
    say(f"{await bulk()} {done}")


def refuse_both(ids: Sequence[str] | None, filters: JobFilters) -> None:
    if ids and filters:
        fail(f"both ids and filters ({', '.join(filters)}). Expected one of them.", 2)


def _told(filters: JobFilters) -> str:
    values = {name: " or ".join(value) if isinstance(value, list) else value for name, value in filters.items()}
    return " and ".join(f"{name} is {value}" for name, value in values.items())


async def read_pages(read: Callable[[int, str | None], Awaitable[JobPage]], limit: int) -> JobPage:
    """Up to `limit` jobs, by as many pages as that takes."""
    page = await read(min(limit, BATCH_ROWS), None)
    jobs = list(page.jobs)
    while page.cursor is not None and len(jobs) < limit:
        page = await read(min(limit - len(jobs), BATCH_ROWS), page.cursor)
        jobs += page.jobs
    return JobPage(tuple(jobs), page.cursor)
