"""The time of a namespace goes on as it went, whatever the server's clock does, and comes back to it slowly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from mainspring.stores import open_store
from mainspring.stores.redis.clock import RedisTime
from mainspring.stores.redis.link import Link
from mainspring.stores.redis.scripts import Script
from mainspring.stores.server_clock import FAR, ServerClock
from tests.factory import NOW
from tests.servers.redis import RedisServer

MINUTE = 60_000
BEAT = 5_000


class World:
    """A server whose clock is set by hand, and processes that know how much time passes; in place of a `Link`."""

    namespace = "{clock}"

    def __init__(self) -> None:
        self.server, self.passed = NOW, 1_000_000
        self.offset: bytes | None = None
        self.moved: bytes | None = None
        self.slowness = 0

    def process(self) -> ServerClock:
        return ServerClock(lambda: self.passed)

    async def read(self, process: ServerClock) -> int:
        return await process.now(RedisTime(cast(Link, self)))

    def pass_by(self, ms: int) -> None:
        self.server += ms
        self.passed += ms

    async def commands(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        self.pass_by(self.slowness)
        seconds, ms = divmod(self.server, 1_000)
        return [[str(seconds).encode(), str(ms * 1_000).encode()], [self.offset, self.moved]]

    async def call(self, script: Script, old: int, new: int, moved: int) -> int:
        if int(self.offset or 0) != old:
            return 0
        self.offset, self.moved = str(new).encode(), str(moved).encode()
        return 1


async def test_it_is_the_servers_clock_at_first() -> None:
    world = World()
    assert await world.read(world.process()) == NOW


@pytest.mark.parametrize("step", [-3_600_000, -MINUTE, -3_000, 3_000, MINUTE, 3_600_000])
async def test_a_step_of_the_server_is_not_seen_and_made_up_slowly(step: int) -> None:
    world = World()
    processes = [world.process() for _ in range(3)]
    for process in processes:
        await world.read(process)
    world.pass_by(BEAT)
    world.server += step
    seen = [await world.read(process) for process in processes]
    assert seen == [NOW + BEAT] * 3
    for _ in range(4_000):
        world.pass_by(BEAT)
        before, seen = seen, [await world.read(process) for process in processes]
        most = BEAT * (0.5 if abs(step) > FAR else 0.05)
        for was, now in zip(before, seen, strict=True):
            assert abs(now - was - BEAT) <= most + 1, "it runs a little faster or slower, and steps never"
        assert max(seen) - min(seen) <= most
    assert seen == [world.server] * 3


async def test_a_newcomer_agrees_with_the_others() -> None:
    world = World()
    process = world.process()
    await world.read(process)
    world.server += MINUTE
    assert await world.read(process) == NOW
    assert await world.read(world.process()) == NOW


async def test_a_process_that_was_asleep_moves_the_others_for_a_moment_only() -> None:
    world = World()
    asleep, awake = world.process(), world.process()
    await world.read(asleep)
    await world.read(awake)
    world.server += MINUTE
    world.passed += MINUTE
    asleep._since = lambda: world.passed - MINUTE  # its clock stood still meanwhile
    await world.read(asleep)
    world.pass_by(BEAT)
    for _ in range(5):
        assert await world.read(awake) == world.server
        assert await world.read(asleep) == world.server
        world.pass_by(BEAT)


async def test_a_slow_reading_moves_nothing() -> None:
    world = World()
    process = world.process()
    await world.read(process)
    world.slowness = 4_000
    assert abs(await world.read(process) - world.server) <= 4_000
    assert world.offset is None


async def test_on_a_server(redis_server: RedisServer) -> None:
    """The script and the reading fit each other: a step that is played on this side is taken up, and shrinks."""
    passed = 1_000_000
    store = open_store(f"{redis_server.url}?namespace=clock")
    clock = ServerClock(lambda: passed)
    link = Link(store._settings)  # type: ignore[attr-defined]
    await link.open()
    server = RedisTime(link)
    first = await clock.now(server)
    passed -= MINUTE  # as if the server had gone a minute ahead
    held = await clock.now(server)
    assert 0 <= first - held - MINUTE + 5_000 <= 10_000
    assert int(await link.command("HGET", "{clock}:meta", "offset")) < -MINUTE + 5_000
    assert abs(await ServerClock().now(server) - held) <= 5_000
    await link.close()
