"""`mainspring worker module:app`: worker processes, and a parent that watches them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from mainspring.app import Mainspring
from mainspring.cli.filters import taking
from mainspring.cli.output import fail
from mainspring.cli.session import AppOption, app_name, exit_code, find_app
from mainspring.cli.settings import WORKER_FLAGS, Settings, read_settings
from mainspring.errors import MainspringError
from mainspring.logs import configure_logging
from mainspring.process.supervisor import Supervisor

AppArgument = Annotated[str | None, typer.Argument(metavar="MODULE:APP", help="The app; or --app.")]


@taking(WORKER_FLAGS, dict)
def worker(flags: dict[str, Any], name: AppArgument = None, app: AppOption = None) -> None:
    """Run jobs until told to stop. The first SIGTERM or Ctrl-C lets handlers end, the second does not wait.

    Every setting can stand in the environment and in [tool.mainspring] of pyproject.toml, too; a flag goes before a
    variable, and that before the file. mainspring config shows which is from where.
    """
    settings = settings_or_end(flags)
    chosen = worker_app(name or app)
    logs = log_settings(settings)
    found = find_app(chosen)
    of_worker = check_worker(found, settings)
    try:
        supervisor = Supervisor(found, chosen, settings.value("processes"), of_worker | logs)
        code = asyncio.run(supervisor.run())
    except MainspringError as error:
        fail(str(error), exit_code(error))
    raise typer.Exit(code)


def settings_or_end(flags: dict[str, Any]) -> Settings:
    """All settings, where those of a worker go together; ends the command where they are wrong."""
    try:
        settings = read_settings(flags)
        settings.for_worker()
    except MainspringError as error:
        fail(str(error), 2)
    return settings


def log_settings(settings: Settings) -> dict[str, str]:
    """How a worker process logs; this one does so from here on."""
    logs: dict[str, str] = {name: settings.value(name) for name in ("log_level", "log_format")}
    configure_logging(logs["log_level"], "json" if logs["log_format"] == "json" else "text")
    return logs


def worker_app(name: str | None) -> str:
    """The name of an app that has tasks. Ends the command where there is none."""
    chosen = app_name(name)
    if "://" in chosen:
        fail(f"{chosen!r} names a store. Expected module:app, for a worker must know the tasks.", 2)
    return chosen


def check_worker(app: Mainspring, settings: Settings) -> dict[str, Any]:
    """What is said of the worker. What is wrong with it shows here, and not in each child, for ever."""
    of_worker = settings.for_worker()
    try:
        app.worker(**of_worker)
    except MainspringError as error:
        fail(settings.told(error), 2)
    return of_worker
