"""The command line: `mainspring worker`, `enqueue`, `jobs`, `schedules`, `doctor` and the others.

It parses, calls `admin`, the app or the supervisor, and prints. Nothing is decided here.
Exit codes: 0 done; 1 it failed, or what was named does not exist; 2 wrong use; 130 interrupted, 143 by SIGTERM, 129 by
SIGHUP.
"""

from __future__ import annotations

from typing import Annotated

import typer

from mainspring import __version__
from mainspring.cli import (
    audit,
    completion,
    config,
    dead,
    demo,
    dev,
    doctor,
    ends,
    enqueue,
    jobs,
    locks,
    queues,
    schedules,
    watch,
    worker,
    workers,
)

app = typer.Typer(
    name="mainspring",
    cls=ends.Commands,
    help="Background tasks: run workers, and see and steer what is stored.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog='Name the app once: --app module:app (or its store\'s URL), MAINSPRING_APP, or app = "module:app" in '
    "[tool.mainspring] of pyproject.toml. demo, completion, config, schedules preview and describe need none.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mainspring {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command("worker")(worker.worker)
app.command("dev")(dev.dev)
app.command("enqueue")(enqueue.enqueue)
app.command("watch")(watch.watch)
app.command("doctor")(doctor.doctor)
app.command("config")(config.config)
app.command("completion")(completion.completion)
app.command("demo")(demo.demo)
app.add_typer(jobs.commands, name="jobs")
app.add_typer(dead.commands, name="dead")
app.add_typer(queues.commands, name="queues")
app.add_typer(schedules.commands, name="schedules")
app.add_typer(workers.commands, name="workers")
app.add_typer(locks.commands, name="locks")
app.command("audit")(audit.audit)


def main() -> None:
    """All of `mainspring` once it is imported."""
    ends.open_streams()
    completion.prepare(app)
    app(prog_name="mainspring")
