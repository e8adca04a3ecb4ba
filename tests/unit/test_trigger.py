"""Intervals, times, and what all triggers have: the newest ticks of a stretch, how long some take, the next ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.cron import Cron
from mainspring.core.duration import LONGEST
from mainspring.core.trigger import At, Every, Ticks, Trigger, latest, span, upcoming
from mainspring.errors import DefinitionError

DAY = 86_400_000
NOW = int(datetime(2030, 5, 1, 12, tzinfo=UTC).timestamp() * 1000)


@given(period=st.integers(1_000, 10**7), start=st.integers(0, 10**7), now=st.integers(-(10**8), 10**8))
def test_an_interval_ticks_at_multiples_of_its_period(period: int, start: int, now: int) -> None:
    tick = Every(period, start).next_after(now)
    assert tick > now
    assert tick >= start
    assert (tick - start) % period == 0
    assert tick == start or tick - period <= now


def test_a_time_comes_once() -> None:
    assert At(NOW).next_after(NOW - 1) == NOW
    assert At(NOW).next_after(NOW) is None
    assert upcoming(At(NOW), 0, 5) == [NOW]


@pytest.mark.parametrize("period", [0, -1, 999, LONGEST + 1, 1_000.0, True, "5m", None])
def test_an_interval_that_makes_no_sense_is_refused(period: Any) -> None:
    with pytest.raises(DefinitionError, match=r"bad interval: .*Expected from 1 second to 100 years"):
        Every(period, 0)


def test_a_start_or_a_time_that_is_no_number_is_refused() -> None:
    with pytest.raises(DefinitionError, match="bad start of an interval: None"):
        Every(1_000, None)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="bad time: 'now'"):
        At("now")  # type: ignore[arg-type]


def all_ticks(trigger: Trigger, first: int, now: int) -> list[int]:
    found = [first]
    while (tick := trigger.next_after(found[-1])) is not None and tick <= now:
        found.append(tick)
    return found


@pytest.mark.parametrize("keep", [0, 1, 3, 100])
@pytest.mark.parametrize(
    ("trigger", "back"),
    [
        (Every(7_000, 5_000), DAY),
        (At(NOW - 5_000), DAY),
        (Cron("* * * * * *", "Europe/Prague"), DAY // 20),
        (Cron("*/5 * * * *", "Europe/Prague"), DAY),
        (Cron("* * * * *", "Europe/Prague"), 3 * DAY),
        (Cron("30 2 * * *", "Europe/Prague", dst_overlap="both"), 500 * DAY),
        (Cron("* * 0 1 1 *"), 2 * 366 * DAY),
        (Cron("*/7 * 0,12 30 4 *"), 366 * DAY),
    ],
)
def test_the_newest_ticks_of_a_stretch(trigger: Trigger, back: int, keep: int) -> None:
    first = trigger.next_after(NOW - back)
    assert first is not None
    for now in (first, first + 1, NOW):
        ticks = all_ticks(trigger, first, now)
        found = latest(trigger, first, now, keep)
        assert found.newest == (ticks[-keep:] if keep else [])
        exact = isinstance(trigger, Every) or len(ticks) <= 1_000
        assert found.exact == exact
        assert found.count == (len(ticks) if exact else 1_000)


def test_a_stretch_that_ends_before_it_begins_has_the_first() -> None:
    assert latest(Every(1_000, 0), 5_000, 5_999, 3) == Ticks(1, True, [5_000])


@pytest.mark.parametrize("expression", ["* * * * * *", "* * 0 1 1 *", "* * * * *", "0 0-3 0 * 2,6 *"])
def test_ten_years_of_downtime_cost_little_more_than_the_count(
    expression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cron = Cron(expression)
    first = cron.next_after(NOW - 10 * 366 * DAY)
    assert first is not None
    asked: list[int] = []
    ask = Cron.next_after
    monkeypatch.setattr(Cron, "next_after", lambda cron, now: asked.append(now) or ask(cron, now))  # type: ignore[func-returns-value]
    found = latest(cron, first, NOW, 20)
    assert found.newest == sorted(set(found.newest))
    assert len(found.newest) == 20
    assert (cron.next_after(found.newest[-1]) or 0) > NOW
    assert len(asked) < 2_000


@settings(max_examples=50)
@given(
    trigger=st.sampled_from(
        [Cron("0 0 * * *", "Europe/Prague"), Cron("5 4 29 2 *"), Every(90_000, 11), Cron("@hourly")]
    ),
    count=st.integers(1, 30),
)
def test_how_long_the_next_ticks_take(trigger: Trigger, count: int) -> None:
    ticks = upcoming(trigger, NOW, count)
    if len(ticks) == count:
        assert span(trigger, NOW, count) == ticks[-1] - NOW
    else:
        assert span(trigger, NOW, count) == LONGEST


def test_how_long_many_ticks_take_is_reckoned_from_a_thousand() -> None:
    assert span(Cron("@hourly"), NOW, 5_000) == 5_000 * 3_600_000
    assert span(Every(1_000, 0), NOW, 10**15) == LONGEST
    assert span(Every(60_000, 0), NOW, 10**6) == 60_000 * 10**6
    assert span(At(NOW + 5), NOW, 1) == 5
    assert span(At(NOW + 5), NOW, 2) == LONGEST
    assert span(At(NOW), NOW, 0) == 0


def test_the_next_ticks() -> None:
    assert upcoming(Every(1_000, 0), 0, 3) == [1_000, 2_000, 3_000]
    assert upcoming(Cron("0 0 29 2 *"), NOW, 2) == [
        int(datetime(year, 2, 29, tzinfo=UTC).timestamp() * 1000) for year in (2032, 2036)
    ]
    assert upcoming(Cron("@hourly"), NOW, 0) == []
