"""`mainspring worker module:app`: worker processes, and a parent that watches them."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any

import typer

from mainspring.cli.filters import duration_of
from mainspring.cli.output import fail
from mainspring.cli.session import AppOption, exit_code, find_app
from mainspring.core.naming import check_name
from mainspring.errors import DefinitionError, MainspringError
from mainspring.process.child import FORMAT
from mainspring.process.supervisor import Supervisor

LEVELS = ("debug", "info", "warning", "error", "critical")


def worker(
    name: Annotated[str | None, typer.Argument(metavar="MODULE:APP", help="The app; or --app.")] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", metavar="N", help="Handlers at once, in each process.")
    ] = 20,
    processes: Annotated[int, typer.Option("--processes", "-p", metavar="N", min=1, help="How many.")] = 1,
    queues: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these queues. Default: those of its tasks.")
    ] = None,
    tasks: Annotated[str | None, typer.Option(metavar="X,Y", help="Only these tasks. Default: all of the app.")] = None,
    grace: Annotated[str, typer.Option(metavar="TIME", help="How long handlers may go on after a stop.")] = "10s",
    log_level: Annotated[str, typer.Option(metavar="LEVEL", help=f"{', '.join(LEVELS)}.")] = "info",
    app: AppOption = None,
) -> None:
    """Run jobs until told to stop. The first SIGTERM or Ctrl-C lets handlers end, the second does not wait."""
    chosen = name or app
    settings: dict[str, Any] = {"concurrency": concurrency}
    settings |= {"queues": _names(queues, "queue")} if queues is not None else {}
    settings |= {"tasks": _names(tasks, "task")} if tasks is not None else {}
    if log_level.lower() not in LEVELS:
        fail(f"unknown log level: {log_level!r}. Expected: {', '.join(LEVELS)}.", 2)
    logging.basicConfig(level=log_level.upper(), format=FORMAT)
    if chosen is not None and "://" in chosen:
        fail(f"{chosen!r} names a store. Expected module:app, for a worker must know the tasks.", 2)
    found = find_app(chosen)
    try:
        settings["grace"] = duration_of(grace, "--grace")
        found.worker(**settings)  # what is wrong with the settings shows here, and not in each child, for ever
    except MainspringError as error:
        fail(str(error), 2)
    try:
        supervisor = Supervisor(found, str(chosen), processes, settings | {"log_level": log_level.upper()})
        code = asyncio.run(supervisor.run())
    except MainspringError as error:
        fail(str(error), exit_code(error))
    raise typer.Exit(code)


def _names(text: str, what: str) -> list[str]:
    try:
        return [check_name(name.strip(), what) for name in text.split(",")]
    except DefinitionError as error:
        fail(str(error), 2)
