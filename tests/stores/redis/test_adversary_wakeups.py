"""No job waits while somebody sleeps who could run it: with waits of a minute, each of these would wait that long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest

from mainspring.core.ids import new_token
from mainspring.core.job import Job
from mainspring.core.records import GATE, Record, queue_gate
from mainspring.stores.base import Store
from mainspring.stores.redis import RedisStore
from tests.factory import LEASE, NOW, FakeClock, make_job
from tests.servers import namespaces
from tests.servers.shared import Shared
from tests.stores.redis.audit import audit
from tests.stores.redis.rig import ONE, server_of, turn, until

LONG = 200.0
PROMPT = 40.0
NAMESPACE = "wakeups"


class Sleeper:
    """A store that claims one job at a time and then waits, as an idle worker does."""

    def __init__(self, store: Store, queues: Sequence[str], tasks: Sequence[str]) -> None:
        self.store, self.queues = store, list(queues)
        self.tasks: dict[str, int | None] = dict.fromkeys(tasks)
        self.waiting: asyncio.Task[bool] | None = None

    async def claim(self, queue: str, now: int = NOW, limit: int = 1) -> list[Job]:
        claim = await self.store.claim(queue, self.tasks, "w:1", new_token(), now, now + LEASE, limit)
        return claim.jobs

    async def lie_down(self, server: Shared) -> None:
        """Claim in vain, and wait."""
        for queue in self.queues:
            assert await self.claim(queue) == []
        before = _blocked(server)
        self.waiting = asyncio.create_task(self.store.wait(self.queues, LONG))
        await until(lambda: _blocked(server) > before, "the wait to begin")

    async def woken(self, within: float = PROMPT) -> bool:
        assert self.waiting is not None
        await asyncio.wait([self.waiting], timeout=within)
        return self.waiting.done() and self.waiting.result()

    async def end(self) -> None:
        if self.waiting is not None:
            self.waiting.cancel()
            await asyncio.gather(self.waiting, return_exceptions=True)


def _blocked(server: Shared) -> int:
    return int(server.command("INFO", "clients")["blocked_clients"])


class Fleet:
    """Sleepers on one server, and a client."""

    def __init__(self, server: Shared, stack: AsyncExitStack) -> None:
        self.server, self._stack = server, stack

    async def store(self) -> Store:
        store = RedisStore(f"{self.server.url}?namespace={NAMESPACE}", FakeClock())
        await store.open()
        self._stack.push_async_callback(store.close)
        return store

    async def sleeper(self, queues: Sequence[str] = ("default",), tasks: Sequence[str] = ("t",)) -> Sleeper:
        """One that sleeps. Of several, the one that has slept longest is woken first."""
        sleeper = Sleeper(await self.store(), queues, tasks)
        self._stack.push_async_callback(sleeper.end)
        await sleeper.lie_down(self.server)
        return sleeper


@pytest.fixture
async def fleet(redis_server: Shared) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        yield Fleet(redis_server, stack)
    audit(redis_server.url, NAMESPACE)
    namespaces.drop(redis_server.url, NAMESPACE)


async def test_who_is_woken_for_a_queue_and_filled_by_another_passes_it_on(fleet: Fleet) -> None:
    both, one = await fleet.sleeper(["a", "b"]), await fleet.sleeper(["a"])
    client = await fleet.store()
    await client.add([make_job("in a", queue="a")])
    assert await both.woken()
    await client.add([make_job("in b", queue="b")])
    assert [job.id for job in await both.claim("b")] == ["in b"]
    assert await one.woken()
    assert [job.id for job in await one.claim("a")] == ["in a"]


async def test_who_alone_knows_of_a_delayed_job_and_gets_busy_passes_it_on(fleet: Fleet) -> None:
    knows, other = await fleet.sleeper(tasks=["t", "u"]), await fleet.sleeper()
    client = await fleet.store()
    await client.add([make_job("later", due=NOW + 1_000)])
    assert await knows.woken()
    assert await knows.claim("default") == []
    await client.add([make_job("sooner", task="u"), make_job("soon", task="u", due=NOW + 500)])
    assert [job.id for job in await knows.claim("default")] == ["sooner"]
    assert await other.woken()


async def test_a_lane_of_another_priority_that_is_due_keeps_its_hint(fleet: Fleet) -> None:
    """A claim that empties one lane of a task must not take the hint of its other lanes."""
    busy = Sleeper(await fleet.store(), ["default"], ["t", "u"])
    client = await fleet.store()
    await client.add([make_job("high", priority=90), make_job("low", priority=10), make_job("u", task="u")])
    assert [job.id for job in await busy.claim("default")] == ["high"]
    sleeper = Sleeper(await fleet.store(), ["default"], ["t"])
    assert (await sleeper.store.claim("default", {"t": 0}, "w:2", new_token(), NOW, NOW + 1, 1)).jobs == []
    assert await sleeper.store.wait(["default"], LONG)


async def test_a_hint_that_comes_as_its_wait_is_cancelled_is_not_lost(fleet: Fleet) -> None:
    first, second = await fleet.sleeper(), await fleet.sleeper()
    task = first.waiting
    assert task is not None
    [wait] = first.store._hints._waiting  # type: ignore[attr-defined]
    deliver = wait.set_result

    def cancel_and_deliver(reply: object) -> None:
        task.cancel()
        deliver(reply)

    wait.set_result = cancel_and_deliver
    await (await fleet.store()).add([make_job()])
    await asyncio.wait([task])
    assert task.cancelled()
    assert await second.woken()


async def test_who_is_woken_and_does_not_look_passes_it_on(fleet: Fleet) -> None:
    """As a worker does that was paused, is stopping, or met an error."""
    first, second = await fleet.sleeper(), await fleet.sleeper()
    await (await fleet.store()).add([make_job()])
    assert await first.woken()
    assert await second.woken()


async def test_who_is_closed_passes_on_what_it_knew(fleet: Fleet) -> None:
    first, second = await fleet.sleeper(), await fleet.sleeper()
    await (await fleet.store()).add([make_job(due=NOW + 1_000)])
    assert await first.woken()
    assert await first.claim("default") == []
    await first.store.close()
    assert await second.woken()


async def test_leases_that_are_ended_by_hand_wake_as_many_as_they_need(fleet: Fleet) -> None:
    client = await fleet.store()
    dead = Sleeper(client, ["default"], ["t"])
    await client.add([make_job(id) for id in "abc"])
    held = await dead.claim("default", limit=3)
    sleepers = [await fleet.sleeper() for _ in range(3)]
    assert all(await client.save([job.evolve(due_at=NOW) for job in held]))
    for sleeper in sleepers:
        assert await sleeper.woken()
        assert len(await sleeper.claim("default")) == 1


async def test_four_workers_are_woken_by_a_thousand_jobs_and_one_by_one(fleet: Fleet) -> None:
    sleepers = [await fleet.sleeper() for _ in range(4)]
    client = await fleet.store()
    await client.add([make_job() for _ in range(500)])
    for sleeper in sleepers:
        assert await sleeper.woken()
        assert len(await sleeper.claim("default", limit=10)) == 10
    rest = Sleeper(client, ["default"], ["t"])
    assert len(await rest.claim("default", limit=500)) == 460
    again = [await fleet.sleeper() for _ in range(4)]
    await client.add([make_job()])
    assert await again[0].woken()
    assert len(await again[0].claim("default", limit=10)) == 1
    await turn(0.7)
    assert not any(sleeper.waiting and sleeper.waiting.done() for sleeper in again[1:])


async def test_a_resumed_queue_wakes_one_for_each_of_its_lanes(fleet: Fleet) -> None:
    client = await fleet.store()
    [gate] = await client.write([Record(kind=GATE, name=queue_gate("default"), written_at=NOW)])
    sleepers = [await fleet.sleeper(tasks=[task]) for task in "tu"]
    await client.add([make_job(task=task) for task in "tu"])
    for sleeper in sleepers:
        assert await sleeper.woken(), "for what was added; it cannot be had yet"
        await sleeper.lie_down(fleet.server)
    assert gate is not None
    assert await client.erase(gate)
    for sleeper in sleepers:
        assert await sleeper.woken()
        assert len(await sleeper.claim("default")) == 1


@ONE
async def test_a_gate_costs_one_round_trip_however_many_origins_its_jobs_have(kind: str) -> None:
    with server_of(kind) as server:
        store = RedisStore(server.url, FakeClock())
        await store.open()
        for first in range(0, 2_000, 500):
            await store.add([make_job(origin=f"cron:{first + n}") for n in range(500)])
        server.command("CONFIG", "RESETSTAT")
        [gate] = await store.write([Record(kind=GATE, name=queue_gate("default"), written_at=NOW)])
        assert gate is not None
        assert await store.erase(gate)
        sent = sum(usage["calls"] for usage in server.info("commandstats").values())
        assert sent < 50
        await store.close()
