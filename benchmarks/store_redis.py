"""What a claim and a settle cost the Redis server: `python -m benchmarks.store_redis [--server valkey8]`.

Counted by the server itself (CPU, commands, time in scripts): a busy machine disturbs it little. Rows: how many lanes
hold due jobs; every claim names all their tasks. An idle claim looks at lanes that are all due later.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from tests.servers.redis import RedisServer

from mainspring.core.ids import new_id, new_token
from mainspring.core.job import Job, State
from mainspring.stores import open_store
from mainspring.stores.base import BATCH_ROWS, Store

LANES = (1, 20, 100, 300)
JOBS = 6_000
LATER = 3_600_000


class Cost(NamedTuple):
    """Of one call on average."""

    cpu: float
    """us of the server's CPU."""
    script: float
    """us that the script blocked the server."""
    commands: float
    """With those that the script makes."""


def job(task: str, due: int) -> Job:
    now = time.time_ns() // 1_000_000
    return Job(id=new_id(), task=task, due_at=due, created_at=now, scheduled_at=due, input='{"to":"a@example.org"}')


async def cost(server: RedisServer, calls: Callable[[], Awaitable[int]]) -> Cost:
    """What one of the calls costs that `calls` makes and counts."""
    server.command("CONFIG", "RESETSTAT")
    before = _cpu(server)
    made = await calls()
    used = _cpu(server) - before
    stats: dict[str, Any] = server.info("commandstats")
    ours = {name: each for name, each in stats.items() if name not in ("cmdstat_info", "cmdstat_config|resetstat")}
    script = ours.get("cmdstat_evalsha", {"usec": 0})["usec"]
    return Cost(used / made * 1e6, script / made, sum(each["calls"] for each in ours.values()) / made)


def _cpu(server: RedisServer) -> float:
    info = server.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def add(store: Store, jobs: list[Job]) -> None:
    for first in range(0, len(jobs), BATCH_ROWS):
        await store.add(jobs[first : first + BATCH_ROWS])


async def measure(server: RedisServer, store: Store, lanes: int, limit: int) -> list[Cost]:
    """An idle claim, a claim of `limit` jobs, and the save of their settles."""
    server.flush()
    await store.close()
    await store.open()
    tasks: dict[str, int | None] = dict.fromkeys(f"task-{n:03}" for n in range(lanes))
    now = await store.time()
    names = list(tasks)
    await add(store, [job(names[n % lanes], now + LATER) for n in range(JOBS)])
    held: list[list[Job]] = []

    async def claims(at: int, times: int) -> int:
        for _ in range(times):
            claim = await store.claim("default", tasks, "bench:1", new_token(), at, at + 2 * LATER, limit)
            held.append(claim.jobs)
        return times

    async def saves() -> int:
        batches = [[j.evolve(state=State.COMPLETED, settled=j.claims, input=None) for j in jobs] for jobs in held]
        for batch in batches:
            await store.save(batch)
        return len(batches)

    idle = await cost(server, lambda: claims(now, 200))
    held.clear()
    busy = await cost(server, lambda: claims(now + LATER, 2_000 // limit))
    return [idle, busy, await cost(server, saves)]


async def main(kind: str) -> None:
    server = RedisServer.started(kind)
    store = open_store(server.url)
    try:
        await store.open()
        print(f"{kind}: us of server CPU, us in the script, commands per call")
        print(f"{'lanes':>5} {'limit':>5}   {'idle claim':^22} {'claim':^22} {'save':^22}  {'us CPU per job':>14}")
        for limit in (1, 10, 100):
            for lanes in LANES:
                costs = await measure(server, store, lanes, limit)
                shown = " ".join(f"{c.cpu:7.0f} {c.script:7.0f} {c.commands:6.1f}" for c in costs)
                per_job = (costs[1].cpu + costs[2].cpu) / limit
                print(f"{lanes:5} {limit:5}   {shown}  {per_job:14.1f}")
    finally:
        await store.close()
        server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="redis7", help="redis7, redis62 or valkey8")
    asyncio.run(main(parser.parse_args().server))
