"""Triggers in words, and the warnings about daylight saving."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings

from mainspring.core.cron import Cron, DstGap, DstOverlap
from mainspring.core.describe import describe
from mainspring.core.trigger import At, Every
from tests.unit.test_cron_oracle import EXPRESSIONS, GAPS, OVERLAPS, Case, cases, define

NOW = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 9 * * 1", "every Monday at 09:00"),
        ("0 9 * * MON,wed,5", "every Monday, Wednesday and Friday at 09:00"),
        ("0 9 * * MON-FRI", "every day from Monday to Friday at 09:00"),
        ("30 6 * * 0,7", "every Sunday at 06:30"),
        ("0 3 * * *", "every day at 03:00"),
        ("0 9,17 * * *", "every day at 09:00 and 17:00"),
        ("15 0 3 * * *", "every day at 03:00:15"),
        ("@monthly", "on day 1 of every month at 00:00"),
        ("0 0 1,15 * *", "on days 1 and 15 of every month at 00:00"),
        ("0 0 L * *", "on the last day of every month at 00:00"),
        ("@yearly", "every year on 1 January at 00:00"),
        ("@hourly", "every hour"),
        ("15 * * * *", "every hour at minute 15"),
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("* * * * * *", "every second"),
        ("0 */6 * * *", "every 6 hours"),
        ("*/7 * * * *", "every seventh minute of every hour"),
        ("0 0 13 * FRI", "on day 13 of every month and every Friday at 00:00"),
        ("0 0 */13 * FRI", "at 00:00 on every 13th day of month if it's on Friday"),
        ("0 9 1 JAN,JUL *", "at 09:00 on the first day of January and July"),
    ],
)
def test_cron(expression: str, words: str) -> None:
    assert describe(Cron(expression), NOW) == f"{words}, UTC"


@pytest.mark.parametrize(
    ("period", "words"),
    [
        (1_000, "second"), (30_000, "30 seconds"), (60_000, "minute"), (300_000, "5 minutes"), (3_600_000, "hour"),
        (5_400_000, "1 hour 30 minutes"), (86_400_000, "day"), (2_500, "2.5 seconds"), (61_500, "1 minute 1.5 seconds"),
        (60_250, "1 minute 0.25 seconds"), (10 * 86_400_000, "10 days"), (7 * 86_400_000, "7 days"),
    ],
)  # fmt: skip
def test_interval(period: int, words: str) -> None:
    assert describe(Every(period, 0), NOW) == f"every {words}"


def test_a_time() -> None:
    assert describe(At(int(datetime(2030, 1, 31, 12, tzinfo=UTC).timestamp() * 1000)), NOW) == (
        "once, at 2030-01-31 12:00 UTC"
    )
    assert describe(At(1_500), NOW) == "once, at 1970-01-01 00:00:01 UTC"
    assert describe(At(10**18), NOW) == f"once, at {10**18} ms after 1970 UTC"


def test_a_time_that_is_skipped_is_named_and_what_is_done() -> None:
    words = "every day at 02:30, America/New_York; on 2030-03-10 02:30 does not exist: "
    assert describe(Cron("30 2 * * *", "America/New_York"), NOW) == words + 'it runs at 03:00 (dst_gap="run_after")'
    skipping = Cron("30 2 * * *", "America/New_York", dst_gap="skip")
    assert describe(skipping, NOW) == words + 'it does not run (dst_gap="skip")'


def test_a_time_that_comes_twice_is_named_and_what_is_done() -> None:
    words = "every day at 01:30, America/New_York; on 2030-11-03 01:30 exists twice: it runs at "
    cron = Cron("30 1 * * *", "America/New_York")
    assert describe(cron, NOW) == words + 'the first (dst_overlap="first")'
    for overlap, then in (("last", "the last"), ("both", "both")):
        twice = Cron("30 1 * * *", "America/New_York", dst_overlap=overlap)  # type: ignore[arg-type]
        assert describe(twice, NOW) == words + f'{then} (dst_overlap="{overlap}")'


def test_gap_and_overlap_are_both_named() -> None:
    words = describe(Cron("30 1,2 * * *", "America/New_York"), NOW)
    assert "; on 2030-03-10 02:30 does not exist" in words
    assert "; on 2030-11-03 01:30 exists twice" in words


def test_a_gap_of_a_day_names_the_day_on_which_it_runs() -> None:
    now = int(datetime(2011, 6, 1, tzinfo=UTC).timestamp() * 1000)
    words = describe(Cron("0 9 * * *", "Pacific/Apia"), now)
    assert 'on 2011-12-30 09:00 does not exist: it runs at 2011-12-31 00:00 (dst_gap="run_after")' in words


@pytest.mark.parametrize("expression", ["30 * * * *", "30 */2 * * *", "0 12 * * *", "*/5 * * * * *"])
def test_what_no_change_of_clocks_touches_has_no_warning(expression: str) -> None:
    assert ";" not in describe(Cron(expression, "America/New_York"), NOW)


@pytest.mark.parametrize("now", [-(10**15), 0, 4_102_444_800_000, 10**16])
def test_any_now_will_do(now: int) -> None:
    assert describe(Cron("30 2 * * *", "America/New_York"), now).startswith("every day at 02:30, America/New_York")


@settings(max_examples=100)
@given(case=cases(EXPRESSIONS), gap=GAPS, overlap=OVERLAPS)
def test_everything_that_is_a_cron_has_words(case: Case, gap: DstGap, overlap: DstOverlap) -> None:
    cron = define(case.meaning, case.zone, gap, overlap)
    if cron is not None:
        assert f", {case.zone}" in describe(cron, case.at * 1000)
