"""One worker process that is started anew when code changes: the parent of `mainspring dev`.

The parent imports nothing of the app, so it never holds old code, and an error in it is the child's. A child that could
not start is not started again before the next change; one that died on its way is, at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mainspring.errors import DefinitionError, MainspringError
from mainspring.events import emit
from mainspring.process.child import EXIT_FAILED
from mainspring.process.children import Child, back_off
from mainspring.process.supervisor import HEALTHY_AFTER

ALSO = ("pyproject.toml",)
"""Files that count as code beside `*.py`."""
SHOWN = 3
"""So many changed files are named."""


class Order(NamedTuple):
    """What a child is started with."""

    app: str
    settings: dict[str, Any]


class Reloader:
    """Keeps one worker on the newest code. `order` is asked before each start; what it raises is shown, and waits for
    the next change, as what the app raises does."""

    def __init__(self, order: Callable[[], Order], folders: Sequence[Path]) -> None:
        self._order = order
        self._folders = folders
        self._child = Child(0)
        self._settings: dict[str, Any] = {}
        self._stopping = asyncio.Event()
        self._interrupted = asyncio.Event()
        """The child has to go: the code has changed, or we are told to stop."""
        self._signals = 0

    async def run(self) -> None:
        """Until a signal. The first one stops the worker gracefully, the second does not wait, the third kills it.

        Raises `DefinitionError` where changes cannot be watched.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled, number)
        watching = asyncio.create_task(self._watch())
        try:
            await self._keep()
        finally:
            self._stopping.set()
            await watching

    def _signalled(self, number: int) -> None:
        self._signals += 1
        emit("dev.signal", number=signal.Signals(number).name, count=self._signals)
        self._stopping.set()
        self._interrupted.set()
        self._child.send(signal.SIGTERM if self._signals < 3 else signal.SIGKILL)

    async def _watch(self) -> None:
        try:
            async for files in changes(self._folders, self._stopping):
                emit("dev.changed", files=_named(files))
                self._interrupt()
        finally:
            self._stopping.set()
            self._interrupt()

    def _interrupt(self) -> None:
        # Once: to be told twice is to hurry, and who saves two files means no haste.
        if not self._interrupted.is_set():
            self._interrupted.set()
            self._child.send(signal.SIGTERM)

    # -- the child -----------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        predecessor: str | None = None
        while not self._stopping.is_set():
            self._interrupted.clear()
            begun = asyncio.get_running_loop().time()
            if not await self._start(predecessor):
                await self._until_changed()
                continue
            if self._interrupted.is_set():
                self._child.send(signal.SIGTERM)
            code = await self._child.ended(self._interrupted, self._settings)
            predecessor = self._child.id if code else None
            if self._interrupted.is_set():
                continue
            if code in (0, EXIT_FAILED):
                emit("dev.waiting", logging.WARNING, exit_code=code, until="a file changes")
                await self._until_changed()
                continue
            emit("child.died", logging.ERROR, worker=self._child.id, exit_code=code)
            healthy = asyncio.get_running_loop().time() - begun >= HEALTHY_AFTER
            self._child.early_deaths = 0 if healthy else self._child.early_deaths + 1
            await back_off(self._child.early_deaths, self._interrupted)

    async def _start(self, predecessor: str | None) -> bool:
        try:
            app, self._settings = self._order()
        except MainspringError as error:
            emit("dev.waiting", logging.ERROR, error=str(error), until="a file changes")
            return False
        return await self._child.start(app, self._settings | {"predecessor": predecessor})

    async def _until_changed(self) -> None:
        await self._interrupted.wait()
        self._child.early_deaths = 0


async def changes(folders: Sequence[Path], stopping: asyncio.Event) -> AsyncIterator[set[str]]:
    """The code files that change in these folders, all of a moment at once. Raises `DefinitionError`."""
    awatch = _load().awatch
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # we say ourselves what has changed
    try:
        async for found in awatch(*folders, watch_filter=code_filter(), stop_event=stopping, raise_interrupt=False):
            yield {path for _, path in found}
    except OSError as error:
        where = ", ".join(map(str, folders))
        raise DefinitionError(
            f"cannot watch {where}: {error}. Expected folders with less in them, or more of "
            "fs.inotify.max_user_watches; WATCHFILES_FORCE_POLLING=1 looks for changes without the system's help."
        ) from error


def code_filter() -> Callable[[Any, str], bool]:
    """Whether a file is code: not in the folders of environments, caches and version control."""
    watchfiles = _load()
    python, any_file = watchfiles.PythonFilter(), watchfiles.DefaultFilter()

    def is_code(change: Any, path: str) -> bool:
        return bool(python(change, path) or (os.path.basename(path) in ALSO and any_file(change, path)))

    return is_code


def _load() -> Any:
    try:
        import watchfiles
    except ModuleNotFoundError as error:
        raise DefinitionError(
            "reload on change needs the package 'watchfiles'. Install it: pip install 'mainspring[dev]'; "
            "mainspring worker works without it."
        ) from error
    return watchfiles


def check() -> None:
    """Raise `DefinitionError` where nothing can be watched here."""
    _load()


def _named(files: set[str]) -> str:
    here = os.getcwd()
    names = sorted(os.path.relpath(file, here) if file.startswith(here) else file for file in files)
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
