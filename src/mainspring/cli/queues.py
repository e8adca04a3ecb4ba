"""`mainspring queues`: list, stats, pause, resume, throttle, unthrottle."""

from __future__ import annotations

from typing import Annotated

import typer

from mainspring.admin import QueueStats
from mainspring.admin.view import stats_view
from mainspring.app import Mainspring
from mainspring.cli.acts import Answer, act
from mainspring.cli.acts import ReasonOption as AuditReason
from mainspring.cli.filters import duration_of
from mainspring.cli.output import JsonOption, When, note, print_fields, print_json_lines, print_rows, warn
from mainspring.cli.session import AppOption, run
from mainspring.core.duration import humanize, milliseconds

commands = typer.Typer(no_args_is_help=True, help="Look at queues; pause and resume them, throttle tasks.")

Queue = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue.")]
Task = Annotated[str, typer.Argument(metavar="TASK", help="The task.")]
WAITING = ("scheduled", "pending", "retrying")
OTHERS = ("running", "paused", "completed", "failed", "dead", "cancelled")
ReasonOption = Annotated[str, typer.Option(help="Why; it is shown with the queue.")]
UNCHANGED = "unchanged"
"""What was done to a queue or task that was open already."""


@commands.command("list")
def list_(as_json: JsonOption = False, app: AppOption = None) -> None:
    """List all queues with what lies in them."""

    async def command(found: Mainspring) -> None:
        stats = await found.queues.stats()
        if as_json:
            print_json_lines([stats_view(one) for one in stats])
            return
        columns = ("queue", "waiting", "running", "paused", "failed", "dead", "workers", "state")
        print_rows(columns, [_row(one, found.clock.now()) for one in stats], whole=("queue",))
        if not stats:
            note("no queues.")

    run(app, command)


def _row(stats: QueueStats, now: int) -> tuple[object, ...]:
    numbers = (stats.waiting, stats.running, stats.paused, stats.failed, stats.dead, stats.workers)
    return stats.queue, *numbers, "; ".join(_remarks(stats, now)) or "open"


def _remarks(stats: QueueStats, now: int) -> list[str]:
    """Why jobs of a queue may be standing still."""
    remarks = []
    if stats.is_paused:
        remarks.append("paused" + (f" ({stats.pause_reason})" if stats.pause_reason else ""))
    for task, until in stats.throttled.items():
        remarks.append(f"{task} is held" + ("" if until is None else f", ends {When(until, now, short=True)}"))
    if stats.waiting and not stats.workers:
        remarks.append("no worker")
    elif stats.no_handler:
        remarks.append(f"no handler: {', '.join(stats.no_handler)}")
    return remarks


@commands.command()
def stats(
    queue: Annotated[str | None, typer.Argument(metavar="QUEUE", help="The queue; none: all.")] = None,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Show a queue, or all of them, in full."""

    async def command(found: Mainspring) -> None:
        shown = await found.queues.stats() if queue is None else [await found.queues.stats(queue)]
        if as_json:
            print_json_lines([stats_view(one) for one in shown])
            return
        for one in shown:
            _show(one, found.clock.now())

    run(app, command)


def _show(stats: QueueStats, now: int) -> None:
    numbers = [(name, getattr(stats, name)) for name in (*WAITING, *OTHERS)]
    print_fields(
        [
            ("queue", stats.queue),
            ("state", "; ".join(_remarks(stats, now)) or "open"),
            ("workers", stats.workers),
            ("waiting", stats.waiting),
            *[(f"  {name}" if name in WAITING else name, number) for name, number in numbers],
            ("first due", "" if stats.oldest_due is None else f"{humanize(stats.oldest_due)} ago"),
            ("paused at", When(stats.paused_at, now)),
        ]
    )


@commands.command()
def pause(queue: Queue, reason: ReasonOption = "", as_json: JsonOption = False, app: AppOption = None) -> None:
    """Let no job of a queue start any more. What runs goes on."""

    async def command(found: Mainspring) -> None:
        async def one(name: str) -> None:
            known = await found.queues.list()
            await found.queues.pause(name, reason)
            if name not in known:
                warn(f"no task, job or worker has had the queue {name!r}; there are: {', '.join(known) or 'none'}.")

        await act([queue], one, "paused", as_json, "queue")

    run(app, command)


@commands.command()
def resume(queue: Queue, reason: AuditReason = "", as_json: JsonOption = False, app: AppOption = None) -> None:
    """Let a paused queue go on."""

    async def command(found: Mainspring) -> None:
        async def one(name: str) -> Answer | None:
            return None if await found.queues.resume(name) else Answer(UNCHANGED, f"{name} was not paused")

        with found.acting(reason=reason):
            await act([queue], one, "resumed", as_json, "queue")

    run(app, command)


@commands.command()
def throttle(
    task: Task,
    duration: Annotated[
        str | None, typer.Argument(metavar="DURATION", help='"30s", "5m"; none: until unthrottled.')
    ] = None,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Let no job of a task start, in any queue, for a time."""

    async def command(found: Mainspring) -> None:
        length = None if duration is None else duration_of(duration, "throttle")

        async def one(name: str) -> Answer:
            await found.jobs.count(task=name)  # raises `UnknownTask`: a slip would hold nothing back
            if length is None:
                await found.queues.pause_task(name, reason)
            else:
                await found.queues.throttle(name, length, reason)
            limit = "" if length is None else f" for {humanize(milliseconds(length))}"
            return Answer("throttled", f"throttled {name}{limit}")

        await act([task], one, "throttled", as_json, "task")

    run(app, command)


@commands.command()
def unthrottle(task: Task, reason: AuditReason = "", as_json: JsonOption = False, app: AppOption = None) -> None:
    """Let jobs of a throttled task start again."""

    async def command(found: Mainspring) -> None:
        async def one(name: str) -> Answer | None:
            return None if await found.queues.unthrottle(name) else Answer(UNCHANGED, f"{name} was not throttled")

        with found.acting(reason=reason):
            await act([task], one, "unthrottled", as_json, "task")

    run(app, command)
