"""`mainspring schedules`: list, show, create, update, delete, pause, resume, run, reset-retries, executions, preview,
describe."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import typer

from mainspring.admin import ScheduleInfo, SchedulePage
from mainspring.admin.upcoming import describe_times, preview_times
from mainspring.admin.view import execution_view, schedule_view, upcoming_runs
from mainspring.app import Mainspring
from mainspring.cli.acts import ReasonOption, act, problem_in_json
from mainspring.cli.enqueue import read_object
from mainspring.cli.filters import duration_of
from mainspring.cli.output import JsonOption, YesOption, confirm, fail, print_json, print_json_lines, say
from mainspring.cli.schedule_options import read_moment, with_options, with_times
from mainspring.cli.session import AppOption, exit_code, run
from mainspring.cli.show_schedules import show_created, show_executions, show_schedule, show_schedules, show_times
from mainspring.core.clock import wall_ms
from mainspring.core.naming import check_reason
from mainspring.errors import MainspringError, ScheduleNotFound
from mainspring.stores.base import BATCH_ROWS

T = TypeVar("T")

commands = typer.Typer(no_args_is_help=True, help="Look at schedules, make and change them, run them by hand.")

_Text = str | None
Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME", help="The schedules.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many at most.")]
InputOption = Annotated[_Text, typer.Option(metavar="INPUT", help="The arguments: a JSON object, or - for stdin.")]
Times = Annotated[_Text, typer.Argument(metavar="SCHEDULE", help='As text: "0 9 * * 1", "@daily", "every 5m".')]


# -- looking -----------------------------------------------------------------------------------------------------------


@commands.command("list")
def list_(
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status", "-s", metavar="STATUS",
            help="Only those that are active, paused, running, completed, failed, retry-scheduled or retired; several "
            "by commas.",
        ),
    ] = None,
    task: Annotated[_Text, typer.Option("--task", "-t", metavar="NAME", help="Only those of this task.")] = None,
    search: Annotated[_Text, typer.Option(metavar="TEXT", help="Only where name, task or description hold it.")] = None,
    sort: Annotated[
        str, typer.Option(metavar="BY", help="name, next_run, last_run, created_at or updated_at.")
    ] = "name",
    descending: Annotated[bool, typer.Option("--descending", help="The last first.")] = False,
    limit: LimitOption = 100,
    offset: Annotated[int, typer.Option(metavar="N", min=0, help="Leave out so many.")] = 0,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:  # fmt: skip
    """List schedules with their times and how their last run ended."""
    statuses = [part.strip() for text in status or () for part in text.split(",")]
    filters = {"status": statuses, "task": task, "search": search, "sort": sort, "descending": descending}

    async def command(found: Mainspring) -> None:
        page = await _read_pages(found, limit, offset, filters)
        show_schedules(page, offset, found.clock.now(), as_json)

    run(app, command)


async def _read_pages(found: Mainspring, limit: int, offset: int, filters: dict[str, Any]) -> SchedulePage:
    """Up to `limit` schedules, by as many pages as that takes."""
    schedules: tuple[ScheduleInfo, ...] = ()
    while True:
        size = min(limit - len(schedules), BATCH_ROWS)
        page = await found.schedules.list(limit=size, offset=offset + len(schedules), **filters)
        schedules += page.schedules
        if len(page) < size or len(schedules) == limit:
            return SchedulePage(schedules, page.total)


@commands.command()
def show(name: Name, as_json: JsonOption = False, app: AppOption = None) -> None:
    """Show a schedule in full: its times, what it does about missed ones, its next runs and its last."""

    async def command(found: Mainspring) -> None:
        info = await found.schedules.get(name)
        if info is None:
            raise ScheduleNotFound(name)
        now = found.clock.now()
        upcoming = upcoming_runs(info, now)
        if as_json:
            times = [at.isoformat(timespec="milliseconds") for at in upcoming]
            print_json(schedule_view(info, output=True) | {"upcoming": times})
        else:
            show_schedule(info, upcoming, now)

    run(app, command)


@commands.command()
def executions(
    name: Name,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=500, help="How many at most.")] = 50,
    output: Annotated[bool, typer.Option("--output", help="With what each has printed and logged.")] = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """List the last runs of a schedule, attempt by attempt, the newest first."""

    async def command(found: Mainspring) -> None:
        runs = await found.schedules.executions(name, limit, output=output or as_json)
        if as_json:
            print_json_lines([execution_view(one) for one in runs])
        else:
            show_executions(runs, found.clock.now(), output)

    run(app, command)


# -- making and changing -----------------------------------------------------------------------------------------------


@commands.command()
@with_options
def create(
    options: dict[str, Any],
    name: Name,
    task: Annotated[str, typer.Argument(metavar="TASK", help="What it runs.")],
    input: Annotated[str, typer.Argument(metavar="INPUT", help="The arguments: a JSON object, or - for stdin.")] = "{}",
    paused: Annotated[bool, typer.Option("--paused", help="Let it fire nothing until it is resumed.")] = False,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Make a schedule of a task. The app or any worker of its store must know the task."""

    async def command(found: Mainspring) -> None:
        with problem_in_json(as_json, name=name):
            value = read_object(input)
            info = await found.schedules.create(name, task, value, paused=paused, reason=reason, **options)
        show_created(info, "created", found.clock.now(), as_json)

    run(app, command)


@commands.command()
@with_options
def update(
    options: dict[str, Any],
    name: Name,
    task: Annotated[_Text, typer.Option("--task", "-t", metavar="NAME", help="Another task.")] = None,
    input: InputOption = None,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Change what is given of a schedule, and leave the rest. Other times count from now."""
    if not options and task is None and input is None:
        fail(f"nothing to change in {name!r}. Expected an option such as --cron, --task or --input.", 2)

    async def command(found: Mainspring) -> None:
        with problem_in_json(as_json, name=name):
            value = None if input is None else read_object(input)
            info = await found.schedules.update(name, task=task, input=value, reason=reason, **options)
        show_created(info, "updated", found.clock.now(), as_json)

    run(app, command)


# -- acts --------------------------------------------------------------------------------------------------------------


@commands.command()
def delete(
    names: Names,
    reason: ReasonOption = "",
    yes: YesOption = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Delete schedules with their history. What runs goes on, what waits does not begin."""

    async def command(found: Mainspring) -> None:
        async def one(name: str) -> None:
            if not await found.schedules.delete(name):
                raise ScheduleNotFound(name)

        with found.acting(reason=reason):
            confirm(f"Delete {', '.join(names)} with all history?", yes)
            await act(names, one, "deleted", as_json, "name")

    run(app, command)


@commands.command()
def pause(
    names: Names,
    reason: Annotated[str, typer.Option(help="Why; it is shown with the schedule.")] = "",
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Let schedules fire nothing until they are resumed. What runs goes on."""

    async def command(found: Mainspring) -> None:
        check_reason(reason)
        await act(names, lambda name: found.schedules.pause(name, reason), "paused", as_json, "name")

    run(app, command)


@commands.command()
def resume(names: Names, reason: ReasonOption = "", as_json: JsonOption = False, app: AppOption = None) -> None:
    """Let paused schedules go on, with their first time from now."""

    async def command(found: Mainspring) -> None:
        with found.acting(reason=reason):
            await act(names, found.schedules.resume, "resumed", as_json, "name")

    run(app, command)


@commands.command("reset-retries")
def reset_retries(names: Names, reason: ReasonOption = "", as_json: JsonOption = False, app: AppOption = None) -> None:
    """Give a run that waits for a retry all its attempts again; forget the failure of one that has none left."""

    async def command(found: Mainspring) -> None:
        with found.acting(reason=reason):
            await act(names, found.schedules.reset_retries, "reset", as_json, "name")

    run(app, command)


@commands.command("run")
def run_(
    name: Name,
    input: InputOption = None,
    reason: ReasonOption = "",
    wait: Annotated[_Text, typer.Option(metavar="TIME", help="Wait this long for its result, and print it.")] = None,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Run a schedule once now, whatever its times and whether it is paused. Prints the job's id."""

    async def command(found: Mainspring) -> None:
        with problem_in_json(as_json, name=name):
            patience = None if wait is None else duration_of(wait, "--wait")
            job = await found.schedules.run(name, None if input is None else read_object(input), reason)
            result = None if wait is None else await job.result(timeout=patience)
        if wait is not None:
            print_json(result)
        elif as_json:
            print_json({"id": job.id, "task": job.task, "schedule": name})
        else:
            say(job.id)

    run(app, command)


# -- times, without a store --------------------------------------------------------------------------------------------


@commands.command()
@with_times
def preview(
    times: dict[str, Any],
    schedule: Times = None,
    start: Annotated[_Text, typer.Option(metavar="TIME", help="Those after 2030-01-31T12:00. Default: now.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", help="How many.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Print the next times of a schedule, in its zone. Needs no app and no store."""

    def ask() -> list[datetime]:
        begin = None if start is None else read_moment(start, "--start", times.get("timezone"))
        return preview_times(begin if isinstance(begin, datetime) else None, count, _with_text(times, schedule))

    show_times(_answered(ask), wall_ms(), as_json)


@commands.command()
@with_times
def describe(times: dict[str, Any], schedule: Times = None, as_json: JsonOption = False) -> None:
    """Say in words when a schedule runs, with a warning where daylight saving touches it. Needs no app and no store."""
    words = _answered(lambda: describe_times(_with_text(times, schedule)))
    if as_json:
        print_json({"when": words})
    else:
        say(words)


def _with_text(times: dict[str, Any], schedule: str | None) -> dict[str, Any]:
    return times if schedule is None else times | {"schedule": schedule}


def _answered(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except MainspringError as error:
        fail(str(error), exit_code(error))
