"""The options of a schedule as they are typed, written down once; what they say is checked by the library."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from mainspring.cli.filters import duration_of, instant_of, taking
from mainspring.cli.output import fail
from mainspring.core.cron import Cron
from mainspring.core.duration import Duration
from mainspring.errors import DefinitionError

NONE = "none"
"""Takes back what a schedule says instead of its task."""

_Text = str | None
_Number = int | None
_Flag = bool | None


def _text(metavar: str, help: str) -> Any:
    return Annotated[_Text, typer.Option(metavar=metavar, help=help)]


def _number(help: str) -> Any:
    return Annotated[_Number, typer.Option(metavar="N", help=help)]


_TIMES: dict[str, Any] = {
    "cron": _text("CRON", '5 fields ("0 9 * * 1"), or 6 with seconds first; or @daily and its like.'),
    "every": _text("TIME", 'An interval: "5m", "1h 30m".'),
    "timezone": _text("ZONE", "The zone in which a cron is meant, such as Europe/Prague. Default: UTC."),
    "dst_gap": _text("RULE", "A time that daylight saving leaves out: run_after (default) or skip."),
    "dst_overlap": _text("RULE", "A time that daylight saving repeats: first (default), last or both."),
}
_MORE_TIMES: dict[str, Any] = {
    "at": _text("TIME", 'Once: 2030-01-31T12:00, local time (or that of --timezone); or "now".'),
    "schedule": _text("TEXT", 'Any of these three as text: "0 9 * * 1", "every 5m", "now".'),
    "start": _text("TIME", "Of --every: the first run, as --at. Default: one interval from now."),
    "fixed_delay": Annotated[
        _Flag, typer.Option("--fixed-delay/--fixed-rate", help="Of --every: count from the end of each run.")
    ],
    "once": Annotated[_Flag, typer.Option("--once/--recurring", help="Run at the first time alone.")],
}
_RUNNING: dict[str, Any] = {
    "catch_up": _text("RULE", "Runs missed while no worker was there: one for all (default), all or skip."),
    "catch_up_window": _text("TIME", f'Make up for none older than this, or "{NONE}": however old (default).'),
    "catch_up_max": _number("Make up for so many at most. Default: 100."),
    "overlap": _text("RULE", "A time that comes during a run: skip (default), queue or allow."),
    "jitter": _text("TIME", "Start each run up to this much later, at random."),
    "max_retries": _text("N", f'Retries of a run that failed; or "{NONE}": as the task says (default).'),
    "retry_delay": _text("TIME", "Beside --max-retries: the time before each. Default: 1m."),
    "timeout": _text("TIME", f'Of each run, or "{NONE}": as the task says (default).'),
    "queue": _text("NAME", f'Or "{NONE}": as the task says (default).'),
    "priority": _text("N", f'0 to 100, the highest first; or "{NONE}": as the task says (default).'),
    "history": _number("Runs that are kept. Default: 50."),
    "description": _text("TEXT", "For people."),
}
_DURATIONS = ("every", "catch_up_window", "jitter", "retry_delay", "timeout")
_REMOVABLE = ("catch_up_window", "timeout", "queue", "priority", "max_retries")


def read_moment(text: str, what: str, zone: str | None) -> datetime | str:
    """A time as it is typed, local or of `zone` unless it says otherwise; or "now". Raises `DefinitionError`."""
    if text.strip().lower() == "now":
        return "now"
    moment = instant_of(text, what, 'a time such as 2030-01-31T12:00, or "now"')
    if zone is None or datetime.fromisoformat(text).tzinfo is not None:
        return moment
    Cron("@daily", zone)  # refuses what is no zone
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def _read(given: dict[str, Any]) -> dict[str, Any]:
    """What the options say, as the library takes it. Ends the command where one of them makes no sense."""
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        return {_called(name): _value(name, value, chosen) for name, value in chosen.items()}
    except DefinitionError as error:
        fail(str(error), 2)


def _called(name: str) -> str:
    return "recurring" if name == "once" else name


def _value(name: str, value: Any, chosen: dict[str, Any]) -> Any:
    flag = f"--{name.replace('_', '-')}"
    if name in _REMOVABLE and value == NONE:
        return None
    if name in _DURATIONS:
        return _duration(value, flag)
    if name in ("at", "start"):
        return read_moment(value, flag, chosen.get("timezone"))
    if name == "priority":
        return _whole(value, flag, "a whole number from 0 to 100")
    if name == "max_retries":
        return _whole(value, flag, "a whole number, 0 or more")
    return not value if name == "once" else value


def _duration(text: str, flag: str) -> Duration:
    return duration_of(text, flag)


def _whole(text: str, flag: str, expected: str) -> int:
    try:
        return int(text)
    except ValueError as e:
        raise DefinitionError(f'bad {flag}: {text!r}. Expected {expected}, or "{NONE}".') from e


with_times = taking(_TIMES, _read)
"""For a command that is asked about times: its first parameter gets those of the options that say when."""
with_options = taking(_TIMES | _MORE_TIMES | _RUNNING, _read)
"""For a command that makes or changes a schedule: its first parameter gets the options of the schedule."""
