"""A row that a user's own open transaction has written: it waits for the commit, and holds up nothing but itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.core.job import Job, State
from mainspring.errors import StoreUnavailable
from mainspring.stores.base import Beat
from tests.factory import LEASE, NOW, make_job
from tests.servers.mongo import MongoServer
from tests.stores.mongo.rig import CALL, claim, settled, store_at, their_client, turn, until, with_options

BLOCKED = "a"
OTHERS = [f"j{n}" for n in range(8)]


@contextmanager
def written_by_a_user(url: str, id: str = BLOCKED) -> Iterator[Any]:
    """An open transaction that has written this row; committed by whoever has it, else rolled back."""
    with their_client(url) as user, user.start_session() as session:
        session.start_transaction()
        jobs = user.get_default_database()["mainspring_jobs"]
        jobs.update_one({"_id": id}, {"$inc": {"version": 1}}, session=session)
        yield session
        if session.in_transaction:
            session.abort_transaction()


@pytest.mark.parametrize("cap", [None, 20])
async def test_claims_take_the_others_and_are_not_slowed_each_time(hurt_url: str, cap: int | None) -> None:
    """The blocked row is the first in its lane: an update that comes to it waits."""
    loop = asyncio.get_running_loop()
    tasks = {"t": cap}
    async with store_at(hurt_url, timeout=40) as store:
        await store.add([make_job(id) for id in (BLOCKED, *OTHERS)])
        with written_by_a_user(hurt_url) as session:
            begun = loop.time()
            taken: list[Job] = []
            times = []
            for _ in range(8):
                before = loop.time()
                taken += await claim(store, tasks, limit=1)
                times.append(round(loop.time() - before, 2))
            print(f"cap {cap}: claims took {times} s")
            assert sorted(job.id for job in taken) == OTHERS
            assert loop.time() - begun < 20
            assert sorted(times)[len(times) // 2] < 0.5, "one of them finds out"
            await store.add([make_job("late")])
            assert [job.id for job in await claim(store, tasks)] == ["late"]
            session.commit_transaction()

        async def goes_on() -> bool:
            return [job.id for job in await claim(store, tasks)] == [BLOCKED]

        await until(goes_on, "the row to be claimed after the commit")


@pytest.mark.parametrize("cap", [None, 20])
async def test_one_claim_of_many_takes_all_but_the_blocked_row(hurt_url: str, cap: int | None) -> None:
    loop = asyncio.get_running_loop()
    async with store_at(hurt_url, timeout=40) as store:
        await store.add([make_job(id) for id in (BLOCKED, *OTHERS)])
        with written_by_a_user(hurt_url):
            begun = loop.time()
            taken = await claim(store, {"t": cap})
            print(f"cap {cap}: took {loop.time() - begun:.2f} s")
            assert sorted(job.id for job in taken) == OTHERS
            assert loop.time() - begun < 20


async def test_renewals_and_saves_of_others_land_in_time(hurt_url: str) -> None:
    loop = asyncio.get_running_loop()
    async with store_at(hurt_url, timeout=40) as store:
        await store.add([make_job(id) for id in (BLOCKED, *OTHERS)])
        held = {job.id: job for job in await claim(store)}
        with written_by_a_user(hurt_url) as session:
            begun = loop.time()
            beats = [Beat(job.id, job.token) for job in held.values()]
            rows = {row.id: row for row in await store.renew(beats, NOW + 2 * LEASE)}
            print(f"renewed in {loop.time() - begun:.2f} s")
            assert loop.time() - begun < 20, "a beat"
            assert set(rows) == {BLOCKED, *OTHERS}, "the blocked one is owned"
            assert {rows[id].due_at for id in OTHERS} == {NOW + 2 * LEASE}
            assert rows[BLOCKED].due_at == NOW + LEASE, "it says how long"
            begun = loop.time()
            with pytest.raises(StoreUnavailable):
                await store.save([settled(row) for row in rows.values()])
            print(f"saved in {loop.time() - begun:.2f} s")
            assert loop.time() - begun < 20
            states = {row.id: row.state for row in await store.get([BLOCKED, *OTHERS]) if row is not None}
            assert states == dict.fromkeys(OTHERS, State.COMPLETED) | {BLOCKED: State.RUNNING}
            session.commit_transaction()
        [row] = await store.get([BLOCKED])
        assert row is not None
        [saved] = await store.save([settled(row)])
        assert saved is not None


async def test_a_worker_whose_running_job_is_asked_for_again_in_a_long_transaction(
    hurt_server: MongoServer, hurt_url: str
) -> None:
    """The ask joins the running job, by `session=`, and stays open over several beats; then the job runs again."""
    app = Mainspring(with_options(hurt_url, timeout=CALL))
    began, go_on = asyncio.Event(), asyncio.Event()
    ran: list[tuple[str, int]] = []

    @app.task(debounce="1ms")
    async def index(n: int) -> None:
        began.set()
        await go_on.wait()
        ran.append(("index", n))

    @app.task
    async def other(n: int) -> None:
        ran.append(("other", n))

    with their_client(hurt_url) as user:
        async with app.worker(lease=6, beat=0.5, poll=0.5, concurrency=10) as worker:
            job = await index.enqueue(1)
            await asyncio.wait_for(began.wait(), 60)
            with user.start_session() as session:
                session.start_transaction()
                await index.options(session=session).enqueue(2)
                await app.enqueue_many([other.job(n) for n in range(20)])
                await until(lambda: len(ran) == 20, "the others to run")
                await turn(4)  # several beats
                assert [hold.stop for hold in worker.desk.holds] == [None], "its lease lives, and it is not told lost"
                session.commit_transaction()
            go_on.set()
            await until(lambda: len(ran) == 22, "the ask to run")
            await job.result(timeout=60)
        assert [each for each in ran if each[0] == "index"] == [("index", 1), ("index", 2)]
        row = await job.get()
        assert [run.outcome for run in row.runs] == ["succeeded", "succeeded"]
    await app.close()
