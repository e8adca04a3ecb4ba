"""From a command to an app: which one is meant, one event loop around it, and errors in one line."""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from mainspring.app import Mainspring
from mainspring.cli.output import ENDING, fail
from mainspring.cli.project import TABLE
from mainspring.cli.settings import find_name
from mainspring.errors import DefinitionError, MainspringError
from mainspring.process import locate

T = TypeVar("T")

AppOption = Annotated[
    str | None,
    typer.Option(
        "--app",
        "-a",
        metavar="MODULE:APP",
        help="The app, or the URL of its store. [env: MAINSPRING_APP; or app in [tool.mainspring] of pyproject.toml]",
    ),
]


def find_app(name: str | None) -> Mainspring:
    """The app of `module:app`, or one without tasks on the store of a URL. Ends the command where there is none."""
    chosen = app_name(name)
    try:
        return _app_on(chosen) if "://" in chosen else locate.locate_app(chosen)
    except MainspringError as error:
        fail(str(error), exit_code(error))
    except Exception as error:
        _show_own_frames(error)
        fail(f"the app {chosen} cannot be imported: {type(error).__name__}. Its code failed, see above.")


def _show_own_frames(error: Exception) -> None:
    """The traceback of a module that fails, without our way to it."""
    frame = error.__traceback__
    while frame is not None and _is_ours(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    traceback.print_exception(type(error), error, frame)


def _is_ours(filename: str) -> bool:
    return filename == __file__ or locate.is_on_the_way(filename)


def app_name(name: str | None) -> str:
    """What names the app: `name`, else the environment, else the project; the first one counts.

    An app that the project names is looked for in the project's folder: from here on that is the current one, so that
    its modules and the file of its database are the same wherever in the project a command is typed. Ends the command
    where there is none.
    """
    try:
        chosen, project = find_name(name)
    except MainspringError as error:
        fail(str(error), exit_code(error))
    if chosen is None:
        fail(
            "no app. Expected --app module:app (or the URL of its store), the variable MAINSPRING_APP, or "
            f'app = "module:app" in {TABLE} of pyproject.toml.',
            2,
        )
    if project is not None and project.path is not None:
        os.chdir(project.path.parent)
    return chosen


def has_database(url: str) -> bool:
    """Whether a look makes no file, nor tables in an empty one. A server is there or not."""
    if not url.startswith("sqlite:///"):
        return True
    path = _file(url)
    return path.exists() and (not path.is_file() or path.stat().st_size > 0)


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///").partition("?")[0])


def _app_on(url: str) -> Mainspring:
    """An app without tasks. A store that is only looked at is not to come into being by a slip in its name."""
    app = Mainspring(url)
    if not has_database(url):
        path = _file(url)
        why = ": the file is empty" if path.exists() else ""
        raise DefinitionError(f"no database at {str(path.absolute())!r}{why}. Expected one that an app has made.")
    return app


def run(name: str | None, command: Callable[[Mainspring], Awaitable[T]]) -> T:
    """Run `command` on the app `name` in an event loop of its own. Errors of ours end it with one line."""
    app = find_app(name)

    async def session() -> T:
        with _ended_by_signals():
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


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Around a command: a signal that would end the process cancels it, as Ctrl-C does, so that what it has done is
    noted and told. The second one ends the process."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    came: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        came.append(number)
        loop.remove_signal_handler(number)
        if task is not None:
            task.cancel(number.name)

    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
            with suppress(NotImplementedError):  # on Windows
                loop.add_signal_handler(number, end, number)
    try:
        yield
    except asyncio.CancelledError:
        if not came:
            raise
        raise typer.Exit(128 + came[0]) from None


def exit_code(error: MainspringError) -> int:
    """2 for what was written wrongly, 1 for what went wrong."""
    return 2 if isinstance(error, DefinitionError) else 1
