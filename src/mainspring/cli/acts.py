"""Acts: on those named, one by one, or on all that filters name, with a bar that tells how far they are.

With `--json` each says what became of it in a document on standard output, be that what was done or what went wrong.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mainspring.admin import JobFilters, JobPage
from mainspring.cli.output import complain, confirm, fail, print_json_lines, say, to_the_end
from mainspring.cli.session import exit_code
from mainspring.errors import MainspringError
from mainspring.stores.base import BATCH_ROWS

Act = Callable[[str], Awaitable[object]]
"""Does something to what is named so; answers False where it came too late for a job, an `Answer` where it has one."""
Count = Callable[[], Awaitable[int | None]]
"""How many jobs the filters name; None where that would take a look at each of them."""
Bulk = Callable[[Callable[[int, int], object]], Awaitable[int]]
"""Does it to all that the filters name, and tells how far it is; answers how many changed."""

ReasonOption = Annotated[str, typer.Option(help="Why; it is kept in the audit trail.")]


@dataclass(frozen=True, slots=True)
class How:
    """What is said of an act beside what it is done to."""

    reason: str
    yes: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What an act answers where "retried ID" would not be right: a word for programs, and a line for people."""

    done: str
    words: str


async def act(targets: Sequence[str], one: Act, done: str, as_json: bool, key: str = "id") -> None:
    """Do it to each of these. `done`: what it is called afterwards; `key`: what a target is called in JSON.

    Ends with 1 where it could not be done to one of them, or with 2 where nothing but wrong use is the cause.
    """
    codes: set[int] = set()
    for target in targets:
        try:
            answer = await one(target)
            if answer is False:
                raise MainspringError(f"job {target} was not {done}: it had ended already, or is gone.")
        except MainspringError as error:
            _tell_json(as_json, {key: target, "error": str(error)})
            complain(str(error))
            codes.add(exit_code(error))
            continue
        told = answer if isinstance(answer, Answer) else Answer(done, f"{done} {target}")
        _tell(as_json, {key: target, "done": told.done}, told.words)
    if codes:
        raise typer.Exit(min(codes))


async def act_on_all(
    bulk: Bulk, words: tuple[str, str], count: Count, question: Callable[[int | None], str], yes: bool, as_json: bool
) -> None:
    """Do it to all that the filters name, once that is confirmed. `words`: what it is called, before and after;
    `question`: what is asked about so many."""
    verb, done = words
    sofar = 0

    try:
        total = await count()
        confirm(question(total), yes)
        with _bar(verb, total) as shown:

            def tell(changed: int, seen: int) -> None:
                nonlocal sofar
                sofar = changed
                shown(seen)

            sofar = await bulk(tell)
    except asyncio.CancelledError as error:
        why = f"interrupted by {error}" if str(error) else "interrupted"
        complain(f"{why}: {sofar} {done}. That stays so; the same command goes on with the rest.")
        _tell_json(as_json, {"done": done, "jobs": sofar, "error": why})
        raise
    except MainspringError as error:
        _tell_json(as_json, {"done": done, "jobs": sofar, "error": str(error)})
        if sofar:
            complain(f"{sofar} {done} before it went wrong. That stays so; the same command goes on with the rest.")
        raise
    _tell(as_json, {"done": done, "jobs": sofar}, f"{sofar} {done}")


@contextmanager
def problem_in_json(as_json: bool, **target: str) -> Iterator[None]:
    """Around an act on one target, which answers for itself: what goes wrong is told in JSON, too, and raised."""
    try:
        yield
    except MainspringError as error:
        _tell_json(as_json, {**target, "error": str(error)})
        raise


def _tell_json(as_json: bool, document: dict[str, object]) -> None:
    """Answer by this document, if that is the wish."""
    if as_json:
        with to_the_end():
            print_json_lines([document])


def _tell(as_json: bool, document: dict[str, object], words: str) -> None:
    """Answer by this document, or in words."""
    _tell_json(as_json, document)
    if not as_json:
        with to_the_end():
            say(words)


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
