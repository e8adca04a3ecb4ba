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
_WHEN = 'a duration ago ("2h") or a time (2030-01-31T12:00)'

_Text = str | None
_OPTIONS: dict[str, Any] = {
    "task": Annotated[_Text, typer.Option("--task", "-t", metavar="NAME", help="Only jobs of this task.")],
    "queue": Annotated[_Text, typer.Option("--queue", "-q", metavar="NAME", help="Only jobs of this queue.")],
    "status": Annotated[
        list[str] | None,
        typer.Option("--status", "-s", metavar="STATUS", help=f"Only jobs that are {_STATUSES}; several by commas."),
    ],
    "worker": Annotated[_Text, typer.Option("--worker", metavar="ID", help="Only jobs that it claimed last.")],
    "origin": Annotated[_Text, typer.Option("--origin", metavar="NAME", help="Only jobs that this asked for.")],
    "error": Annotated[_Text, typer.Option("--error", metavar="TEXT", help="Only where the last error holds this.")],
    "created_after": Annotated[_Text, typer.Option(metavar="TIME", help=f"Only jobs made since: {_WHEN}.")],
    "created_before": Annotated[_Text, typer.Option(metavar="TIME", help=f"Only jobs made before: {_WHEN}.")],
}
DEAD = ("task", "queue", "worker", "origin", "error")
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
    if "status" in filters:
        filters["status"] = [part.strip() for text in filters["status"] for part in text.split(",")]
    try:
        for name in ("created_after", "created_before"):
            if name in filters:
                filters[name] = _moment(filters[name], name.replace("_", "-"))
    except DefinitionError as error:
        fail(str(error), 2)
    read: JobFilters = filters
    return read


def _moment(text: str, what: str) -> datetime:
    try:
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
