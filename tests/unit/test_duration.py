"""Durations and instants: what people may write, and that anything else is refused by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from mainspring.core.duration import LONGEST, Duration, humanize, instant, milliseconds
from mainspring.errors import DefinitionError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (1, 1_000),
        (0.25, 250),
        (0.0006, 1),
        (timedelta(minutes=2, milliseconds=3), 120_003),
        ("500ms", 500),
        ("1s", 1_000),
        ("1.5s", 1_500),
        ("5m", 300_000),
        ("1h 30m", 5_400_000),
        ("5m 20s", 320_000),
        ("1h30m", 5_400_000),
        (" 7 d ", 604_800_000),
        ("2w", 1_209_600_000),
        ("36500d", LONGEST),
    ],
)
def test_a_duration_is_whole_milliseconds(value: Duration, expected: int) -> None:
    assert milliseconds(value) == expected


BAD: list[Any] = [
    -1, "-1s", "", " ", "5", "5M", "5 minutes", "1m,2s", "s", "1e3s", "٣s", True, None, [], {}, b"1s", 1j,
    float("nan"), float("inf"), -0.001, timedelta(seconds=-1), timedelta.max, 10**400, "9" * 400 + "d", "36501d",
]  # fmt: skip


@pytest.mark.parametrize("value", BAD, ids=lambda v: repr(v)[:20])
def test_anything_else_is_refused_by_name(value: Any) -> None:
    with pytest.raises(DefinitionError, match=r"bad grace: .*Expected"):
        milliseconds(value, "grace")


def test_an_instant_has_a_zone() -> None:
    assert instant(datetime(1970, 1, 2, tzinfo=UTC)) == 86_400_000
    assert instant(datetime(1970, 1, 2, 2, tzinfo=timezone(timedelta(hours=2)))) == 86_400_000
    naive = datetime(2024, 1, 1)
    for bad in (naive, "2024-01-01", None, 5):
        with pytest.raises(DefinitionError, match=r"bad at: .*with a zone"):
            instant(bad, "at")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0ms"), (250, "250ms"), (1_000, "1s"), (90_000, "1m 30s"), (3_600_000, "1h"), (90_061_001, "1d 1h")],
)
def test_humanize(amount: int, text: str) -> None:
    assert humanize(amount) == text
