"""Shell completion: `mainspring completion bash`, and what can stand in the place of a name.

Names are read from the app and its store while somebody waits for a Tab: within five seconds, without a word, and
without making a database that is not there. What goes wrong completes nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, get_type_hints

import typer
from typer.models import ParameterInfo

from mainspring.admin.queue_stats import queue_names as queues_stored
from mainspring.admin.queue_stats import workers
from mainspring.app import Mainspring
from mainspring.cli.output import fail
from mainspring.client import Client
from mainspring.core.job import State
from mainspring.core.records import SCHEDULE
from mainspring.errors import MainspringError
from mainspring.stores.base import Query

VARIABLE = "_MAINSPRING_COMPLETE"
"""Set by the scripts: then the command prints what may come next, and ends."""
PATIENCE = 2.0
"""Seconds for the store."""
LIMIT = 5
"""Seconds for everything, an import of the app included; then the process ends, having said nothing."""
NEWEST = 50
"""So many jobs are offered by their ids."""

Complete = Callable[[typer.Context, str], list[str]]
SHELLS = ["bash", "zsh", "fish"]

BASH = """\
_mainspring_completion() {
    local word words=() glued=0
    # Bash takes "shop:app" and "--queue=a" apart; the command must see them whole.
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ ${#words[@]} -gt 0 && ( $glued == 1 || $word == [:=] ) ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        if [[ $word == [:=] ]]; then glued=1; else glued=0; fi
    done
    local IFS=$'\\n'
    COMPREPLY=( $( COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) \\
                   _MAINSPRING_COMPLETE=complete_bash "$1" 2>/dev/null ) )
}
complete -o default -F _mainspring_completion mainspring"""


def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", autocompletion=lambda: SHELLS)],
) -> None:
    """Print the script that completes commands, options and names in a shell.

    bash: add source <(mainspring completion bash) to ~/.bashrc. zsh: mainspring completion zsh > a folder of $fpath,
    as _mainspring. fish: mainspring completion fish > ~/.config/fish/completions/mainspring.fish
    """
    if shell not in SHELLS:
        fail(f"unknown shell: {shell!r}. Expected {', '.join(SHELLS)}.", 2)
    typer.echo(BASH if shell == "bash" else _script_of_typer(shell))


def _script_of_typer(shell: str) -> str:
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    return str(get_completion_script(prog_name="mainspring", complete_var=VARIABLE, shell=shell))


def prepare(app: typer.Typer) -> None:
    """Where a shell asks: be ready to answer it, and give up in time."""
    if VARIABLE not in os.environ:
        return
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()
    attach(app)
    signal.signal(signal.SIGALRM, lambda number, frame: os._exit(0))
    signal.alarm(LIMIT)


def attach(app: typer.Typer, group: str = "") -> None:
    """Let every parameter of all commands complete what its name says."""
    for command in app.registered_commands:
        if command.callback is not None:
            _attach(command.callback, group)
    for inner in app.registered_groups:
        if inner.typer_instance is not None:
            attach(inner.typer_instance, inner.name or "")


def _attach(callback: Callable[..., object], group: str) -> None:
    hints = get_type_hints(callback, include_extras=True)
    for name, hint in hints.items():
        for extra in getattr(hint, "__metadata__", ()):
            if isinstance(extra, ParameterInfo) and extra.autocompletion is None:
                extra.autocompletion = OF_GROUP.get((group, name)) or OF_NAME.get(name)
    callback.__annotations__ = hints  # annotations that are text would be read anew, without what was attached


def words(*choices: str) -> Complete:
    """Completes one of these; after a comma, one more."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return _listed(list(choices), incomplete)

    return complete


def _names(
    known: Callable[[Mainspring], Iterable[str]], stored: Callable[[Client], Awaitable[Iterable[str]]]
) -> Complete:
    """Completes what the code of the app knows, and what its store does."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            with _silence():
                return _listed(sorted(asyncio.run(_ask(ctx, known, stored))), incomplete)
        except BaseException:  # an app of a user may do anything, SystemExit included
            return []

    return complete


def _listed(choices: list[str], incomplete: str) -> list[str]:
    before, comma, _ = incomplete.rpartition(",")
    return [f"{before}{comma}{choice}" for choice in choices]


async def _ask(
    ctx: typer.Context,
    known: Callable[[Mainspring], Iterable[str]],
    stored: Callable[[Client], Awaitable[Iterable[str]]],
) -> set[str]:
    from mainspring.cli.session import find_app, has_database

    app = find_app(ctx.params.get("app"))
    found = set(known(app))
    if not has_database(app.url):
        return found
    try:
        async with asyncio.timeout(PATIENCE):
            return found | set(await stored(await app.connect()))
    except (MainspringError, TimeoutError):
        return found
    finally:
        await app.close()


@contextmanager
def _silence() -> Iterator[None]:
    """What an app prints while it is imported is no completion."""
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        sys.stdout.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)
        os.close(nowhere)


async def _schedules(client: Client) -> list[str]:
    return [record.name for record in await client.store.scan(SCHEDULE)]


async def _workers(client: Client) -> list[str]:
    return [record.name for record in await workers(client)]


async def _jobs(client: Client) -> list[str]:
    return [job.id for job in (await client.store.find(Query(limit=NEWEST))).jobs]


async def _dead(client: Client) -> list[str]:
    return [job.id for job in (await client.store.find(Query(states=(State.DEAD,), limit=NEWEST))).jobs]


def _nothing(app: Mainspring) -> list[str]:
    return []


def _queues_of_code(app: Mainspring) -> list[str]:
    return [task.queue for task in app.tasks.values()]


task_names = _names(lambda app: app.tasks, lambda client: client.snapshots.names())
queue_names = _names(_queues_of_code, queues_stored)
schedule_names = _names(lambda app: app.declared, _schedules)
worker_ids = _names(_nothing, _workers)
job_ids = _names(_nothing, _jobs)
dead_ids = _names(_nothing, _dead)
statuses = words("scheduled", "pending", "retrying", "running", "paused", "completed", "failed", "dead", "cancelled")

OF_NAME = {
    "task": task_names,
    "queue": queue_names,
    "status": statuses,
    "worker": worker_ids,
}
"""What completes a parameter of this name, in any command."""
OF_GROUP = {
    ("", "id"): job_ids,
    ("jobs", "id"): job_ids,
    ("jobs", "ids"): job_ids,
    ("dead", "id"): dead_ids,
    ("dead", "ids"): dead_ids,
    ("workers", "id"): worker_ids,
    ("workers", "ids"): worker_ids,
    ("schedules", "name"): schedule_names,
    ("schedules", "names"): schedule_names,
}
"""The same in commands of this group alone."""
