"""The clock: store time by a monotonic clock and an offset."""

from __future__ import annotations

import pytest

from mainspring.core.clock import Clock
from tests.factory import NOW, FakeClock


def test_it_runs_with_the_monotonic_clock_and_not_with_the_wall() -> None:
    monotonic, wall = FakeClock(5_000), FakeClock(NOW)
    clock = Clock(monotonic, wall)
    assert clock.now() == NOW
    wall.advance(-3_600_000)
    monotonic.advance(250)
    assert clock.now() == NOW + 250
    assert clock.monotonic() == 5_250


def test_it_takes_the_stores_time_in_the_middle_of_the_round_trip() -> None:
    monotonic = FakeClock(1_000)
    clock = Clock(monotonic, FakeClock(NOW))
    asked = clock.monotonic()
    answered = monotonic.advance(40)
    assert clock.adjust(asked, answered, NOW + 60_000) == 60_000 - 20
    assert clock.now() == NOW + 60_000 + 20
    assert clock.adjust(answered, answered, NOW + 60_020) == 0


@pytest.mark.parametrize("looked", [0, 30_000, 60_000])
def test_a_slow_reading_does_not_move_a_clock_that_may_be_right(looked: int) -> None:
    """The store looked at its clock at some moment of that minute; nobody knows at which."""
    monotonic = FakeClock(1_000)
    clock = Clock(monotonic, FakeClock(NOW))
    assert clock.adjust(1_000, 61_000, NOW + looked) == 0


def test_a_slow_reading_moves_a_clock_that_cannot_be_right_as_little_as_it_must() -> None:
    monotonic = FakeClock(1_000)
    clock = Clock(monotonic, FakeClock(NOW))
    assert clock.adjust(1_000, 61_000, NOW + 3_600_000) == 3_600_000 - 60_000
    assert clock.adjust(1_000, 61_000, NOW - 3_600_000) == -2 * 3_600_000 + 60_000


def test_two_machines_with_wrong_walls_agree() -> None:
    store, walls = FakeClock(NOW), (FakeClock(NOW - 60_000), FakeClock(NOW + 60_000))
    monotonics = FakeClock(77), FakeClock(123_456)
    clocks = [Clock(m, w) for m, w in zip(monotonics, walls, strict=True)]
    for clock, monotonic in zip(clocks, monotonics, strict=True):
        clock.adjust(monotonic.now, monotonic.now, store.now)
    assert clocks[0].now() == clocks[1].now() == store.now
