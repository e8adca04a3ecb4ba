"""What handlers may raise to steer their job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mainspring.core.outcome import Cancel, DeadLetter, RetryAfter, Skip, Snooze, Steer
from mainspring.errors import DefinitionError


def test_snooze_takes_a_delay_or_a_time() -> None:
    assert Snooze("30s").due(1_000) == 31_000
    assert Snooze(timedelta(hours=1)).due(0) == 3_600_000
    assert Snooze().due(5) == 5
    later = Snooze(until=datetime(1970, 1, 2, tzinfo=UTC), reason="night")
    assert (later.due(5), later.reason) == (86_400_000, "night")
    assert later.due(90_000_000) == 90_000_000  # it is over: at once


def test_bad_times_are_refused() -> None:
    with pytest.raises(DefinitionError, match="Snooze delay: 'soon'"):
        Snooze("soon")
    with pytest.raises(DefinitionError, match="with a zone"):
        Snooze(until=datetime(2024, 1, 1))


def test_a_steer_says_why() -> None:
    steers: list[Steer] = [Cancel("c"), DeadLetter("d"), RetryAfter(1, "r"), Skip("s"), Snooze(1, "z")]
    assert [str(s) for s in steers] == ["c", "d", "r", "s", "z"]
    assert str(Cancel())
    assert str(DeadLetter())
