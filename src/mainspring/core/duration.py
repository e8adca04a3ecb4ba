"""Durations as people write them: a number of seconds, a `timedelta`, or text such as "500ms", "1h 30m", "7d"."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from mainspring.errors import DefinitionError

Duration = int | float | str | timedelta
"""A number of seconds, a timedelta, or text such as "500ms", "30s", "5m", "1h 30m", "7d"."""

UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
LONGEST = 100 * 365 * UNITS["d"]
_TEXT = re.compile(r"\s*(?:\d+(?:\.\d+)?\s*(?:ms|[smhdw])\s*)+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])", re.ASCII)


def milliseconds(value: Duration, what: str = "duration") -> int:
    """`value` as whole milliseconds, rounded to the nearest.

    Raises `DefinitionError` for anything else than a finite duration of 0 to 100 years; the message names `what`.
    """
    if isinstance(value, timedelta):
        amount = value.total_seconds() * 1_000
    elif isinstance(value, str):
        if not _TEXT.fullmatch(value):
            raise _bad(what, value)
        amount = sum(float(number) * UNITS[unit] for number, unit in _PART.findall(value))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        amount = value * 1_000
    else:
        raise _bad(what, value)
    # Compared first: an integer too large for a float is no OverflowError there, and NaN compares as false.
    if not 0 <= amount <= LONGEST:
        raise _bad(what, value)
    return round(amount)


def instant(at: datetime, what: str = "time") -> int:
    """An aware `datetime` as milliseconds since the epoch. Raises `DefinitionError` for anything else."""
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise DefinitionError(
            f"bad {what}: {at!r}. Expected a datetime with a zone; use datetime(..., tzinfo=UTC) or .astimezone()."
        )
    return round(at.timestamp() * 1_000)


def until(value: Duration | datetime, now: int, what: str = "duration") -> int:
    """The end of a duration that begins `now`, or an aware datetime, in ms since the epoch. Raises `DefinitionError`
    for anything else, and for an end that is not after `now`."""
    end = instant(value, what) if isinstance(value, datetime) else now + milliseconds(value, what)
    if end <= now:
        raise DefinitionError(f"bad {what}: {value!r}. Expected a duration of more than 0, or a time that is to come.")
    return end


def humanize(amount: int) -> str:
    """Milliseconds as short text, at most two units: "250ms", "1m 30s"."""
    if amount < 1_000:
        return f"{amount}ms"
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        count, amount = divmod(amount, UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def _bad(what: str, value: object) -> DefinitionError:
    return DefinitionError(
        f"bad {what}: {value!r}. Expected a number of seconds, a timedelta or text such as "
        '"500ms", "30s", "1h 30m", "7d"; from 0 to 100 years.'
    )
