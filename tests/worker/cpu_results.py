"""Handlers with results that cannot be written, or that tell what they see of their runs: each with a process of its
own and without, for the two are to do the same."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any

from pydantic import BaseModel, computed_field

from mainspring import Context, Mainspring, Retry, Snooze

app = Mainspring("sqlite://:memory:")
NOW = Retry(3, initial_delay=0, jitter=0)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


class Broken(BaseModel):
    """Raises where it is written."""

    how: str

    @computed_field
    def written(self) -> str:
        raise {"error": KeyError, "exit": SystemExit}[self.how](self.how)


def deep() -> list:  # type: ignore[type-arg]
    return nested(301)


def too_deep_to_be_read() -> Any:
    return nested(201)


def cyclic() -> list:  # type: ignore[type-arg]
    value: list[Any] = []
    value.append(value)
    return value


def broken(how: str) -> Broken:
    return Broken(how=how)


def history(ctx: Context) -> list[str]:
    """Fails, is put off, and then says what it knows of both."""
    match ctx.fence:
        case 1:
            raise OSError("no luck")
        case 2:
            raise Snooze(0, "not yet")
        case _:
            return [f"{run.claim} {run.outcome}: {run.error or run.note}" for run in ctx.job.runs]


def on_the_loop(function: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(function)
    async def handler(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return handler


UNWRITABLE = ("deep", "too_deep_to_be_read", "cyclic")
for function in (deep, too_deep_to_be_read, cyclic, broken, history):
    app.task(name=f"{function.__name__}.loop", retry=NOW)(on_the_loop(function))
    app.task(name=f"{function.__name__}.process", retry=NOW, cpu=True)(function)
