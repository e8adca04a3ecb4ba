"""Middleware: what stands around every run of an app's handlers, the first that was added outermost."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from mainspring.core.annotations import is_async
from mainspring.errors import DefinitionError
from mainspring.worker.context import Context

CallNext = Callable[[Context], Awaitable[Any]]
Middleware = Callable[[CallNext, Context], Coroutine[Any, Any, Any]]


def compose(middleware: Sequence[Middleware], handler: CallNext) -> CallNext:
    """One call of all, around `handler`."""
    for each in reversed(middleware):
        handler = partial(each, handler)
    return handler


def check_middleware(function: Any) -> None:
    """Raise `DefinitionError` unless `function` can stand around a run."""
    if not callable(function) or not is_async(function):
        raise DefinitionError(
            f"bad middleware: {function!r}. Expected an async function: async def name(call_next, ctx): "
            "return await call_next(ctx)."
        )
    signature = inspect.signature(function)
    try:
        signature.bind(None, None)
    except TypeError as e:
        raise DefinitionError(
            f"bad middleware: {getattr(function, '__name__', function)}{signature} ({e}). Expected two parameters, "
            "call_next and ctx."
        ) from e
