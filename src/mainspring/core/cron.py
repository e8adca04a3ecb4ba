"""Cron expressions in a time zone: which instants they name, on the days on which clocks change too.

`cronsim` reads an expression and steps through local times as they stand on a wall clock; what such a time means in a
zone is decided here (docs/decisions/0022). All is a pure function of its arguments and of the zones of the system.
This module may not ask what time it is, and may not know what a schedule does at a tick.

A zone is a row of stretches with one offset each. No two changes of offset lie within four days of each other in any
zone since 1969 (a test looks), so one change at a time is all that needs thought.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from mainspring.errors import DefinitionError

DstGap = Literal["run_after", "skip"]
"""What becomes of a local time that a change of clocks skips: it runs at the first instant after the gap, or not."""
DstOverlap = Literal["first", "last", "both"]
"""Of a local time that exists twice: at which of the two it runs."""

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_TO_SUNDAY = re.compile(r"(?<!sun)(?<!0)-sun(?![^,/\s])", re.IGNORECASE)
"""The end of a range of weekdays that does not begin with Sunday: to `cronsim` it is 0, which is no end, and also 7."""
_EPOCH = datetime(1970, 1, 1)
_END = 4_102_444_800
"""2100-01-01. Later than that nothing is looked for: rules of zones are a guess by then."""
_DAY = 86_400
_FAR = 26 * 3600
"""More than a zone has ever shifted since 1970 (24 h, on Samoa in 2011)."""
_CHUNK = 20
_PROBE = 1 << 15
"""Offsets are looked at in chunks of 2**20 s (12 days), every 9 h, and each chunk is remembered: 45 us at first, 0.2 us
then. A day's change of clocks is found by bisecting between two looks."""


@dataclass(frozen=True, slots=True)
class Cron:
    """The instants that a cron expression names in a zone.

    expression   5 fields (minute hour day month weekday), 6 with seconds first, or a macro such as "@daily". Day and
                 weekday as in Debian's cron: either of them where both are restricted, both where one begins with "*".
    timezone     an IANA name.
    dst_gap      a local time that does not exist: "run_after" = at the first instant after the gap (once, however many
                 times fall in it), "skip" = not.
    dst_overlap  a local time that exists twice: "first", "last" or "both".

    An expression whose hour has a wildcard or a step follows elapsed time, as cron daemons have it: it fires at every
    real instant whose local time matches, and the two policies do not matter.

    Raises `DefinitionError` for a bad expression, one that never fires, an unknown zone or policy.
    """

    expression: str
    timezone: str = "UTC"
    dst_gap: DstGap = "run_after"
    dst_overlap: DstOverlap = "first"

    def __post_init__(self) -> None:
        _check_zone(self.timezone)
        _check_expression(self.expression)
        _check_choice("dst_gap", self.dst_gap, get_args(DstGap))
        _check_choice("dst_overlap", self.dst_overlap, get_args(DstOverlap))

    @property
    def elapsed(self) -> bool:
        """Whether it follows elapsed time, so that a change of clocks neither drops nor doubles a tick."""
        return _parse(self.expression).elapsed

    def next_after(self, now: int) -> int | None:
        """The first tick strictly after `now`, both in ms; None where there is none before 2100.

        A `now` before 1970 counts as the end of 1969. A daily time takes 30 us, a year's 90 us.
        """
        pattern = _parse(self.expression)
        start = max(now // 1000 + 1, 0)
        # A change at `start` itself still counts: its gap may have a tick there.
        edge = start - 1
        while start < _END:
            offset = offset_at(self.timezone, edge)
            local = pattern.following(start + offset - 1)
            if local is None or local - offset >= _END:
                return None
            at = local - offset
            far = at > start + 2 * _FAR
            ahead = changes(self.timezone, edge, start + _FAR if far else at)
            if ahead and self._runs_after(ahead[0], local):
                return ahead[0].at * 1000
            if ahead:
                start = edge = ahead[0].at
            elif far:
                # A day without a change, then nothing until the candidate is near, whatever the offset is there.
                start = edge = at - _FAR
            elif (later := self._later(local, at)) is None:
                return at * 1000
            else:
                start, edge = later, later - 1
        return None

    @property
    def fields(self) -> tuple[str, ...]:
        """Second, minute, hour, day, month and weekday, in capitals; a macro as what it stands for."""
        return _parse(self.expression).fields

    def touched(self, now: int, until: int) -> list[Touched]:
        """The changes of clocks in (now, until], in ms, at which a policy decides about a tick; none before 1970 or
        after 2099."""
        if self.elapsed:
            return []
        found: list[Touched] = []
        for change in changes(self.timezone, max(now // 1000, 0), min(until // 1000, _END)):
            low, high = sorted((change.at + change.before, change.at + change.after))
            local = _parse(self.expression).following(low - 1)
            if local is not None and local < high:
                found.append(Touched(change, local))
        return found

    def _runs_after(self, change: Change, local: int) -> bool:
        """Whether `local`, the first candidate after the stretch that `change` ends, is in its gap and runs."""
        return local < change.at + change.after and self.dst_gap == "run_after" and not self.elapsed

    def _later(self, local: int, at: int) -> int | None:
        """None where a tick at `at`, whose local time is `local`, is wanted; else where to look on."""
        if self.dst_overlap == "both" or self.elapsed:
            return None
        if self.dst_overlap == "first":
            for change in changes(self.timezone, at - _FAR, at):
                if local < change.at + change.before:
                    return change.at + change.before - change.after
            return None
        for change in changes(self.timezone, at, at + _FAR):
            if local >= change.at + change.after:
                return change.at
        return None


def check_cron(expression: str, timezone: str) -> None:
    """Raises `DefinitionError` unless `expression` ever fires, in a known zone."""
    Cron(expression, timezone)


def next_cron(expression: str, timezone: str, now: int) -> int:
    """The first time of `expression` after `now`, both in ms. After 2099, when there is none: a day later."""
    due = Cron(expression, timezone).next_after(now)
    return now + _DAY * 1000 if due is None else due


class Change(NamedTuple):
    """A change of a zone's offset, in seconds: from `at` on it is `after`. Forward it leaves a gap, back an overlap."""

    at: int
    before: int
    after: int


class Touched(NamedTuple):
    """A change, and the first local time of a cron that it skips or repeats (seconds since 1970 on the wall clock)."""

    change: Change
    local: int


def offset_at(timezone: str, at: int) -> int:
    """What local time is ahead of UTC by, at an instant; in seconds, as `at`."""
    moment = datetime.fromtimestamp(at, ZoneInfo(timezone))
    offset = moment.utcoffset()
    assert offset is not None
    return offset.days * _DAY + offset.seconds


def changes(timezone: str, after: int, until: int) -> list[Change]:
    """The changes of offset in (after, until], oldest first; in seconds."""
    if timezone == "UTC":
        return []
    chunks = range(after >> _CHUNK, (until >> _CHUNK) + 1)
    return [c for chunk in chunks for c in _changes(timezone, chunk) if after < c.at <= until]


@lru_cache(maxsize=4096)
def _changes(timezone: str, chunk: int) -> tuple[Change, ...]:
    """The changes in [start, end) of a chunk."""
    first = (chunk << _CHUNK) - 1
    last = first + (1 << _CHUNK)
    found: list[Change] = []
    before, offset = first, offset_at(timezone, first)
    while before < last:
        probe = min(before + _PROBE, last)
        new = offset_at(timezone, probe)
        if new != offset:
            found.append(Change(_bisect(timezone, before, probe, offset), offset, new))
        before, offset = probe, new
    return tuple(found)


def _bisect(timezone: str, low: int, high: int, offset: int) -> int:
    """The first instant after `low` with another offset than `offset`; `high` has another."""
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(timezone, middle) == offset:
            low = middle
        else:
            high = middle
    return high


class _Pattern:
    """A parsed expression. It steps through local times, as seconds since 1970 on the wall clock."""

    __slots__ = ("_parsed", "elapsed", "fields")

    def __init__(self, expression: str) -> None:
        fields = MACROS.get(expression.strip().lower(), expression)
        self._parsed = CronSim(_TO_SUNDAY.sub("-7", fields), _EPOCH)
        self.fields = tuple(str(field) for field in self._parsed.parts)
        self.elapsed = any(part == "*" or "/" in part for part in self.fields[2].split(","))

    def following(self, local: int) -> int | None:
        """The first match after `local`; None where 50 years have none."""
        # Copied, as parsing takes 20 us and copying 2: a step changes `dt` and nothing else.
        steps = copy.copy(self._parsed)
        steps.dt = _EPOCH + timedelta(seconds=local)
        try:
            found = next(steps) - _EPOCH
        except StopIteration:
            return None
        return int(found.days * _DAY + found.seconds)


@lru_cache(maxsize=4096)
def _parse(expression: str) -> _Pattern:
    return _Pattern(expression)


def _check_expression(expression: object) -> None:
    if not isinstance(expression, str):
        raise _bad(expression, "not text")
    name = expression.strip().lower()
    if name == "@reboot":
        raise _bad(expression, "a start of a worker is no time, and there may be many workers")
    if name.startswith("@") and name not in MACROS:
        raise _bad(expression, "unknown macro")
    try:
        fires = _parse(expression).following(0) is not None
    except (CronSimError, ValueError, AssertionError, TypeError) as e:
        # Field 31 of February is cronsim's "Bad day-of-month" as well.
        raise _bad(expression, str(e) or type(e).__name__) from e
    if not fires:
        raise _bad(expression, "never fires")


def _bad(expression: object, reason: str) -> DefinitionError:
    return DefinitionError(
        f"bad cron expression: {expression!r} ({reason}). Expected 5 fields (minute hour day month weekday), 6 with "
        f"seconds first, or one of {', '.join(MACROS)}; and a date that exists."
    )


def _check_zone(timezone: Any) -> None:
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError, AttributeError) as e:
        raise DefinitionError(f"unknown timezone: {timezone!r}. Expected an IANA name such as Europe/Prague.") from e


def _check_choice(what: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise DefinitionError(f"unknown {what}: {value!r}. Expected one of {', '.join(known)}.")
