"""Cron against brute force: every zone, 1970 to 2050, mostly around the instants at which clocks change.

The oracle shares nothing with `mainspring.core.cron`: expressions are made together with what they mean, each local
time of a window is taken through the definition (at which instants does the clock show it?), and offsets are found by
looking at every minute.
"""

from __future__ import annotations

import calendar
import zoneinfo
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.cron import Cron, DstGap, DstOverlap
from mainspring.errors import DefinitionError

ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "posixrules", "Factory"})
HOUR, DAY = 3600, 86_400
AROUND = 27 * HOUR
START, END = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1970, 2050))


# -- expressions, made together with what they mean --------------------------------------------------------------------


@dataclass(frozen=True)
class Times:
    """A field of numbers: its text, and what it matches."""

    text: str
    matches: frozenset[int]


@dataclass(frozen=True)
class Days:
    """A field of days: its text, and what it matches."""

    text: str
    matches: Callable[[date], bool]


@dataclass(frozen=True, repr=False)
class Expression:
    seconds: Times | None
    minutes: Times
    hours: Times
    days: Days
    months: Times
    weekdays: Days

    @property
    def text(self) -> str:
        fields = (self.seconds, self.minutes, self.hours, self.days, self.months, self.weekdays)
        return " ".join(field.text for field in fields if field is not None)

    @property
    def elapsed(self) -> bool:
        return any(part == "*" or "/" in part for part in self.hours.text.split(","))

    def on(self, day: date) -> bool:
        if day.month not in self.months.matches:
            return False
        both = self.days.text.startswith("*") or self.weekdays.text.startswith("*")
        return (all if both else any)([self.days.matches(day), self.weekdays.matches(day)])

    def local_times(self, day: date) -> Iterator[int]:
        """Of one day, as seconds since 1970 on the wall clock, ascending."""
        if not self.on(day):
            return
        midnight = (day - date(1970, 1, 1)).days * DAY
        for hour in sorted(self.hours.matches):
            for minute in sorted(self.minutes.matches):
                for second in sorted(self.seconds.matches if self.seconds else {0}):
                    yield midnight + hour * HOUR + minute * 60 + second

    def __repr__(self) -> str:
        return self.text


@st.composite
def part(draw: st.DrawFn, low: int, high: int, names: str = "") -> Times:
    """One part of a field, without a comma."""
    a, b = sorted((draw(st.integers(low, high)), draw(st.integers(low, high))))
    step = draw(st.integers(2, high))
    first, last = (name_of(value, low, names) if draw(st.booleans()) else str(value) for value in (a, b))
    match draw(st.sampled_from(["single", "single", "range", "all", "every", "range/step", "from/step"])):
        case "single":
            return Times(first, frozenset({a}))
        case "range":
            return Times(f"{first}-{last}", frozenset(range(a, b + 1)))
        case "all":
            return Times("*", frozenset(range(low, high + 1)))
        case "every":
            return Times(f"*/{step}", frozenset(range(low, high + 1, step)))
        case "range/step" if a < b:
            return Times(f"{first}-{last}/{step}", frozenset(range(a, b + 1, step)))
    return Times(f"{first}/{step}", frozenset(range(a, high + 1, step)))


def name_of(value: int, low: int, names: str) -> str:
    known = names.split()
    return known[value - low] if value - low < len(known) else str(value)


def joined(parts: list[Times]) -> Times:
    return Times(",".join(p.text for p in parts), frozenset().union(*(p.matches for p in parts)))


def numbers(low: int, high: int, names: str = "") -> st.SearchStrategy[Times]:
    return st.lists(part(low, high, names), min_size=1, max_size=3).map(joined)


def single(*values: int) -> st.SearchStrategy[Times]:
    return st.sampled_from([Times(str(value), frozenset({value})) for value in values])


def of_month(field: Times) -> Days:
    return Days(field.text, lambda day: day.day in field.matches)


def of_week(field: Times) -> Days:
    return Days(field.text, lambda day: not {day.isoweekday(), day.isoweekday() % 7}.isdisjoint(field.matches))


def last_of(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def last_working(day: date) -> int:
    days = (date(day.year, day.month, number) for number in range(1, last_of(day) + 1))
    return max(d.day for d in days if d.isoweekday() <= 5)


ANY = Times("*", frozenset(range(100)))
ANY_DAY = Days("*", lambda day: True)
MONTHS = "jan FEB mar APR may JUN jul AUG sep OCT nov DEC"
DAYS = numbers(1, 31).map(of_month) | st.sampled_from(
    [
        ANY_DAY,
        ANY_DAY,
        of_month(Times("31", frozenset({31}))),
        of_month(Times("*/5", frozenset(range(1, 32, 5)))),
        Days("L", lambda day: day.day == last_of(day)),
        Days("LW", lambda day: day.day == last_working(day)),
    ]
)
WEEKDAYS = numbers(0, 7, "sun MON tue WED thu FRI sat").map(of_week) | st.sampled_from(
    [
        ANY_DAY,
        ANY_DAY,
        of_week(Times("0", frozenset({0}))),
        of_week(Times("7", frozenset({7}))),
        Days("5L", lambda day: day.isoweekday() == 5 and day.day + 7 > last_of(day)),
        Days("MON#2", lambda day: day.isoweekday() == 1 and 8 <= day.day <= 14),
    ]
)
EARLY = [
    Times("1-3", frozenset({1, 2, 3})),
    Times("0-2,23", frozenset({0, 1, 2, 23})),
    Times("1,2", frozenset({1, 2})),
    Times("0,2-3", frozenset({0, 2, 3})),
    Times("1-3/2", frozenset({1, 3})),
]
"""Hours at which clocks change, in most zones."""
HOURS = single(0, 1, 2, 3, 23) | st.sampled_from(EARLY) | numbers(0, 23)


@st.composite
def expressions(draw: st.DrawFn, /, **fields: st.SearchStrategy[Any]) -> Expression:
    return Expression(**{name: draw(strategy) for name, strategy in fields.items()})


EXPRESSIONS = expressions(
    seconds=st.none() | st.none() | single(0, 59) | numbers(0, 59),
    minutes=single(0, 15, 30, 59) | numbers(0, 59),
    hours=HOURS,
    days=DAYS,
    months=st.just(ANY) | numbers(1, 12, MONTHS),
    weekdays=WEEKDAYS,
)
RARE = expressions(
    seconds=st.none() | single(0, 7),
    minutes=single(0, 30, 59),
    hours=single(0, 1, 2, 3, 23),
    days=DAYS,
    months=single(1, 2, 3, 4, 9, 10, 11, 12) | numbers(1, 12, MONTHS),
    weekdays=WEEKDAYS,
)


# -- the definition ----------------------------------------------------------------------------------------------------


def offset(zone: str, at: int) -> int:
    found = datetime.fromtimestamp(at, zoneinfo.ZoneInfo(zone)).utcoffset()
    assert found is not None
    return round(found.total_seconds())


@cache
def change_after(zone: str, at: int) -> int:
    """The next change of offset, to the minute at least, within 400 days; else `at`."""
    before = offset(zone, at)
    for probe in range(at, at + 400 * DAY, DAY // 2):
        if offset(zone, probe) != before:
            return next(m for m in range(probe - DAY // 2, probe + 1, 60) if offset(zone, m) != before)
    return at


class Clock:
    """A zone between two instants, looked at in every minute."""

    def __init__(self, zone: str, low: int, high: int) -> None:
        self.zone = zone
        minutes = list(range(low - low % 60, high + 60, 60))
        seen = [offset(zone, minute) for minute in minutes]
        self.offsets = set(seen)
        turning = [m for m, a, b in zip(minutes, seen, seen[1:], strict=False) if a != b]
        self.changes = [s for m in turning for s in range(m + 1, m + 61) if offset(zone, s) != offset(zone, s - 1)]

    def instants(self, local: int) -> list[int]:
        """When the clock shows `local`."""
        return sorted(local - o for o in self.offsets if offset(self.zone, local - o) == o)

    def end_of_gap(self, local: int) -> int:
        """The first instant at which the clock shows more than `local`, which it skips."""
        return next(at for at in self.changes if at + offset(self.zone, at - 1) <= local < at + offset(self.zone, at))

    def ticks(self, cron: Cron, elapsed: bool, local: int) -> list[int]:
        instants = self.instants(local)
        if elapsed or len(instants) == 1:
            return instants
        if not instants:
            return [self.end_of_gap(local)] if cron.dst_gap == "run_after" else []
        return {"first": instants[:1], "last": instants[-1:], "both": instants}[cron.dst_overlap]


def days_from(at: int) -> Iterator[date]:
    day = date(1970, 1, 1) + timedelta(days=at // DAY)
    while True:
        yield day
        day += timedelta(days=1)


def ticks_between(cron: Cron, meaning: Expression, low: int, high: int) -> list[int]:
    """All ticks in [low, high]."""
    clock = Clock(cron.timezone, low - 2 * DAY, high + 2 * DAY)
    found: set[int] = set()
    for day in days_from(low - 2 * DAY):
        if (day - date(1970, 1, 1)).days * DAY > high + 2 * DAY:
            return sorted(tick for tick in found if low <= tick <= high)
        for local in meaning.local_times(day):
            if low - AROUND <= local <= high + AROUND:
                found.update(clock.ticks(cron, meaning.elapsed, local))
    raise AssertionError


def first_tick(cron: Cron, meaning: Expression, after: int) -> int | None:
    """The first tick after an instant, by looking at every day from then on."""
    for day in days_from(after - 2 * DAY):
        if day.year >= 2095:
            return None
        if meaning.on(day):
            midnight = (day - date(1970, 1, 1)).days * DAY
            clock = Clock(cron.timezone, midnight - 2 * DAY, midnight + 3 * DAY)
            ticks = [tick for local in meaning.local_times(day) for tick in clock.ticks(cron, meaning.elapsed, local)]
            # The next day's may come earlier, where clocks go back over midnight.
            more = [clock.ticks(cron, meaning.elapsed, t) for t in meaning.local_times(day + timedelta(days=1))]
            if later := [tick for tick in chain(ticks, *more) if tick > after]:
                return min(later)
    raise AssertionError


@dataclass(frozen=True)
class Case:
    """A cron and an instant to look at, mostly one at which clocks change."""

    zone: str
    at: int
    meaning: Expression


@st.composite
def cases(draw: st.DrawFn, meanings: st.SearchStrategy[Expression]) -> Case:
    """Half of them are aimed: at a local time at the edges of the gap or the overlap, or in it."""
    zone, at = draw(st.sampled_from(ZONES)), draw(st.integers(START, END))
    at = change_after(zone, at)
    meaning = draw(meanings)
    if draw(st.booleans()):
        return Case(zone, at, meaning)
    edges = sorted((at + offset(zone, at - 61), at + offset(zone, at + 1)))
    local = draw(st.sampled_from([*edges, sum(edges) // 2])) + draw(st.sampled_from([0, 0, -60, 60, -1, 1, HOUR]))
    day = date(1970, 1, 1) + timedelta(days=local // DAY)
    return Case(zone, at, draw(aimed(local % DAY, day, meaning)))


@st.composite
def aimed(draw: st.DrawFn, time: int, day: date, other: Expression) -> Expression:
    """At a time of day and perhaps a day; with parts of another expression, sometimes."""
    second = draw(single(time % 60)) if time % 60 else draw(st.sampled_from([None, draw(single(0))]))
    exact = Times(str(time // HOUR), frozenset({time // HOUR}))
    minute = Times(str(time // 60 % 60), frozenset({time // 60 % 60}))
    month, number = Times(str(day.month), frozenset({day.month})), Times(str(day.day), frozenset({day.day}))
    yearly = draw(st.booleans())
    return Expression(
        second,
        draw(st.sampled_from([minute, joined([minute, other.minutes])])),
        draw(st.sampled_from([exact, exact, joined([exact, other.hours])])),
        of_month(number) if yearly else ANY_DAY,
        month if yearly else ANY,
        ANY_DAY,
    )


# -- properties --------------------------------------------------------------------------------------------------------


def define(meaning: Expression, zone: str, gap: DstGap, overlap: DstOverlap) -> Cron | None:
    """The cron; None where it is refused, and rightly."""
    try:
        return Cron(meaning.text, zone, gap, overlap)
    except DefinitionError:
        days = (date(1995, 1, 1) + timedelta(days=n) for n in range(50 * 366))
        assert not any(meaning.on(day) for day in days), "refused, but it has a day"
        return None


GAPS: st.SearchStrategy[DstGap] = st.sampled_from(("run_after", "skip"))
OVERLAPS: st.SearchStrategy[DstOverlap] = st.sampled_from(("first", "last", "both"))


def check_around_a_change(case: Case, gap: DstGap, overlap: DstOverlap, around: int) -> None:
    cron = define(case.meaning, case.zone, gap, overlap)
    if cron is None:
        return
    middle = max(case.at, START + 2 * DAY)
    low, high = middle - around, middle + around
    expected = ticks_between(cron, case.meaning, low, high)
    found: list[int] = []
    now = low * 1000 - 1
    while (tick := cron.next_after(now)) is not None and tick <= high * 1000:
        assert tick > now
        assert tick % 1000 == 0
        found.append(tick // 1000)
        now = tick
    assert found == expected
    for now in [middle - 1, middle, middle + 1, *range(low, high, around // 7)]:
        later = [tick for tick in expected if tick > now]
        ahead = cron.next_after(now * 1000 + 999)
        assert ahead == later[0] * 1000 if later else ahead is None or ahead > high * 1000


def check_far_ahead(case: Case, gap: DstGap, overlap: DstOverlap, back: int) -> None:
    cron = define(case.meaning, case.zone, gap, overlap)
    if cron is None:
        return
    after = case.at - back
    expected = first_tick(cron, case.meaning, max(after, -1))
    found = cron.next_after(after * 1000)
    assert found == (None if expected is None else expected * 1000) or (expected is None and found is not None)


@settings(max_examples=100)
@given(case=cases(EXPRESSIONS), gap=GAPS, overlap=OVERLAPS, around=st.sampled_from([2 * HOUR, 4 * HOUR]))
@pytest.mark.slow
def test_ticks_around_a_change(case: Case, gap: DstGap, overlap: DstOverlap, around: int) -> None:
    check_around_a_change(case, gap, overlap, around)


BACK = st.sampled_from([1, 1800, 3599, HOUR, DAY]) | st.integers(-DAY, DAY) | st.integers(0, 364 * DAY)


@settings(max_examples=100)
@given(case=cases(RARE), gap=GAPS, overlap=OVERLAPS, back=BACK)
@pytest.mark.slow
def test_a_tick_far_ahead(case: Case, gap: DstGap, overlap: DstOverlap, back: int) -> None:
    check_far_ahead(case, gap, overlap, back)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=1_500)
@given(case=cases(EXPRESSIONS), gap=GAPS, overlap=OVERLAPS, around=st.sampled_from([2 * HOUR, 4 * HOUR, 30 * HOUR]))
def test_ticks_around_many_changes(case: Case, gap: DstGap, overlap: DstOverlap, around: int) -> None:
    check_around_a_change(case, gap, overlap, around)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=1_500)
@given(case=cases(RARE), gap=GAPS, overlap=OVERLAPS, back=BACK)
def test_many_ticks_far_ahead(case: Case, gap: DstGap, overlap: DstOverlap, back: int) -> None:
    check_far_ahead(case, gap, overlap, back)
