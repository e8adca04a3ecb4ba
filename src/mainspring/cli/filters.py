"""The filters that many commands take, written down once; and times as people write them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, get_type_hints

import typer

from mainspring.admin import JobFilters
from mainspring.cli.output import fail
from mainspring.core.duration import Duration, milliseconds
from mainspring.errors import DefinitionError

_STATUSES = "scheduled, pending, retrying, running, paused, completed, failed, dead or cancelled"
_WHEN = 'a duration ago ("2h"), one to come ("in 2h") or a time (2030-01-31T12:00)'

_Text = str | None
_Texts = list[str] | None


def _time(means: str) -> Any:
    return Annotated[_Text, typer.Option(metavar="TIME", help=f"Only jobs {means}: {_WHEN}.")]


_OPTIONS: dict[str, Any] = {
    "task": Annotated[_Texts, typer.Option("--task", "-t", metavar="NAME", help="Only jobs of these tasks.")],
    "queue": Annotated[_Texts, typer.Option("--queue", "-q", metavar="NAME", help="Only jobs of these queues.")],
    "status": Annotated[
        _Texts,
        typer.Option("--status", "-s", metavar="STATUS", help=f"Only jobs that are {_STATUSES}; several by commas."),
    ],
    "key": Annotated[_Text, typer.Option("--key", metavar="KEY", help="Only the job that holds this key.")],
    "worker": Annotated[_Text, typer.Option("--worker", metavar="ID", help="Only jobs that it claimed last.")],
    "origin": Annotated[_Text, typer.Option("--origin", metavar="NAME", help="Only jobs that this asked for.")],
    "error": Annotated[
        _Text, typer.Option("--error", metavar="TEXT", help="Only where the error or the reason holds this.")
    ],
    "has_error": Annotated[
        bool | None, typer.Option("--has-error/--no-error", help="Only jobs with, or without, an error.")
    ],
    "created_after": _time("made since"),
    "created_before": _time("made before"),
    "ended_after": _time("that ended since"),
    "ended_before": _time("that ended before"),
    "due_after": _time("that wait, and are due then or later"),
    "due_before": _time("that wait, and are due before"),
}
_SEVERAL = ("task", "queue", "status")
_TIMES = tuple(name for name in _OPTIONS if name.endswith(("_after", "_before")))
DEAD = tuple(name for name in _OPTIONS if name not in ("status", "has_error", "due_after", "due_before"))
"""The filters of dead letters."""


def with_filters(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these filter options (none named: all). Its first parameter, `filters`, gets what they say."""
    return taking({name: _OPTIONS[name] for name in names or _OPTIONS}, _read)


def taking(
    options: Mapping[str, Any], read: Callable[[dict[str, Any]], Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these options, by name. Its first parameter gets what `read` makes of them."""

    def extended(command: Callable[..., None]) -> Callable[..., None]:
        def call(**given: Any) -> None:
            chosen = read({name: given.pop(name) for name in options})
            command(chosen, **given)

        own = list(inspect.signature(command).parameters.values())[1:]
        hints = get_type_hints(command, include_extras=True)
        parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in own] + [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in options.items()
        ]
        parameters.sort(key=lambda parameter: parameter.kind)
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        call.__name__, call.__doc__ = command.__name__, command.__doc__
        return call

    return extended


def _read(given: dict[str, Any]) -> JobFilters:
    """What the options say. Ends the command where one of them makes no sense."""
    filters: Any = {name: value for name, value in given.items() if value is not None}
    for name in _SEVERAL:
        if name in filters:
            parts = [part.strip() for text in filters[name] for part in text.split(",")]
            filters[name] = parts[0] if len(parts) == 1 else parts
    try:
        for name in _TIMES:
            if name in filters:
                filters[name] = moment_of(filters[name], name.replace("_", "-"))
    except DefinitionError as error:
        fail(str(error), 2)
    read: JobFilters = filters
    return read


def moment_of(text: str, what: str) -> datetime:
    """A time as people write one: ago, to come, or as it is. Raises `DefinitionError`."""
    try:
        if text.startswith("in "):
            return datetime.now(UTC) + timedelta(milliseconds=milliseconds(text.removeprefix("in "), what))
        return datetime.now(UTC) - timedelta(milliseconds=milliseconds(text, what))
    except DefinitionError:
        return instant_of(text, what, _WHEN)


def duration_of(text: str, what: str) -> Duration:
    """A duration as it is typed: "5m", or "5" for seconds, which are a number elsewhere. Raises `DefinitionError`."""
    value: Duration = float(text) if re.fullmatch(r"\s*\d+(\.\d+)?\s*", text, re.ASCII) else text
    milliseconds(value, what)
    return value


def instant_of(text: str, what: str, expected: str = "a time such as 2030-01-31T12:00") -> datetime:
    """ISO 8601, local unless it says otherwise. Raises `DefinitionError`."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as e:
        raise DefinitionError(f"bad {what}: {text!r}. Expected {expected}.") from e
