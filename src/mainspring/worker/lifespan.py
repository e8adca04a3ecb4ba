"""The lifespan: what a worker has open while it works, and what handlers find of it in `ctx.state`.

It lives in a task of its own, for a worker is started and stopped by different tasks, and much of what is opened (task
groups, scopes of cancellation) must be closed by the one that opened it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from mainspring.core.annotations import is_async, is_async_generator
from mainspring.errors import DefinitionError
from mainspring.events import emit

if TYPE_CHECKING:
    from mainspring.app import Mainspring

LifespanFunction = Callable[["Mainspring"], AbstractAsyncContextManager[Mapping[str, Any] | None]]
AFTER_CANCEL = 1.0
"""Seconds that a lifespan has to end once it was cancelled; then it is left behind."""


class ReadOnly(Mapping[str, Any]):
    """What a lifespan gives. A name that is not there is answered with those that are."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            known = ", ".join(map(repr, self._values)) or "nothing; give Mainspring(..., lifespan=...) one that does"
            raise KeyError(f"the state has no {name!r}. The lifespan gives: {known}.") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"ReadOnly({self._values!r})"


EMPTY = ReadOnly({})


class Lifespan:
    """One lifespan of an app, from `enter` to `leave`. Without a function it does nothing."""

    def __init__(self, app: Mainspring, function: LifespanFunction | None) -> None:
        self._app = app
        self._function = function
        self._life: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self.state: Mapping[str, Any] = EMPTY

    async def enter(self, failed: Callable[[BaseException], object]) -> None:
        """Open it. `failed` is told if it breaks while it is open, as a task group in it may do.

        Raises what it raises, with a note, and `DefinitionError` where it gives no mapping.
        """
        if self._function is None:
            return
        self._over.clear()
        self._failed = failed
        opened: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(self._function, opened), name="mainspring-lifespan")
        try:
            await asyncio.wait({self._life, asyncio.ensure_future(opened)}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._life.cancel()
            await asyncio.wait([self._life])
            raise
        if not opened.done():
            await self._life  # raises why
        self.state = opened.result()

    async def _live(self, function: LifespanFunction, opened: asyncio.Future[Mapping[str, Any]]) -> None:
        try:
            async with function(self._app) as given:
                opened.set_result(EMPTY if given is None else ReadOnly(_checked(given, function)))
                await self._over.wait()
        except BaseException as error:
            if not opened.done():
                error.add_note(f"Raised by the lifespan {_name(function)} of the app: the worker did not start.")
                raise
            if not isinstance(error, asyncio.CancelledError):
                if not self._over.is_set():
                    self._failed(error)
                emit("lifespan.failed", logging.ERROR, exc_info=error, lifespan=_name(function))

    async def leave(self, within: Callable[[asyncio.Task[None]], Any]) -> None:
        """Close it. `within(task)` waits for it as long as there is time; then it is cancelled, and left behind.

        What it raises is logged.
        """
        life, self._life = self._life, None
        if life is None or life.done():
            return
        self._over.set()
        await within(life)
        if life.done():
            return
        emit("lifespan.stuck", logging.ERROR, lifespan=life.get_name())
        life.cancel()
        await asyncio.wait([life], timeout=AFTER_CANCEL)


def check_lifespan(function: Any) -> LifespanFunction:
    """`function` as it is called. Raises `DefinitionError` where it cannot be a lifespan."""
    if not callable(function) or is_async(function):
        raise DefinitionError(
            f"bad lifespan: {function!r}. Expected an async context manager: @asynccontextmanager above "
            "async def lifespan(app): ...; yield {...}"
        )
    try:
        inspect.signature(function).bind(None)
    except TypeError as e:
        raise DefinitionError(f"bad lifespan: {_name(function)} ({e}). Expected one parameter, the app.") from e
    made = asynccontextmanager(cast(Any, function)) if is_async_generator(function) else function
    return cast(LifespanFunction, made)


def _checked(given: object, function: LifespanFunction) -> Mapping[str, Any]:
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise DefinitionError(
            f"the lifespan {_name(function)} yielded {given!r}. Expected nothing, or a mapping from names to what "
            "handlers are to find in ctx.state."
        )
    return given


def _name(function: object) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
