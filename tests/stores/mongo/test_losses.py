"""What is lost when, as the page on guarantees says it."""

from __future__ import annotations

import asyncio

import pytest

from mainspring.core.ids import new_token
from mainspring.core.job import Job, State
from mainspring.core.records import COMPLETION, Record
from mainspring.errors import StoreError, StoreFull, StoreUnavailable
from mainspring.stores.base import Beat, Query, Store
from tests.factory import NOW, make_job
from tests.servers.mongo import MongoServer
from tests.servers.replica_set import MongoReplicaSet
from tests.servers.waiting import until
from tests.stores.mongo.rig import all_jobs, claim, settled, store_at

pytestmark = pytest.mark.slow


async def once_it_answers(store: Store) -> None:
    """Wait until somebody takes writes again; calls fail meanwhile."""
    for _ in range(60):
        try:
            await store.add([make_job("probe", task="probe")])
        except StoreUnavailable:
            continue
        return
    raise AssertionError("no call came through")


async def a_mixed_life(store: Store) -> tuple[set[str], list[Job]]:
    """Some jobs that wait, some that run, some that have ended; answers all ids, and those that run."""
    added = await store.add([make_job() for _ in range(30)])
    held = await claim(store, limit=20)
    saved = await store.save([settled(job) for job in held[:10]])
    assert None not in saved
    return {job.id for job in added}, held[10:]


async def is_as_it_was(store: Store, ids: set[str], held: list[Job]) -> None:
    states = [job.state for job in await all_jobs(store) if job.id in ids]
    assert [states.count(state) for state in (State.WAITING, State.RUNNING, State.COMPLETED)] == [10, 10, 10]
    saved = await store.save([settled(job) for job in held])
    assert None not in saved, "who held it holds it"


async def test_a_server_that_is_killed_has_lost_nothing_when_it_is_back() -> None:
    with MongoServer.started() as server:
        async with store_at(server.url_of("test")) as store:
            ids, held = await a_mixed_life(store)
            server.kill()
            with pytest.raises(StoreUnavailable):
                await store.add([make_job()])
            server.start()
            await once_it_answers(store)
            await is_as_it_was(store, ids, held)


async def test_a_failover_loses_nothing_that_was_accepted() -> None:
    with MongoReplicaSet.started() as group:
        async with store_at(group.url_of("test"), timeout=5) as store:
            ids, held = await a_mixed_life(store)
            lost = group.kill_primary()
            await asyncio.to_thread(group.wait_for_primary, other_than=lost)
            await once_it_answers(store)
            await is_as_it_was(store, ids, held)


async def test_what_was_enqueued_during_an_election_is_there_or_was_refused() -> None:
    with MongoReplicaSet.started() as group:
        async with store_at(group.url_of("test"), timeout=5) as store:
            accepted: set[str] = set()

            async def add(n: int) -> None:
                try:
                    await store.add([make_job(f"job-{n}")])
                except StoreUnavailable:
                    return
                accepted.add(f"job-{n}")

            stepping = asyncio.create_task(asyncio.to_thread(group.step_down, 2))
            for first in range(0, 200, 10):
                await asyncio.gather(*(add(n) for n in range(first, first + 10)))
            await stepping
            await once_it_answers(store)
            stored = {job.id for job in await all_jobs(store)}
        assert accepted <= stored
        assert len(accepted) > 100, "an election is waited for, not failed"


async def test_documents_that_were_deleted_by_hand_hinder_nobody(hurt_server: MongoServer, hurt_url: str) -> None:
    async with store_at(hurt_url) as store:
        await store.add([make_job(f"job-{n}") for n in range(10)])
        held = await claim(store, limit=2)
        name = hurt_url.rpartition("/")[2].partition("?")[0]
        hurt_server.client[name]["mainspring_jobs"].delete_many({"_id": {"$in": ["job-5", held[0].id]}})
        assert [job is None for job in await store.save([settled(job) for job in held])] == [True, False]
        assert len(await claim(store)) == 7
        assert sum(row.jobs for row in await store.count(Query())) == 8


async def test_a_full_disk_takes_no_job_and_says_so(hurt_server: MongoServer, hurt_url: str) -> None:
    async with store_at(hurt_url) as store:
        with hurt_server.fail("insert", errorCode=14031, appName="mainspring"), pytest.raises(StoreFull, match="disk"):
            await store.add([make_job("never")])
        assert await store.get(["never"]) == [None]


async def test_a_stale_claim_writes_nothing(hurt_url: str) -> None:
    """As after a failover that lost a claim (w=1): the row is somebody else's by then."""
    async with store_at(hurt_url) as store:
        await store.add([make_job("wanted")])
        [first] = await claim(store)
        after = first.due_at + 1
        [second] = (await store.claim("default", {"t": None}, "w:2", new_token(), after, after + 15_000, 1)).jobs
        assert await store.save([settled(first)]) == [None]
        [stored] = await store.get(["wanted"])
        assert stored is not None
        assert (stored.token, stored.state) == (second.token, State.RUNNING)


async def test_a_server_that_is_away_is_told_in_time() -> None:
    with MongoServer.started() as server:
        async with store_at(server.url_of("test"), timeout=1) as store:
            server.freeze()
            with pytest.raises(StoreError):
                async with asyncio.timeout(60):
                    await store.add([make_job()])
            server.thaw()
            await until_there(server)


async def until_there(server: MongoServer) -> None:
    await asyncio.to_thread(until, server.is_primary, "the server to be there again", 20)


async def test_an_open_transaction_keeps_nobody_from_renewing_leases(hurt_url: str) -> None:
    """A completion is a record of its own, so the job's row is free; and one that is held keeps back no other."""
    async with store_at(hurt_url, timeout=5) as store:
        await store.add([make_job() for _ in range(20)])
        held = await claim(store)
        beats = [Beat(job.id, job.token) for job in held]
        until = held[0].due_at
        async with store.transaction() as session:
            done = Record(kind=COMPLETION, name=f"{held[0].id}:ask:1", written_at=NOW)
            assert await store.write([done], within=session) != [None]
            renewed = await store.renew(beats, until + 1)
            assert [job.due_at for job in renewed] == [until + 1] * 20
        async with store.transaction() as session:
            assert await store.save([settled(renewed[1])], within=session) != [None]
            renewed = await store.renew(beats, until + 2)
            assert len(renewed) == 20, "owned as long as it is not committed"
            assert [job.due_at for job in renewed].count(until + 2) == 19, "all but the one whose row is held"
