"""A server that has forgotten a claim: whoever held it changes nothing any more, and the job runs again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mainspring import Context, Mainspring
from mainspring.core import states
from mainspring.core.ids import new_token
from mainspring.core.job import Job, State
from mainspring.core.outcome import Success
from mainspring.core.policy import Policy
from mainspring.errors import StoreUnavailable
from mainspring.stores.base import Beat, Store
from mainspring.stores.redis import RedisStore
from tests.factory import NOW, FakeClock, make_job
from tests.servers.binaries import needs
from tests.servers.cluster import RedisCluster
from tests.servers.redis import RedisServer
from tests.servers.sentinel import RedisSentinel
from tests.stores.redis.audit import audit
from tests.stores.redis.rig import CALL, NEW, ONE, QUICK, rig_to, runs_add_up, server_of, until, working


class Forgetful:
    """A server that can lose its last writes: restarted from a snapshot, or replaced by a replica that lags."""

    def __init__(self, url: str, keep: Any, lose: Any) -> None:
        self.url, self.keep, self.lose = url, keep, lose


@contextmanager
def restarted(kind: str) -> Iterator[Forgetful]:
    with server_of(kind) as server:

        def lose() -> None:
            server.kill()
            server.start()

        yield Forgetful(server.url, lambda: server.command("SAVE"), lose)


@contextmanager
def failed_over(kind: str) -> Iterator[Forgetful]:
    with RedisSentinel.started(kind) as group:

        def keep() -> None:
            replicate(group.master)
            group.isolate()

        yield Forgetful(group.url, keep, group.fail_over)
        audit(group.master.url)


def replicate(master: RedisServer) -> None:
    """Until the replica has all that was written so far. WAIT waits for the writes of its own connection, so: one."""
    master.command("SET", "last{mainspring}", "1")
    assert master.command("WAIT", 1, 5_000) == 1


WAYS = pytest.mark.parametrize(
    "way", [restarted, pytest.param(failed_over, marks=pytest.mark.slow)], ids=["snapshot", "failover"]
)


@WAYS
@NEW
async def test_an_old_claim_that_was_lost_writes_nothing(kind: str, way: Any) -> None:
    with way(kind) as server:
        clock = FakeClock()
        store = RedisStore(server.url, clock)
        await store.open()
        await store.add([make_job("a"), make_job("b")])
        server.keep()
        old = await claim(store, "w:old")
        server.lose()
        await until(lambda: waiting(store), "the store to be there again")
        new = await claim(store, "w:new")
        assert {job.id for job in new} == {job.id for job in old} == {"a", "b"}
        await nothing_is_changed_by(store, old)
        await settle(store, new)
        await nothing_is_changed_by(store, old)
        assert {job.worker for job in await rows(store)} == {"w:new"}
        await store.close()


async def rows(store: Store) -> list[Job]:
    return [job for job in await store.get(["a", "b"]) if job is not None]


async def waiting(store: Store) -> bool:
    try:
        return {job.state for job in await rows(store)} == {State.WAITING}
    except StoreUnavailable:
        return False


async def claim(store: Store, worker: str) -> list[Job]:
    return (await store.claim("default", {"t": None}, worker, new_token(), NOW, NOW + 15_000, 9)).jobs


async def nothing_is_changed_by(store: Store, old: list[Job]) -> None:
    before = await rows(store)
    assert await store.renew([Beat(job.id, job.token, "50") for job in old], NOW + 99_000) == []
    for version in range(1, 9):
        ended = [states.settle(job, Success(result='"old"'), NOW, Policy()).evolve(version=version) for job in old]
        assert await store.save(ended) == [None, None]
    assert await rows(store) == before


async def settle(store: Store, jobs: list[Job]) -> None:
    saved = await store.save([states.settle(job, Success(result='"new"'), NOW, Policy()) for job in jobs])
    assert [job is not None for job in saved] == [True, True]


@WAYS
@ONE
async def test_workers_run_a_job_again_whose_claim_was_lost(kind: str, way: Any) -> None:
    with way(kind) as server:
        app = Mainspring(f"{server.url}?timeout={CALL}s")
        began: list[asyncio.Event] = []
        lost = asyncio.Event()

        @app.task
        async def job(ctx: Context) -> int:
            number = len(began)
            began.append(asyncio.Event())
            try:
                await began[number].wait()
            except asyncio.CancelledError:
                lost.set()
                raise
            return number

        async with app.worker(**QUICK) as one, app.worker(**QUICK) as other:
            for worker in (one, other):
                worker.pause()
            handle = await job.enqueue()
            server.keep()
            for worker in (one, other):
                worker.resume()
            await until(lambda: began, "it to begin")
            server.lose()
            await until(lambda: len(began) == 2, "it to begin again")
            await until(lost.is_set, "the first run to be told")
            began[1].set()
            assert await handle.result(timeout=60) == 1
        row = await handle.get()
        assert row is not None
        assert [run.outcome for run in row.runs] == ["succeeded"]
        await app.close()


# -- the same with jobs under way: what was acknowledged and told to a replica is not lost ---------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "freeze"),
    [pytest.param("redis7", False, marks=needs("redis7")), pytest.param("valkey8", True, marks=needs("valkey8"))],
)
async def test_workers_follow_the_master_of_their_sentinels(kind: str, freeze: bool) -> None:
    with RedisSentinel.started(kind) as group:
        async with rig_to(group.url) as rig, working(rig, lease=10):
            asked = await rig.ask(100)
            replicate(group.master)
            old = group.master
            await asyncio.to_thread(group.fail_over, freeze)
            await rig.done(asked)
            await rig.goes_on()
            if freeze:
                old.thaw()
                await rig.done(await rig.ask(100))
            await runs_add_up(rig)
        audit(group.master.url)


@pytest.mark.slow
@ONE
async def test_workers_follow_the_slot_of_their_namespace(kind: str) -> None:
    with RedisCluster.started(kind, replicas=True, timeout=1_000) as cluster:
        async with rig_to(cluster.url) as rig, working(rig, lease=10):
            asked = await rig.ask(100)
            replicate(cluster.owner("{mainspring}"))
            await asyncio.to_thread(cluster.fail_over, "{mainspring}")
            await rig.done(asked)
            await rig.goes_on()
            await runs_add_up(rig)
        audit(cluster.owner("{mainspring}").url)


@pytest.mark.slow
@ONE
async def test_workers_follow_a_slot_that_moves(kind: str) -> None:
    with RedisCluster.started(kind) as cluster:
        async with rig_to(cluster.url) as rig, working(rig, lease=10):
            for _ in range(2):
                asking = asyncio.create_task(rig.ask(100))
                source = cluster.owner("{mainspring}")
                target = next(node for node in cluster.masters if node is not source)
                await asyncio.to_thread(cluster.move, "{mainspring}", target)
                await rig.done(await asking)
            await rig.goes_on()
            await runs_add_up(rig)
            assert set(rig.ran.values()) == {1}
        audit(cluster.owner("{mainspring}").url)
