"""The machine's clock: all processes agree, whatever their wall clocks show."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mainspring.stores import open_store
from mainspring.stores.base import Store
from mainspring.stores.sqlite.clock import JUMP, MachineClock, since_boot

DAY = 86_400_000


class Machine:
    """A machine whose times are set by hand; each process of it may see a wall clock of its own."""

    def __init__(self) -> None:
        self.since, self.wall, self.boot = 5_000_000, 1_800_000_000_000, "first boot"

    def process(self, off: int = 0) -> MachineClock:
        return MachineClock(lambda: self.wall + off, lambda: self.since, lambda: self.boot)

    def pass_by(self, ms: int) -> None:
        self.since += ms
        self.wall += ms


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = open_store("sqlite://:memory:", time=lambda: 0)
    await store.open()
    yield store
    await store.close()


async def test_it_is_the_wall_clock_at_first(store: Store) -> None:
    machine = Machine()
    assert await machine.process().now(store) == machine.wall


@pytest.mark.parametrize("off", [-60_000, 60_000])
async def test_a_process_with_another_wall_clock_reads_the_same(store: Store, off: int) -> None:
    machine = Machine()
    right, wrong = machine.process(), machine.process(off)
    await right.now(store)
    for _ in range(100):
        machine.pass_by(5_000)
        one, other = await right.now(store), await wrong.now(store)
        assert abs(one - other) <= 250
        assert abs(one - machine.wall) <= 2_000  # the two pull at it, and it stays


async def test_a_step_of_the_wall_clock_is_followed_slowly(store: Store) -> None:
    machine = Machine()
    process = machine.process()
    before = await process.now(store)
    machine.wall += 60_000
    assert await process.now(store) == before
    for _ in range(300):
        machine.pass_by(5_000)
        now = await process.now(store)
        assert 0 < now - before <= 5_250
        before = now
    assert abs(before - machine.wall) <= 1_000


async def test_it_never_goes_back(store: Store) -> None:
    machine = Machine()
    process = machine.process()
    before = await process.now(store)
    machine.wall -= 300_000
    for _ in range(50):
        machine.pass_by(5_000)
        now = await process.now(store)
        assert now > before
        before = now


async def test_a_clock_that_is_set_is_followed_at_once(store: Store) -> None:
    machine = Machine()
    process = machine.process()
    await process.now(store)
    machine.wall += 30 * 365 * DAY
    assert await process.now(store) == machine.wall
    assert machine.wall > JUMP


async def test_a_new_boot_begins_anew(store: Store) -> None:
    machine = Machine()
    await machine.process().now(store)
    machine.boot, machine.since = "second boot", 10
    assert await machine.process().now(store) == machine.wall


async def test_nothing_is_written_while_the_clocks_agree(store: Store) -> None:
    machine = Machine()
    process = machine.process()
    await process.now(store)
    written = await store.scan("clock")
    for _ in range(10):
        machine.pass_by(5_000)
        await process.now(store)
    assert await store.scan("clock") == written


async def test_without_a_boot_id_it_is_the_wall_clock(store: Store) -> None:
    clock = MachineClock(lambda: 7, lambda: 1, lambda: None)
    assert await clock.now(store) == 7
    assert await store.scan("clock") == []


def test_the_time_since_boot_grows() -> None:
    assert 0 < since_boot() <= since_boot()
