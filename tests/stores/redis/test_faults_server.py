"""Servers that restart, stand still, load, refuse or forget: workers go on by themselves within seconds."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import BusyLoadingError, ConnectionError, ResponseError

from mainspring import Mainspring
from mainspring.errors import StoreFull, StoreUnavailable, UnknownTask
from mainspring.stores.base import Query
from mainspring.worker import worker
from tests.servers.redis import RedisServer, client, execute
from tests.stores.redis.audit import audit
from tests.stores.redis.rig import CALL, EVERY, NEW, ONE, kinds, rig_to, runs_add_up, server_of, turn, until, working

DURABLE = {"appendonly": "yes", "appendfsync": "always"}


# -- restarts ----------------------------------------------------------------------------------------------------------


@EVERY
async def test_a_restart_without_persistence_loses_the_jobs_and_nothing_else(kind: str) -> None:
    with server_of(kind) as server:
        async with rig_to(server.url) as rig, working(rig) as idle:
            rig.go_on.clear()
            held = await rig.ask(5)
            await until(lambda: all(rig.begun[n] for n in held), "them to begin")
            await rig.ask(50)
            server.kill()
            server.start()
            assert server.command("KEYS", "{mainspring}:job:*") == []
            rig.go_on.set()
            await rig.goes_on()
            await until(lambda: idle.desk.running == 0, "the lost runs to end")
            assert len(await rig.jobs()) == 1


@ONE
async def test_after_all_was_lost_others_find_the_tasks_of_the_workers_again(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SHOWN_FOR", 2_000)
    with server_of(kind) as server:
        async with rig_to(server.url) as rig, working(rig):
            await until(lambda: server.command("EXISTS", "{mainspring}:rec:worker"), "the worker to have shown itself")
            server.flush()
            stranger = Mainspring(server.url)
            await until(lambda: _enqueues(stranger), "the tasks to be announced again")
            await until(lambda: rig.ran[77], "the job to run")
            await stranger.close()


async def _enqueues(app: Mainspring) -> bool:
    try:
        await app.enqueue("job", {"n": 77})
    except UnknownTask:
        return False
    return True


@EVERY
async def test_a_restart_with_an_append_only_file_loses_nothing(kind: str) -> None:
    with server_of(kind, **DURABLE) as server:
        async with rig_to(server.url) as rig, working(rig):
            for _ in range(3):
                asking = asyncio.create_task(rig.ask(100))
                before = sum(rig.ran.values())
                await until(lambda before=before: sum(rig.ran.values()) > before + 10, "some runs")  # type: ignore[misc]
                server.kill()
                server.start()
                await rig.done(await asking)
            await runs_add_up(rig)


@pytest.mark.slow
@ONE
async def test_a_server_that_stays_away_for_a_while(kind: str) -> None:
    with server_of(kind, **DURABLE) as server:
        async with rig_to(server.url) as rig, working(rig):
            server.kill()
            await turn(3 * CALL)
            server.start()
            await rig.goes_on()


@NEW
async def test_a_server_that_loads_its_data(kind: str) -> None:
    slowly = {"loading_process_events_interval_bytes": "1024", "key_load_delay": "3000"}
    with server_of(kind, **slowly) as server:
        async with rig_to(server.url) as rig, working(rig):
            await rig.done(await rig.ask(300))
            server.command("SAVE")
            server.kill()
            server.launch()
            await until(lambda: _loading(server), "it to load")
            await rig.goes_on()
            assert set(rig.ran.values()) == {1}


def _loading(server: RedisServer) -> bool:
    try:
        server.command("GET", "any")
    except BusyLoadingError:
        return True
    except ConnectionError:
        pass
    return False


# -- standing still ----------------------------------------------------------------------------------------------------


@ONE
async def test_a_server_that_stands_still(kind: str) -> None:
    """For longer than a call may take: what was sent takes effect when it thaws, and runs once."""
    with server_of(kind) as server:
        async with rig_to(server.url) as rig, working(rig, lease=10):
            for _ in range(2):
                asking = asyncio.create_task(rig.ask(40))
                await turn(0)
                server.freeze()
                await turn(2 * CALL)
                server.thaw()
                await rig.done(await asking)
            await runs_add_up(rig)
            assert set(rig.ran.values()) == {1}


@NEW
async def test_a_server_that_is_busy_with_somebody_s_script(kind: str) -> None:
    with server_of(kind, lua_time_limit="20") as server:
        async with rig_to(server.url) as rig, working(rig):
            endless = asyncio.create_task(asyncio.to_thread(_run_for_ever, server.url))
            await turn(3 * CALL)
            server.command("SCRIPT", "KILL")
            await endless
            await rig.goes_on()
            assert set(rig.ran.values()) == {1}


def _run_for_ever(url: str) -> None:
    with client(url) as connection, pytest.raises(ResponseError, match="killed"):
        execute(connection, "EVAL", "while true do end", 0)


# -- refusing ----------------------------------------------------------------------------------------------------------


@EVERY
async def test_a_master_that_is_a_replica_for_a_while(kind: str) -> None:
    with server_of(kind) as server:
        async with rig_to(server.url) as rig, working(rig, lease=10):
            rig.go_on.clear()
            held = await rig.ask(5)
            await until(lambda: all(rig.begun[n] for n in held), "them to begin")
            server.command("REPLICAOF", "127.0.0.1", "1")
            rig.go_on.set()
            await turn(2 * CALL)
            server.command("REPLICAOF", "NO", "ONE")
            await rig.done(held)
            await rig.goes_on()
            assert set(rig.ran.values()) == {1}


@pytest.mark.slow
@ONE
async def test_a_server_that_cannot_save_and_refuses_writes(kind: str) -> None:
    with server_of(kind, save="3600 1000000") as server:
        async with rig_to(server.url) as rig, working(rig):
            in_the_way = server.folder / "dump.rdb"
            in_the_way.mkdir()
            server.command("BGSAVE")
            await until(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "err", "the save to fail")
            with pytest.raises(StoreUnavailable, match="cannot save"):
                await rig.job.enqueue(1_000)
            in_the_way.rmdir()
            server.command("BGSAVE")
            await rig.goes_on()


@ONE
async def test_scripts_that_are_flushed_in_the_middle(kind: str) -> None:
    with server_of(kind) as server:
        async with rig_to(server.url) as rig, working(rig):
            for _ in range(5):
                asking = asyncio.create_task(rig.ask(60))
                await turn(0)
                server.command("SCRIPT", "FLUSH")
                await rig.done(await asking)
            assert set(rig.ran.values()) == {1}


# -- full --------------------------------------------------------------------------------------------------------------


@NEW
async def test_a_full_server_takes_no_job_and_finishes_those_it_has(kind: str) -> None:
    with server_of(kind, maxmemory_policy="noeviction") as server:
        async with rig_to(server.url) as rig, working(rig):
            rig.go_on.clear()
            numbers = await rig.ask(60)
            await until(lambda: sum(rig.begun.values()) > 20, "some to begin")
            fill(server)
            with pytest.raises(StoreFull):
                await rig.job.enqueue(1_000)
            rig.go_on.set()
            await rig.done(numbers)
            with pytest.raises(StoreFull):
                await rig.job.enqueue(1_001)
            server.command("CONFIG", "SET", "maxmemory", "0")
            await rig.goes_on()
            assert set(rig.ran.values()) == {1}
            await runs_add_up(rig)


@pytest.mark.slow
@pytest.mark.parametrize("kind", kinds("redis62"))
async def test_an_old_full_server_holds_up_the_jobs_and_breaks_nothing(kind: str) -> None:
    """Redis 6.2 knows no script that may run over its limit: nothing moves, but what there is stays whole."""
    with server_of(kind, maxmemory_policy="noeviction") as server:
        async with rig_to(server.url) as rig, working(rig):
            rig.go_on.clear()
            numbers = await rig.ask(60)
            await until(lambda: sum(rig.begun.values()) > 20, "some to begin")
            fill(server)
            with pytest.raises(StoreFull):
                await rig.job.enqueue(1_000)
            rig.go_on.set()
            await turn(2 * CALL)
            audit(server.url)
            server.command("CONFIG", "SET", "maxmemory", "0")
            await rig.done(numbers)
            await rig.goes_on()
            await runs_add_up(rig)


def fill(server: RedisServer) -> None:
    """Leave no room: the limit is below what is used."""
    server.command("CONFIG", "SET", "maxmemory", "1")


@NEW
async def test_a_full_server_lets_jobs_be_cancelled_and_purged(kind: str) -> None:
    with server_of(kind, maxmemory_policy="noeviction") as server:
        async with rig_to(server.url) as rig:
            numbers = await rig.ask(20)
            fill(server)
            jobs = await rig.jobs()
            assert len(jobs) == len(numbers)
            for job in jobs:
                assert await rig.app.cancel(job.id)
            store = (await rig.app.connect()).store
            later = max(job.expires_at or 0 for job in await rig.jobs())
            while await store.purge(later, 100):
                pass
            assert not [row for row in await store.count(Query()) if row.jobs]
            assert not await rig.jobs()
