"""Faults of all kinds in a row, with jobs under way: in the end every job has ended once, and all fits together."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable

import pytest

from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer
from tests.stores.redis.rig import (
    NEW,
    ONE,
    QUICK,
    behind_proxy,
    rig_to,
    runs_add_up,
    server_of,
    turn,
    until,
    working,
)

DURABLE = {"appendonly": "yes", "appendfsync": "always"}
ROUNDS = 25
Fault = Callable[[], Awaitable[object]]


@pytest.mark.slow
@NEW
async def test_one_fault_after_the_other(kind: str) -> None:
    seed = int(os.environ.get("MAINSPRING_SEED", "7"))
    chance = random.Random(seed)
    print(f"MAINSPRING_SEED={seed}")
    with behind_proxy(kind, **DURABLE) as (server, proxy):
        async with rig_to(proxy.url) as rig, working(rig), rig.app.worker(**QUICK):
            faults = faults_of(server, proxy, chance)
            asked: list[int] = []
            for _ in range(ROUNDS):
                asking = asyncio.create_task(rig.ask(chance.randrange(1, 80)))
                await turn(chance.random() * 0.05)
                name = chance.choice(sorted(faults))
                print(name)
                await faults[name]()
                asked += await asking
            await rig.done(asked)
            await rig.goes_on()
            await runs_add_up(rig)
            assert len(await rig.jobs()) == len(asked) + 2, "one for each key, and those before and after"


def faults_of(server: RedisServer, proxy: Proxy, chance: random.Random) -> dict[str, Fault]:
    async def now(act: Callable[[], object]) -> None:
        act()

    async def for_a_while(begin: Callable[[], object], end: Callable[[], object]) -> None:
        begin()
        await turn(chance.choice([0.05, 0.2, 0.7]))
        end()

    def unplug() -> None:
        proxy.refuse()
        proxy.cut()

    return {
        "cut": lambda: now(proxy.cut),
        "half open": lambda: now(proxy.half_open),
        "stall": lambda: for_a_while(proxy.stall, proxy.resume),
        "black hole": lambda: for_a_while(proxy.black_hole, proxy.resume),
        "refuse": lambda: for_a_while(unplug, proxy.resume),
        "freeze": lambda: for_a_while(server.freeze, server.thaw),
        "restart": lambda: for_a_while(server.kill, server.start),
        "flush scripts": lambda: now(lambda: server.command("SCRIPT", "FLUSH")),
        "kill clients": lambda: now(lambda: server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")),
        "pause": lambda: now(lambda: server.command("CLIENT", "PAUSE", 300, "ALL")),
        "replica": lambda: for_a_while(
            lambda: server.command("REPLICAOF", "127.0.0.1", "1"), lambda: server.command("REPLICAOF", "NO", "ONE")
        ),
        "full": lambda: for_a_while(
            lambda: server.command("CONFIG", "SET", "maxmemory", "1"),
            lambda: server.command("CONFIG", "SET", "maxmemory", "0"),
        ),
    }


@ONE
@pytest.mark.parametrize("how", ["restart", "freeze", "replica"])
async def test_who_waits_for_a_result_gets_it_after_the_fault(kind: str, how: str) -> None:
    with server_of(kind, **DURABLE) as server, Proxy(server.port) as proxy:
        async with rig_to(server.url) as rig, working(rig, lease=10):
            rig.go_on.clear()
            handle = await rig.job.options(idempotency_key="1000").enqueue(1_000)
            waiting = asyncio.create_task(handle.result(timeout=60))
            await until(lambda: rig.begun[1_000], "it to begin")
            fault = faults_of(server, proxy, random.Random(3))[how]
            await fault()
            rig.go_on.set()
            assert await waiting == 1_000
            await runs_add_up(rig)
