"""Attacks on the clock of a namespace: whatever happens to one process, the others' leases neither end early nor stall.

The truth of these tests is the time that has really passed: `World.passed` for whoever was not suspended.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from mainspring.client import Client
from mainspring.core.clock import Clock
from mainspring.stores.redis import RedisStore
from tests.factory import NOW, FakeClock
from tests.servers.redis import RedisServer
from tests.stores.redis.test_clock import BEAT, MINUTE, World

LEASE = 15_000


class Late(World):
    """A world in which one reading can be slow: before the server looks at its clock, or after."""

    ask_after = answer_after = 0

    async def commands(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        late, self.ask_after = self.ask_after, 0
        self.pass_by(late)
        told = await super().commands(commands)
        late, self.answer_after = self.answer_after, 0
        self.pass_by(late)
        return told


@pytest.mark.parametrize("late", [1_000, 4_900, MINUTE])
@pytest.mark.parametrize("side", ["ask_after", "answer_after"])
async def test_a_slow_reading_is_no_ground_for_judging_the_next(late: int, side: str) -> None:
    """A process that is stopped between its question and the answer, or a server that is."""
    world = Late()
    slow, other = world.process(), world.process()
    await world.read(slow)
    await world.read(other)
    world.pass_by(BEAT)
    setattr(world, side, late)
    assert await world.read(slow) == world.server
    for _ in range(3):
        world.pass_by(BEAT)
        assert await world.read(slow) == world.server
        assert await world.read(other) == world.server
    assert world.offset is None, "nobody moved the clock"


async def test_a_first_reading_that_is_slow_is_none_either() -> None:
    world = Late()
    process = world.process()
    world.answer_after = MINUTE
    assert await world.read(process) == world.server
    world.pass_by(BEAT)
    assert await world.read(process) == world.server
    assert world.offset is None


@pytest.mark.parametrize("step", [-3_600_000, -5 * MINUTE, 5 * MINUTE, 3_600_000])
async def test_a_step_is_not_seen_either_where_the_reading_is_slow(step: int) -> None:
    """As at a failover: the reading that finds another clock is the one that waited for the new master."""
    world = Late()
    process = world.process()
    await world.read(process)
    world.pass_by(BEAT)
    world.server += step
    world.ask_after = 4_000
    assert await world.read(process) == NOW + BEAT + 4_000


async def test_where_all_readings_are_slow_nothing_is_concluded() -> None:
    world = Late()
    process = world.process()
    world.slowness = 2_000
    for _ in range(5):
        assert await world.read(process) == world.server
    assert world.offset is None


@pytest.mark.parametrize("step", [-300_000, 300_000, -602_000, 602_000, -7_200_000])
async def test_who_reads_seldom_agrees_with_who_reads_often(step: int) -> None:
    """While the offset shrinks, fast and then slowly, nobody takes that for a step."""
    world = World()
    often, seldom = world.process(), world.process()
    await world.read(often)
    await world.read(seldom)
    world.server += step
    seen = await world.read(often)
    truth = NOW
    assert seen == truth
    for n in range(3_000):
        world.pass_by(BEAT)
        before, seen = seen, await world.read(often)
        assert 0.45 * BEAT <= seen - before <= 1.55 * BEAT
        if n % 20 == 19:
            assert abs(await world.read(seldom) - seen) <= 1


@pytest.mark.parametrize("seed", range(20))
async def test_no_lease_of_a_healthy_worker_ends_early_whatever_one_step_and_one_sleeper_do(seed: int) -> None:
    """Workers beat every 5 s and renew for 15 s. One step of the server, one process that was asleep, slow answers."""
    chance, world = random.Random(seed), Late()
    workers = [world.process() for _ in range(3)]
    sleeper, lag = workers[0], 0
    sleeper._since = lambda: world.passed - lag
    ends = {id(worker): await world.read(worker) + LEASE for worker in workers}
    step_at, sleep_at = chance.randrange(5, 300), chance.randrange(5, 300)
    for n in range(400):
        if n == step_at:
            world.server += chance.choice([-1, 1]) * chance.choice([2_000, MINUTE, 5 * MINUTE, 60 * MINUTE])
        if n == sleep_at:
            lag = MINUTE  # suspended, with a clock that stood still; what it holds is over
        for worker in chance.sample(workers, len(workers)):
            world.pass_by(chance.randrange(0, BEAT // 3))
            world.answer_after = chance.choice([0, 0, 0, 200, 1_000])
            now = await world.read(worker)
            if worker is not sleeper or n not in (sleep_at, sleep_at + 1):
                assert now < ends[id(worker)], f"the lease of a healthy worker ended {now - ends[id(worker)]} ms ago"
            ends[id(worker)] = max(ends[id(worker)], now + LEASE)  # a renewal shortens nothing


async def test_a_client_takes_the_time_in_the_middle_of_its_round_trip(redis_server: RedisServer) -> None:
    """And not at its beginning: then it is ahead of the store by as long as the answer took."""
    passed = FakeClock(1_000)
    store = RedisStore(f"{redis_server.url}?namespace=middle")

    async def time() -> int:
        passed.advance(400)
        return NOW

    store.time = time  # type: ignore[method-assign]
    client = Client(store, Clock(passed, FakeClock(NOW)), {})
    await client.open()
    assert client.clock.now() == NOW + 200
    await client.close()
