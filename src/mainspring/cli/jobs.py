"""`mainspring jobs`: list, get, count, retry, cancel, pause, resume, delete, logs, history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from mainspring.admin import JobFilters, Jobs
from mainspring.admin.selection import MEANT, WAITING
from mainspring.admin.view import job_view
from mainspring.app import Mainspring
from mainspring.cli.acts import How, ReasonOption, act, act_on_all, read_pages, refuse_both, told
from mainspring.cli.filters import with_filters
from mainspring.cli.output import JsonOption, YesOption, fail, note, print_json, print_rows
from mainspring.cli.session import AppOption, run
from mainspring.cli.show import show_count, show_job, show_jobs, show_logs
from mainspring.errors import JobNotFound

commands = typer.Typer(no_args_is_help=True, help="Look at jobs and steer them.")

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="The jobs; or none, and filters.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The job.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many at most.")]


@commands.command("list")
@with_filters()
def list_(
    filters: JobFilters,
    limit: LimitOption = 100,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="The oldest first, not the newest.")] = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """List jobs, the newest first."""

    async def command(found: Mainspring) -> None:
        page = await read_pages(
            lambda size, cursor: found.jobs.list(limit=size, cursor=cursor, oldest_first=oldest_first, **filters), limit
        )
        show_jobs(page, found.clock.now(), as_json)

    run(app, command)


@commands.command()
def get(id: Id, as_json: JsonOption = False, app: AppOption = None) -> None:
    """Show a job with its input, result and runs."""

    async def command(found: Mainspring) -> None:
        job = await found.jobs.get(id)
        if job is None:
            raise JobNotFound(id)
        if as_json:
            print_json(job_view(job, found.clock.now()))
        else:
            show_job(job, found.clock.now())

    run(app, command)


@commands.command()
@with_filters()
def count(
    filters: JobFilters,
    by_status: Annotated[bool, typer.Option("--by-status", help="How many of each status.")] = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Count jobs."""

    async def command(found: Mainspring) -> None:
        if not by_status:
            total = await found.jobs.count(**filters)
            show_count(total, as_json)
            return
        counts = await found.jobs.counts(**filters)
        if as_json:
            print_json(counts)
        else:
            print_rows(("status", "jobs"), list(counts.items()))

    run(app, command)


@commands.command()
@with_filters()
def retry(
    filters: JobFilters,
    ids: Ids = None,
    reason: ReasonOption = "",
    yes: YesOption = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Run jobs again. Those named, or all failed and dead ones that the filters name."""
    _act(app, ids, filters, ("retry", "retried"), How(reason, yes, as_json))


@commands.command()
@with_filters()
def cancel(
    filters: JobFilters,
    ids: Ids = None,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the job.")] = "cancelled",
    yes: YesOption = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Cancel jobs. Those named, or all that have not ended and the filters name. What runs is asked to end."""
    _act(app, ids, filters, ("cancel", "cancelled"), How("", yes, as_json), more={"reason": reason})


@commands.command()
@with_filters()
def delete(
    filters: JobFilters,
    ids: Ids = None,
    reason: ReasonOption = "",
    yes: YesOption = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Erase jobs. Those named, or all that have ended and the filters name. What runs is cancelled first."""
    _act(app, ids, filters, ("delete", "deleted"), How(reason, yes, as_json))


@commands.command()
@with_filters()
def pause(
    filters: JobFilters,
    ids: Ids = None,
    reason: ReasonOption = "",
    yes: YesOption = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Hold waiting jobs until they are resumed. Those named, or all that the filters name."""
    _act(app, ids, filters, ("pause", "paused"), How(reason, yes, as_json))


@commands.command()
@with_filters()
def resume(
    filters: JobFilters,
    ids: Ids = None,
    reason: ReasonOption = "",
    yes: YesOption = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Let paused jobs go on. Those named, or all that the filters name."""
    _act(app, ids, filters, ("resume", "resumed"), How(reason, yes, as_json))


def _act(
    app: str | None,
    ids: Sequence[str] | None,
    filters: JobFilters,
    words: tuple[str, str],
    how: How,
    more: dict[str, str] | None = None,
) -> None:
    """Do it to the jobs named, or to all that the filters name. `words`: what it is called, before and after."""
    refuse_both(ids, filters)
    verb, done = words
    if not ids and not filters:
        fail(f"no job to {verb}. Expected ids, or filters such as --task or --queue.", 2)
    extra: Any = more or {}
    given: Any = filters

    async def command(found: Mainspring) -> None:
        method: Callable[..., Any] = getattr(found.jobs, verb)

        async def one(id: str) -> object:
            answer = await method(id, **extra)
            if verb == "delete" and answer is False:
                raise JobNotFound(id)
            return answer

        with found.acting(reason=how.reason):
            if ids:
                await act(ids, one, done, how.as_json)
                return
            await act_on_all(
                lambda tell: method(on_progress=tell, **given, **extra), words,
                lambda: _cheap_count(found.jobs, verb, filters),
                lambda total: f"{verb.capitalize()} {_number(total)} jobs whose {told(filters)}?", how.yes, how.as_json,
            )  # fmt: skip

    run(app, command)


def _number(total: int | None) -> str:
    return "all" if total is None else f"{total:,}"


async def _cheap_count(jobs: Jobs, verb: str, filters: JobFilters) -> int | None:
    """How many jobs are meant, where the store can tell without a look at each of them."""
    given: Any = {"status": MEANT[verb]} | filters
    statuses = [given["status"]] if isinstance(given["status"], str) else given["status"]
    split = set(statuses) & set(WAITING) not in (set(), set(WAITING))
    if split or not set(given) <= {"task", "queue", "origin", "status"}:
        return None
    return await jobs.count(**given)


@commands.command()
def logs(id: Id, as_json: JsonOption = False, app: AppOption = None) -> None:
    """Print what a job has logged."""

    async def command(found: Mainspring) -> None:
        after = 0
        while lines := await found.jobs.logs(id, after):
            show_logs(lines, found.clock.now(), as_json)
            after = lines[-1].seq
        if not after:
            note("no log lines.")

    run(app, command)


@commands.command()
def history(id: Id, as_json: JsonOption = False, app: AppOption = None) -> None:
    """Print the life of a job: added, begun, retried, ended, and what it has logged."""

    async def command(found: Mainspring) -> None:
        show_logs(await found.jobs.history(id), found.clock.now(), as_json)

    run(app, command)
