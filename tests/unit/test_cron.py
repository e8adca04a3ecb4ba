"""Cron expressions: fields, zones, the days on which clocks change, and those that never come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mainspring.core.cron import check_cron, next_cron
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
