"""`mainspring workers`: list, get, pause, resume."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from mainspring.admin import WorkerInfo
from mainspring.admin.view import worker_view
from mainspring.app import Mainspring
from mainspring.cli.acts import Answer, ReasonOption, act
from mainspring.cli.output import JsonOption, When, note, print_fields, print_json, print_json_lines, print_rows
from mainspring.cli.session import AppOption, run
from mainspring.core.duration import humanize
from mainspring.errors import MainspringError

commands = typer.Typer(no_args_is_help=True, help="Look at the workers that live; pause and resume one of them.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The worker.")]


@commands.command("list")
def list_(as_json: JsonOption = False, app: AppOption = None) -> None:
    """List the workers that live, or were heard of within the last minute."""

    async def command(found: Mainspring) -> None:
        workers = await found.workers.list()
        if as_json:
            print_json_lines([worker_view(one) for one in workers])
            return
        columns = ("id", "status", "running", "processed", "failed", "up", "queues", "last seen")
        print_rows(columns, [_row(one, found.clock.now()) for one in workers])
        if not workers:
            note("no workers. Start one with: mainspring worker module:app")

    run(app, command)


def _row(worker: WorkerInfo, now: int) -> tuple[object, ...]:
    running, up = f"{worker.active}/{worker.concurrency}", humanize(round(worker.uptime) * 1000)
    numbers = (running, worker.processed, worker.failed, up)
    return worker.id, worker.status, *numbers, ",".join(worker.queues), When(worker.last_seen, now, short=True)


@commands.command()
def get(id: Id, as_json: JsonOption = False, app: AppOption = None) -> None:
    """Show what a worker has told of itself, a quarter of a minute ago at the most."""

    async def command(found: Mainspring) -> None:
        worker = await found.workers.get(id)
        if worker is None:
            raise _not_there(id)
        if as_json:
            print_json(worker_view(worker))
        else:
            _show(worker, found.clock.now())

    run(app, command)


def _show(worker: WorkerInfo, now: int) -> None:
    print_fields(
        [
            ("id", worker.id),
            ("status", worker.status),
            ("host", worker.host),
            ("pid", worker.pid),
            ("running", f"{worker.active} of {worker.concurrency}"),
            ("processed", worker.processed),
            ("failed", worker.failed),
            ("up", humanize(round(worker.uptime) * 1000)),
            ("loop lag", f"{worker.loop_lag}ms"),
            ("queues", ", ".join(worker.queues)),
            ("tasks", ", ".join(worker.tasks)),
            ("last seen", When(worker.last_seen, now)),
        ]
    )


@commands.command()
def pause(id: Id, reason: ReasonOption = "", as_json: JsonOption = False, app: AppOption = None) -> None:
    """Let a worker claim nothing more until it is resumed, within a quarter of a minute. What runs goes on."""

    _ask(app, id, "pause", lambda found: found.workers.pause(id, reason), as_json)


@commands.command()
def resume(id: Id, reason: ReasonOption = "", as_json: JsonOption = False, app: AppOption = None) -> None:
    """Let a paused worker claim again, within a quarter of a minute."""

    _ask(app, id, "resume", lambda found: found.workers.resume(id, reason), as_json)


def _ask(app: str | None, id: str, verb: str, ask: Callable[[Mainspring], Awaitable[bool]], as_json: bool) -> None:
    async def command(found: Mainspring) -> None:
        async def one(id: str) -> Answer:
            if not await ask(found):
                raise _not_there(id)
            return Answer(f"asked to {verb}", f"asked {id} to {verb}")

        await act([id], one, f"asked to {verb}", as_json)

    run(app, command)


def _not_there(id: str) -> MainspringError:
    return MainspringError(f"no worker {id!r} was heard of within the last minute. See: mainspring workers list")
