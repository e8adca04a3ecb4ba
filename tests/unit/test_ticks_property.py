"""Whatever schedulers and workers do, and whenever: no tick runs twice, none is lost from the count, and runs that are
to be one after another are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ticking import MINUTE, START, World

TIMINGS: list[dict[str, Any]] = [
    {"every": "1m"},
    {"every": "7m", "start": "now"},
    {"cron": "*/5 * * * *"},
    {"cron": "0,1,2,30 */2 * * *", "timezone": "Europe/Berlin"},
    {"cron": "15 2,3 * * *", "timezone": "America/New_York"},
]
schedules = st.fixed_dictionaries(
    {
        "timing": st.sampled_from(TIMINGS),
        "catch_up": st.sampled_from(["skip", "one", "all"]),
        "overlap": st.sampled_from(["skip", "queue", "allow"]),
        "catch_up_max": st.sampled_from([1, 3, 100]),
        "catch_up_window": st.sampled_from([None, 0, "10m", "2h"]),
        "history": st.sampled_from([1, 4, 50]),
    }
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["look", "late", "crash", "read", "rival", "begin", "end", "run"]),
        st.sampled_from([0, 1, 30_000, MINUTE, 3 * MINUTE, 20 * MINUTE]),
    ),
    max_size=25,
)


def made(options: dict[str, Any]) -> World:
    return World(**options["timing"], **{name: value for name, value in options.items() if name != "timing"})


def passed(world: World) -> list[int]:
    """All ticks so far."""
    ticks: list[int] = []
    tick = world.schedule.trigger.next_after(START - 1 if world.schedule.every else START)
    while tick is not None and tick <= START + world.now:
        ticks.append(tick - START)
        tick = world.schedule.trigger.next_after(tick)
    return ticks


def play(world: World, steps: list[tuple[str, int]]) -> None:
    """`read`: a scheduler reads and is slow; `rival`: it acts on that, whatever has been written since."""
    slow = world.read()
    for step, wait in steps:
        world.now += wait
        if step == "look":
            world.look()
        elif step == "late":
            world.now += 100 * MINUTE
            world.look()
        elif step == "crash":
            world.act(*world.read(), dies=True)
        elif step == "read":
            slow = world.read()
        elif step == "rival":
            world.act(*slow)
        elif step == "begin":
            world.begin()
        elif step == "end":
            world.end()
        else:
            world.run()


@given(schedules, steps)
def test_each_tick_runs_at_most_once_and_in_order(options: dict[str, Any], steps: list[tuple[str, int]]) -> None:
    world = made(options)
    play(world, steps)
    world.run()
    assert len(world.ran) == len(set(world.ran))
    if options["overlap"] != "allow":
        assert world.ran == sorted(world.ran)
    assert set(world.ran) <= set(passed(world))


@given(schedules, steps)
def test_runs_are_one_after_another(options: dict[str, Any], steps: list[tuple[str, int]]) -> None:
    world = made(options)
    play(world, steps)
    world.run()
    if options["overlap"] != "allow":
        assert world.together <= 1


@given(schedules, steps)
def test_every_tick_is_fired_skipped_or_missed(options: dict[str, Any], steps: list[tuple[str, int]]) -> None:
    world = made(options)
    play(world, steps)
    world.run()
    assert world.schedule.backlog == ()
    assert sum(world.counts) == len(passed(world))
    assert len(world.ran) == world.schedule.fired


@pytest.mark.parametrize("fixed_delay", [True, False])
@given(
    looks=st.lists(st.integers(0, MINUTE - 1), max_size=60),
    catch_up=st.sampled_from(["skip", "one", "all"]),
    overlap=st.sampled_from(["skip", "queue", "allow"]),
    timing=st.sampled_from(TIMINGS[:3]),
)
def test_without_downtime_nothing_is_missed(
    fixed_delay: bool, looks: list[int], catch_up: str, overlap: str, timing: dict[str, Any]
) -> None:
    if fixed_delay:
        world = World(every="7m", fixed_delay=True, catch_up=catch_up)
    else:
        world = World(**timing, catch_up=catch_up, overlap=overlap)
    for wait in [0, *looks]:
        world.run(world.now + wait)
    if fixed_delay:
        assert (len(world.ran), world.schedule.missed) == (world.schedule.fired, 0)
        assert all(later - one >= 7 * MINUTE for one, later in zip(world.ran, world.ran[1:], strict=False))
        assert len(world.ran) >= world.now // (8 * MINUTE)
        return
    assert world.ran == passed(world)
    assert world.schedule.missed == world.schedule.skipped == 0
