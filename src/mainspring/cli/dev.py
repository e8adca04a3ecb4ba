"""`mainspring dev module:app`: a worker that is started anew when the code changes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from mainspring.cli.filters import taking
from mainspring.cli.output import fail
from mainspring.cli.session import AppOption, exit_code
from mainspring.cli.settings import OF_PROCESS, OF_WORKER, flags_of, read_settings
from mainspring.cli.worker import log_settings, settings_or_end, worker_app
from mainspring.errors import MainspringError
from mainspring.process import reload
from mainspring.process.colours import colour_logs
from mainspring.process.reload import Order, Reloader

GRACE = 2
"""Seconds: who has just saved a file does not want to wait ten for a handler."""
FLAGS = flags_of([setting for setting in (*OF_WORKER, *OF_PROCESS) if setting.name != "processes"])


@taking(FLAGS, dict)
def dev(
    flags: dict[str, Any],
    name: Annotated[str | None, typer.Argument(metavar="MODULE:APP", help="The app; or --app.")] = None,
    reload_dir: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="Watch this one; may be repeated. Default: the current.",
        ),
    ] = None,
    app: AppOption = None,
) -> None:
    """Run one worker, and start it anew when a Python file or pyproject.toml changes. For development.

    An error in the code is shown, and dev waits for the next change. The grace is 2s here unless something says
    otherwise. Ctrl-C ends it. Needs the package watchfiles: pip install 'mainspring[dev]'.
    """
    settings = settings_or_end(flags)
    folders = [folder.absolute() for folder in reload_dir or ()]  # before the project's folder is the current one
    chosen = worker_app(name or app)
    logs = log_settings(settings)
    colour_logs()

    def order() -> Order:
        of_worker = read_settings(flags).for_worker()
        return Order(chosen, {"grace": GRACE} | of_worker | logs | {"log_colours": True})

    try:
        reload.check()
        asyncio.run(_run(order, folders or [Path.cwd()]))
    except MainspringError as error:
        fail(str(error), exit_code(error))


async def _run(order: Any, folders: list[Path]) -> None:
    await Reloader(order, folders).run()
