"""Acts: on those named, one by one, or on all that filters name, with a bar that tells how far they are."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mainspring.admin import JobFilters, JobPage
from mainspring.cli.output import complain, confirm, fail, say
from mainspring.errors import MainspringError
from mainspring.stores.base import BATCH_ROWS

Act = Callable[[str], Awaitable[object]]
"""Does something to the job of an id; answers False where it came too late."""
Bulk = Callable[[Callable[[int, int], object]], Awaitable[int]]
"""Does it to all that the filters name, and tells how far it is; answers how many changed."""

ReasonOption = Annotated[str, typer.Option(help="Why; it is kept in the audit trail.")]


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


async def act_on_all(bulk: Bulk, words: tuple[str, str], question: str, total: int | None, yes: bool) -> None:
    """Do it to all that the filters name, once that is confirmed. `words`: what it is called, before and after;
    `total`: how many there are, where that is known."""
    confirm(question, yes)
    verb, done = words
    sofar = 0

    with _bar(verb, total) as shown:

        def tell(changed: int, seen: int) -> None:
            nonlocal sofar
            sofar = changed
            shown(seen)

        try:
            changed = await bulk(tell)
        except asyncio.CancelledError:
            complain(f"interrupted: {sofar} {done}. That stays so; the same command goes on with the rest.")
            raise
        except MainspringError:
            if sofar:
                complain(f"{sofar} {done} before it went wrong. That stays so; the same command goes on with the rest.")
            raise
    say(f"{changed} {done}")


@contextmanager
def _bar(verb: str, total: int | None) -> Iterator[Callable[[int], object]]:
    """A bar on standard error while somebody looks; gives what moves it."""
    if not sys.stderr.isatty():
        yield lambda seen: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(verb, total=total)
        yield lambda seen: progress.update(bar, completed=seen)


def refuse_both(ids: Sequence[str] | None, filters: JobFilters) -> None:
    if ids and filters:
        fail(f"both ids and filters ({', '.join(filters)}). Expected one of them.", 2)


def told(filters: JobFilters) -> str:
    """What filters say, as the end of a question."""
    return " and ".join(_told(name, value) for name, value in filters.items())


def _told(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return f"{words} is {'true' if value else 'false'}"
    if isinstance(value, datetime):
        return f"{words.removesuffix(' after').removesuffix(' before')} time is {words.split()[-1]} {value:%F %T %z}"
    return f"{words} is {' or '.join(value) if isinstance(value, list) else value}"


async def read_pages(read: Callable[[int, str | None], Awaitable[JobPage]], limit: int) -> JobPage:
    """Up to `limit` jobs, by as many pages as that takes."""
    page = await read(min(limit, BATCH_ROWS), None)
    jobs = list(page.jobs)
    while page.cursor is not None and len(jobs) < limit:
        page = await read(min(limit - len(jobs), BATCH_ROWS), page.cursor)
        jobs += page.jobs
    return JobPage(tuple(jobs), page.cursor)
