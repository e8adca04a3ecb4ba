"""`mainspring watch JOB`: what happens to a job, as it happens. It changes nothing, and Ctrl-C ends only the watching.

On a terminal: what it logs, and a bar below. In a pipe: a line an event. With `--json`: a document an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from mainspring.app import Mainspring
from mainspring.cli.output import COLOURS, JsonOption, When, clean, note, on_terminal, print_json_lines, say
from mainspring.cli.session import AppOption, run
from mainspring.core.handle import JobEvent
from mainspring.core.job import Job, State
from mainspring.errors import StoreUnavailable

AWAY = 1.0
"""Seconds after which a store that did not answer is asked again."""

Id = Annotated[str, typer.Argument(metavar="JOB", help="Its id.")]


def watch(id: Id, as_json: JsonOption = False, app: AppOption = None) -> None:
    """Watch a job until it has ended: its status, its progress, and what it logs.

    Ends with 0 where the job is completed, with 1 where it is dead, failed or cancelled, or does not exist. Ctrl-C ends
    the watching, with 130; the job goes on.
    """
    state = run(app, lambda found: follow(found, id, as_json))
    if state is not State.COMPLETED:
        raise typer.Exit(1)


async def follow(app: Mainspring, id: str, as_json: bool) -> State:
    """Show what happens to a job; answers the state in which it has ended. Raises `JobNotFound`."""
    job = await app.get(id)
    with _screen(job, as_json) as screen:
        if not job.state.terminal and not as_json:
            await _warn(app, job)
        async for event in _events(app, id):
            screen.show(event)
    job = await app.get(id)
    if on_terminal() and not as_json and job.has_result and job.state is State.COMPLETED:
        say(f"result: {job.result}")
    return job.state


async def _events(app: Mainspring, id: str) -> AsyncIterator[JobEvent]:
    """What happens to a job, also over a store that is away for a while. No log line comes twice."""
    said = 0
    while True:
        known = said
        try:
            async for event in app.events(id):
                if event.kind == "log" and known:
                    known -= 1
                    continue
                said += event.kind == "log"
                yield event
            return
        except StoreUnavailable as error:
            note(f"{error} Watching goes on when it is back.")
            await asyncio.sleep(AWAY)


async def _warn(app: Mainspring, job: Job) -> None:
    """Who watches a job that nobody will run would watch for ever."""
    stats = await app.queues.stats(job.queue)
    if job.task in stats.no_handler:
        note(f"no living worker runs {job.task} from queue {job.queue}: mainspring worker module:app")
    elif stats.is_paused:
        note(f"queue {job.queue} is paused: mainspring queues resume {job.queue}")


class _Screen(Protocol):
    def show(self, event: JobEvent) -> None: ...


@contextmanager
def _screen(job: Job, as_json: bool) -> Iterator[_Screen]:
    if as_json:
        yield _Documents(job.id)
    elif not on_terminal():
        yield _Lines()
    else:
        with _bar() as progress:
            yield _Bar(progress, job)


class _Documents:
    """An event a line, as JSON."""

    def __init__(self, id: str) -> None:
        self._id = id

    def show(self, event: JobEvent) -> None:
        view = {"id": self._id, "at": event.at, "kind": event.kind, "status": event.status, "data": event.data}
        print_json_lines([view])


class _Lines:
    """An event a line: time, kind, and what there is to say."""

    def show(self, event: JobEvent) -> None:
        at = When(event.at, event.at).plain()
        kind = event.kind if event.kind != "log" else str(event.data["level"])
        say_fields(at, kind, _told(event))


class _Bar:
    """What is logged goes by; the status and the progress stay below."""

    def __init__(self, progress: Progress, job: Job) -> None:
        self._progress = progress
        self._line: TaskID = progress.add_task(job.task, total=None, status="", note="")

    def show(self, event: JobEvent) -> None:
        if event.kind == "log":
            self._progress.console.print(Text(clean(str(event.data["text"])), style=_style(event.data["level"])))
        elif event.kind == "progress":
            data = clean(_plain(event.data.get("data")))
            self._progress.update(self._line, total=100, completed=event.data.get("percent"), note=data)
        else:
            done = 100 if event.status == "completed" else None
            style = COLOURS.get(event.status)
            status = f"[{style}]{event.status}[/]" if style else event.status
            self._progress.update(self._line, status=status, note=_detail(event), total=done, completed=done)


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[status]}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    return Progress(*columns, console=Console(highlight=False), refresh_per_second=4)


def _told(event: JobEvent) -> str:
    if event.kind == "log":
        return str(event.data["text"])
    if event.kind == "progress":
        percent = event.data.get("percent")
        known = "" if percent is None else f"{percent:g}%"
        return " ".join(part for part in (known, _plain(event.data.get("data"))) if part)
    return " ".join(part for part in (event.status, _detail(event)) if part)


def _detail(event: JobEvent) -> str:
    """Why a job is as it is: which attempt, and what went wrong."""
    parts = [event.data.get("reason"), event.data.get("error")]
    attempt = event.data.get("attempt")
    again = f"attempt {attempt}" if isinstance(attempt, int) and attempt > 1 else ""
    return clean(": ".join(str(part) for part in (again, *parts) if part))


def _plain(data: Any) -> str:
    if not isinstance(data, dict):
        return "" if data is None else str(data)
    return " ".join(f"{name}={value}" for name, value in data.items())


def _style(level: object) -> str:
    return {"warning": "yellow", "error": "red", "critical": "bold red", "debug": "dim"}.get(str(level), "")


def say_fields(*fields: str) -> None:
    """One line of a pipe, fields between tabs."""
    typer.echo("\t".join(clean(field) for field in fields))
