"""From a command to an app: which one is meant, one event loop around it, and errors in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from mainspring.app import Mainspring
from mainspring.cli.output import fail
from mainspring.errors import DefinitionError, MainspringError
from mainspring.process.locate import locate_app

T = TypeVar("T")

AppOption = Annotated[
    str | None,
    typer.Option(
        "--app", "-a", envvar="MAINSPRING_APP", metavar="MODULE:APP", help="The app, or the URL of its store."
    ),
]


def find_app(name: str | None) -> Mainspring:
    """The app of `module:app`, or one without tasks on the store of a URL. Ends the command where there is none."""
    if not name:
        fail("no app. Expected --app module:app (or the URL of its store), or the variable MAINSPRING_APP.", 2)
    try:
        return _app_on(name) if "://" in name else locate_app(name)
    except MainspringError as error:
        fail(str(error), exit_code(error))


def _app_on(url: str) -> Mainspring:
    """An app without tasks. A store that is only looked at is not to come into being by a slip in its name."""
    app = Mainspring(url)
    path = url.removeprefix("sqlite:///").partition("?")[0]
    if url.startswith("sqlite:///") and not Path(path).exists():
        raise DefinitionError(f"no database at {str(Path(path).absolute())!r}. Expected one that an app has made.")
    return app


def run(name: str | None, command: Callable[[Mainspring], Awaitable[T]]) -> T:
    """Run `command` on the app `name` in an event loop of its own. Errors of ours end it with one line."""
    app = find_app(name)

    async def session() -> T:
        try:
            return await command(app)
        finally:
            await app.close()

    try:
        return asyncio.run(session())
    except MainspringError as error:
        fail(str(error), exit_code(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def exit_code(error: MainspringError) -> int:
    """2 for what was written wrongly, 1 for what went wrong."""
    return 2 if isinstance(error, DefinitionError) else 1
