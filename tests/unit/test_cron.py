"""Cron expressions: fields, zones, the days on which clocks change, and those that never come."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, get_args
from zoneinfo import ZoneInfo, available_timezones
from zoneinfo._common import load_data, load_tzdata
from zoneinfo._tzpath import find_tzfile

import pytest

from mainspring.core.cron import MACROS, Change, Cron, DstOverlap, changes, check_cron, next_cron, offset_at
from mainspring.errors import DefinitionError


def ms(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, *, zone: str = "UTC") -> int:
    return int(datetime(year, month, day, hour, minute, second, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def times(expression: str, zone: str, start: int, count: int) -> list[datetime]:
    found: list[datetime] = []
    for _ in range(count):
        start = next_cron(expression, zone, start)
        found.append(datetime.fromtimestamp(start / 1000, UTC))
    return found


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        ("*/5 * * * *", "UTC", ms(2024, 1, 1, 0, 2), ms(2024, 1, 1, 0, 5)),
        ("*/5 * * * *", "UTC", ms(2024, 1, 1, 0, 5), ms(2024, 1, 1, 0, 10)),
        ("*/10 * * * * *", "UTC", ms(2024, 1, 1, 0, 0, 3), ms(2024, 1, 1, 0, 0, 10)),
        ("0 9 * * 1", "UTC", ms(2024, 5, 1), ms(2024, 5, 6, 9)),
        ("0 9 * * 1", "America/New_York", ms(2024, 5, 1), ms(2024, 5, 6, 13)),
        ("0 0 29 2 *", "UTC", ms(2024, 3, 1), ms(2028, 2, 29)),
        ("0 0 31 * *", "UTC", ms(2024, 4, 1), ms(2024, 5, 31)),
        ("0 0 1 1 *", "Pacific/Kiritimati", ms(2024, 6, 1), ms(2025, 1, 1, zone="Pacific/Kiritimati")),
    ],
)
def test_next_time(expression: str, zone: str, after: int, expected: int) -> None:
    check_cron(expression, zone)
    assert next_cron(expression, zone, after) == expected


def test_milliseconds_of_now_do_not_repeat_a_tick() -> None:
    tick = ms(2024, 1, 1, 0, 5)
    assert next_cron("*/5 * * * *", "UTC", tick - 1) == tick
    assert next_cron("*/5 * * * *", "UTC", tick + 1) == tick + 300_000


def test_a_daily_time_comes_once_on_the_days_on_which_clocks_change() -> None:
    spring = times("30 2 * * *", "Europe/Prague", ms(2024, 3, 30, 12), 3)
    assert [t.day for t in spring] == [31, 1, 2]
    autumn = times("30 2 * * *", "Europe/Prague", ms(2024, 10, 26, 12), 3)
    assert [t.day for t in autumn] == [27, 28, 29]
    hours = times("0 * * * *", "Europe/Prague", ms(2024, 10, 26, 22), 6)
    assert len({t.timestamp() for t in hours}) == 6
    assert hours == sorted(hours)


NEW_YORK, SANTIAGO = "America/New_York", "America/Santiago"
GAP_CASES: list[Any] = [
    # expression, zone, the day from which on, the ticks (run_after), the ticks (skip); ticks in UTC
    ("30 2 * * *", NEW_YORK, "2030-03-10", "03-10T07:00 03-11T06:30", "03-11T06:30 03-12T06:30"),
    ("0,30 2 * * *", NEW_YORK, "2030-03-10", "03-10T07:00 03-11T06:00", "03-11T06:00 03-11T06:30"),
    ("30 2,3 * * *", NEW_YORK, "2030-03-10", "03-10T07:00 03-10T07:30", "03-10T07:30 03-11T06:30"),
    ("0 2,3 * * *", NEW_YORK, "2030-03-10", "03-10T07:00 03-11T06:00", "03-10T07:00 03-11T06:00"),
    ("30 2 10 3 *", NEW_YORK, "2030-03-10", "2030-03-10T07:00 2031-03-10T06:30", "2031-03-10T06:30 2032-03-10T07:30"),
    ("30 2 10 3 *", NEW_YORK, "2029-06-01", "2030-03-10T07:00 2031-03-10T06:30", "2031-03-10T06:30"),
    ("30 2 * * *", NEW_YORK, "2030-03-10T01:59:59.999", "03-10T07:00 03-11T06:30", "03-11T06:30"),
    ("30 */2 * * *", NEW_YORK, "2030-03-10", "03-10T05:30 03-10T08:30", "03-10T05:30 03-10T08:30"),
    ("30 * * * *", NEW_YORK, "2030-03-10", "03-10T05:30 03-10T06:30 03-10T07:30", "03-10T05:30 03-10T06:30"),
    ("* * * * *", NEW_YORK, "2030-03-10T01:59", "03-10T06:59 03-10T07:00", "03-10T06:59 03-10T07:00"),
    ("0 9 * * *", "Pacific/Apia", "2011-12-29", "12-29T19:00 12-30T10:00 12-30T19:00", "12-29T19:00 12-30T19:00"),
    ("0 0 30 12 *", "Pacific/Apia", "2011-12-29", "2011-12-30T10:00 2012-12-29T10:00", "2012-12-29T10:00"),
    ("0 0 * * FRI", "Pacific/Apia", "2011-12-29", "12-30T10:00 2012-01-05T10:00", "2012-01-05T10:00"),
    ("0 12 21 8 *", "Pacific/Kwajalein", "1993-08-20", "1993-08-21T12:00 1994-08-21T00:00", "1994-08-21T00:00"),
    ("15 2 * * *", "Australia/Lord_Howe", "2030-10-06", "10-05T15:30 10-06T15:15", "10-06T15:15"),
    ("30 2 * * *", "Australia/Lord_Howe", "2030-10-06", "10-05T15:30 10-06T15:30", "10-05T15:30 10-06T15:30"),
    ("20 0 7 1 *", "Africa/Monrovia", "1972-01-06", "1972-01-07T00:44:30 1973-01-07T00:20", "1973-01-07T00:20"),
    ("30 1 * * *", "Europe/Dublin", "2030-03-31", "03-31T01:00 04-01T00:30", "04-01T00:30"),
    ("0 0 * * *", "America/Sao_Paulo", "2018-11-03", "11-03T03:00 11-04T03:00 11-05T02:00", "11-03T03:00 11-05T02:00"),
    ("@daily", "America/Sao_Paulo", "2018-11-03", "11-03T03:00 11-04T03:00 11-05T02:00", "11-03T03:00 11-05T02:00"),
    ("59 59 23 * * *", "America/Sao_Paulo", "2018-11-03", "11-04T02:59:59 11-05T01:59:59", "11-04T02:59:59"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "zone", "day", "run_after", "skip"), GAP_CASES)
def test_a_time_that_does_not_exist(expression: str, zone: str, day: str, run_after: str, skip: str) -> None:
    assert_ticks(Cron(expression, zone), day, run_after)
    assert_ticks(Cron(expression, zone, dst_gap="skip"), day, skip)


OVERLAP_CASES: list[Any] = [
    ("30 1 * * *", NEW_YORK, "2030-11-03", "11-03T05:30 11-04T06:30", "11-03T06:30 11-04T06:30"),
    ("0,59 1 * * *", NEW_YORK, "2030-11-03", "11-03T05:00 11-03T05:59 11-04T06:00", "11-03T06:00 11-03T06:59"),
    ("0 2 * * *", NEW_YORK, "2030-11-03", "11-03T07:00 11-04T07:00", "11-03T07:00 11-04T07:00"),
    ("30 1 3 11 *", NEW_YORK, "2029-12-01", "2030-11-03T05:30 2031-11-03T06:30", "2030-11-03T06:30 2031-11-03T06:30"),
    ("30 1-2 * * *", NEW_YORK, "2030-11-03", "11-03T05:30 11-03T07:30", "11-03T06:30 11-03T07:30"),
    ("30 0-1 * * *", NEW_YORK, "2030-11-03", "11-03T04:30 11-03T05:30", "11-03T04:30 11-03T06:30"),
    ("* * 1 * * *", NEW_YORK, "2030-11-03T01:59:59", "11-03T05:59:59 11-04T06:00", "11-03T06:00 11-03T06:00:01"),
    ("45 1 * * *", "Australia/Lord_Howe", "2030-04-07", "04-06T14:45 04-07T15:15", "04-06T15:15 04-07T15:15"),
    ("30 1 * * *", "Europe/Dublin", "2030-10-27", "10-27T00:30 10-28T01:30", "10-27T01:30 10-28T01:30"),
    ("30 23 * * *", "America/Sao_Paulo", "2018-02-17", "02-18T01:30 02-19T02:30", "02-18T02:30 02-19T02:30"),
    ("0 23 * * SAT", SANTIAGO, "2030-04-06", "04-07T02:00 04-14T03:00", "04-07T03:00 04-14T03:00"),
    ("0 0 * * *", "Africa/Monrovia", "1970-01-02", "1970-01-02T00:44:30", "1970-01-02T00:44:30"),
]


@pytest.mark.parametrize(("expression", "zone", "day", "first", "last"), OVERLAP_CASES)
def test_a_time_that_exists_twice(expression: str, zone: str, day: str, first: str, last: str) -> None:
    assert_ticks(Cron(expression, zone), day, first)
    assert_ticks(Cron(expression, zone, dst_overlap="last"), day, last)


def test_both_times_of_an_overlap_and_elapsed_time() -> None:
    assert_ticks(Cron("30 1 * * *", NEW_YORK, dst_overlap="both"), "2030-11-03", "11-03T05:30 11-03T06:30 11-04T06:30")
    yearly = Cron("30 1 3 11 *", NEW_YORK, dst_overlap="both")
    assert_ticks(yearly, "2029-12-01", "2030-11-03T05:30 2030-11-03T06:30 2031-11-03T06:30")
    for overlap in get_args(DstOverlap):
        hourly = Cron("30 * * * *", NEW_YORK, dst_overlap=overlap)
        assert_ticks(hourly, "2030-11-03T01:00", "11-03T05:30 11-03T06:30 11-03T07:30")
        stepped = Cron("30 1-5/4,9 * * *", NEW_YORK, dst_overlap=overlap)
        assert_ticks(stepped, "2030-11-03", "11-03T05:30 11-03T06:30 11-03T10:30 11-03T14:30")


def assert_ticks(cron: Cron, day: str, expected: str) -> None:
    """The first ticks after the start of a local day are those, in UTC and of the same year unless they name one."""
    start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(cron.timezone))
    now = round(start.timestamp() * 1000) - 1
    for text in expected.split():
        tick = cron.next_after(now)
        assert tick is not None
        full = text if text[4] == "-" else f"{day[:4]}-{text}"
        assert datetime.fromtimestamp(tick / 1000, UTC) == datetime.fromisoformat(full).replace(tzinfo=UTC)
        now = tick


@pytest.mark.parametrize(("macro", "fields"), MACROS.items())
def test_a_macro_is_its_fields_in_any_case(macro: str, fields: str) -> None:
    now = ms(2030, 5, 1, 12)
    assert Cron(macro.upper()).next_after(now) == Cron(f" {macro} ").next_after(now) == Cron(fields).next_after(now)


def test_day_and_weekday_as_debian_has_them() -> None:
    assert_ticks(Cron("0 0 13 * FRI"), "2030-09-01", "09-06T00:00 09-13T00:00 09-20T00:00")
    assert_ticks(Cron("0 0 13 * FRI"), "2030-10-05", "10-11T00:00 10-13T00:00 10-18T00:00")
    assert_ticks(Cron("0 0 */13 * FRI"), "2030-01-01", "02-01T00:00 03-01T00:00 06-14T00:00")
    assert_ticks(Cron("0 0 29 2 */7"), "2030-01-01", "2032-02-29T00:00 2060-02-29T00:00")


def test_there_is_an_end() -> None:
    last = Cron("@yearly").next_after(ms(2098, 6, 1))
    assert last == ms(2099, 1, 1)
    assert Cron("@yearly").next_after(last) is None
    assert Cron("@yearly", NEW_YORK).next_after(10**15) is None
    assert next_cron("@yearly", "UTC", last) > last


def test_before_1970_is_the_end_of_1969() -> None:
    assert Cron("@hourly").next_after(-(10**18)) == 0
    assert Cron("@hourly").next_after(-1) == 0
    assert Cron("@hourly").next_after(0) == 3_600_000


def test_a_cron_is_a_value() -> None:
    assert Cron("@daily", "Asia/Tokyo") == Cron("@daily", "Asia/Tokyo", "run_after", "first")
    assert len({Cron("@daily"), Cron("@daily"), Cron("@daily", dst_gap="skip")}) == 2
    with pytest.raises(AttributeError):
        Cron("@daily").expression = "@hourly"  # type: ignore[misc]


@pytest.mark.parametrize("zone", ["UTC", NEW_YORK, "Europe/Dublin", "Pacific/Apia", "Africa/Casablanca"])
def test_the_changes_of_a_zone_are_those_of_its_file(zone: str) -> None:
    start, end = ms(2005, 1, 1) // 1000, ms(2025, 1, 1) // 1000
    assert [change.at for change in changes(zone, start, end)] == [at for at in recorded(zone) if start < at <= end]


@pytest.mark.slow
def test_every_change_of_every_zone_is_found_and_none_is_near_another() -> None:
    for zone in available_timezones() - {"localtime", "Factory", "posixrules"}:
        known = recorded(zone)
        assert all(b - a > 4 * 86_400 for a, b in pairwise(known)), zone
        for at in known:
            assert changes(zone, at - 1, at) == [Change(at, offset_at(zone, at - 1), offset_at(zone, at))]


def recorded(zone: str) -> list[int]:
    """The changes of offset since 1970 in the zone's file, which ends with 2037: a rule goes on from there."""
    path = find_tzfile(zone)
    with open(path, "rb") if path else load_tzdata(zone) as file:
        turns, times, offsets = load_data(file)[:3]
    rows = [(at, offsets[turn]) for at, turn in zip(times, turns, strict=True) if at > 0]
    return [at for (_, before), (at, after) in pairwise([(0, offset_at(zone, 0)), *rows]) if before != after]


BAD: list[Any] = [
    "0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "61 * * * *", "* 24 * * *", "0 0 * * 8", "", "* * * *", "* * * * * * *",
    "a b c d e", "*/0 * * * *", None, 5, [],
]  # fmt: skip


@pytest.mark.parametrize("expression", BAD, ids=repr)
def test_what_never_fires_or_is_no_expression_is_refused(expression: Any) -> None:
    with pytest.raises(DefinitionError, match=r"bad cron expression: .*Expected 5 fields"):
        check_cron(expression, "UTC")


@pytest.mark.parametrize("zone", ["Mars/Base", "", "/etc", "../UTC", "UTC\0", None, 5])
def test_an_unknown_zone_is_refused(zone: Any) -> None:
    with pytest.raises(DefinitionError, match="unknown timezone"):
        check_cron("* * * * *", zone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"expression": "@reboot"}, "a start of a worker is no time"),
        ({"expression": "@Hourly!"}, "unknown macro"),
        ({"expression": "0 0 * * MON#9"}, "Bad day-of-week"),
        ({"expression": "0 0 */28 2 1#3"}, "never fires"),
        ({"expression": "9" * 9999 + " * * * *"}, "bad cron expression"),
        ({"expression": "* * * * *", "dst_gap": "later"}, "unknown dst_gap: 'later'. Expected one of run_after, skip"),
        ({"expression": "* * * * *", "dst_overlap": None}, "unknown dst_overlap: None. Expected one of first, last"),
    ],
)
def test_a_wrong_cron_is_refused_with_the_reason(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Cron(**arguments)
