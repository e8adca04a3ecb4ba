"""`mainspring dead`: list, get, retry, retry-all, purge, count."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mainspring.admin import JobFilters
from mainspring.admin.view import job_view
from mainspring.app import Mainspring
from mainspring.cli.acts import ReasonOption, act, act_on_all, read_pages
from mainspring.cli.filters import DEAD, duration_of, with_filters
from mainspring.cli.jobs import Id, LimitOption
from mainspring.cli.output import JsonOption, YesOption, print_json
from mainspring.cli.session import AppOption, run
from mainspring.cli.show import show_count, show_job, show_jobs
from mainspring.errors import MainspringError

commands = typer.Typer(
    no_args_is_help=True, help="Look at the jobs that failed for good, run them again, or erase them."
)


@commands.command("list")
@with_filters(*DEAD)
def list_(
    filters: JobFilters,
    limit: LimitOption = 100,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="The oldest first, not the newest.")] = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """List dead letters, the newest first."""
    chosen: Any = filters

    async def command(found: Mainspring) -> None:
        letters = found.dead_letters
        page = await read_pages(
            lambda size, cursor: letters.list(limit=size, cursor=cursor, oldest_first=oldest_first, **chosen), limit
        )
        show_jobs(page, found.clock.now(), as_json)

    run(app, command)


@commands.command()
def get(id: Id, as_json: JsonOption = False, app: AppOption = None) -> None:
    """Show a dead letter: why it died, its runs and its input."""

    async def command(found: Mainspring) -> None:
        job = await found.dead_letters.get(id)
        if job is None:
            raise MainspringError(f"no dead letter has the id {id!r}. Look for the job with: mainspring jobs get {id}")
        if as_json:
            print_json(job_view(job, found.clock.now()))
        else:
            show_job(job, found.clock.now())

    run(app, command)


@commands.command()
@with_filters(*DEAD)
def count(filters: JobFilters, as_json: JsonOption = False, app: AppOption = None) -> None:
    """Count dead letters."""
    chosen: Any = filters

    async def command(found: Mainspring) -> None:
        show_count(await found.dead_letters.count(**chosen), as_json)

    run(app, command)


@commands.command()
def retry(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="The jobs.")],
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Run dead letters again. They have new attempts, and keep their history."""

    async def command(found: Mainspring) -> None:
        with found.acting(reason=reason):
            await act(ids, found.dead_letters.retry, "retried", as_json)

    run(app, command)


@commands.command("retry-all")
@with_filters(*DEAD)
def retry_all(
    filters: JobFilters,
    reason: ReasonOption = "",
    yes: YesOption = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Run all dead letters again, or all that the filters name."""
    chosen: Any = filters

    async def command(found: Mainspring) -> None:
        letters = found.dead_letters
        with found.acting(reason=reason):
            await act_on_all(
                lambda tell: letters.retry_all(on_progress=tell, **chosen), ("retry", "retried"),
                lambda: letters.count(**chosen), lambda total: f"Retry dead letters: {total:,}?", yes, as_json,
            )  # fmt: skip

    run(app, command)


@commands.command()
@with_filters(*DEAD)
def purge(
    filters: JobFilters,
    older_than: Annotated[
        str | None, typer.Option(metavar="TIME", help='Only those dead for this long: "30d".')
    ] = None,
    reason: ReasonOption = "",
    yes: YesOption = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Erase all dead letters, or all that the filters name. It cannot be undone."""
    chosen: Any = filters

    async def command(found: Mainspring) -> None:
        letters = found.dead_letters
        least = None if older_than is None else duration_of(older_than, "--older-than")
        aged = "" if older_than is None else f" (those older than {older_than})"
        with found.acting(reason=reason):
            await act_on_all(
                lambda tell: letters.purge(least, on_progress=tell, **chosen), ("erase", "erased"),
                lambda: letters.count(**chosen),
                lambda total: f"Erase dead letters for good: {total:,}{aged}?", yes, as_json,
            )  # fmt: skip

    run(app, command)
