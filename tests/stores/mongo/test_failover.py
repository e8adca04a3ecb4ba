"""Elections on three members: what was acknowledged is there afterwards, answers are true, and workers go on alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from time import monotonic
from typing import TypeVar

import pytest

from mainspring.core import states
from mainspring.core.ids import new_id, new_token
from mainspring.core.job import Job, State
from mainspring.core.policy import Policy
from mainspring.errors import StoreUnavailable
from mainspring.stores.base import Beat, Query
from mainspring.stores.mongo import MongoStore
from tests.factory import LEASE, NOW, make_job
from tests.servers.mongo import MongoServer
from tests.servers.replica_set import MongoReplicaSet
from tests.servers.waiting import until as wait_for
from tests.stores.mongo.rig import claim, rig_to, settled, store_at, turn, until

T = TypeVar("T")


@pytest.fixture(scope="module")
def group() -> Iterator[MongoReplicaSet]:
    with MongoReplicaSet.started(transactionLifetimeLimitSeconds=5) as found:
        yield found


@pytest.fixture(scope="module")
def admin(group: MongoReplicaSet) -> Iterator[Executor]:
    """A thread that lasts: a server ends with the thread that has started it."""
    with ThreadPoolExecutor(1) as found:
        found.submit(group.wait_in_step).result()
        yield found


@pytest.fixture(autouse=True)
async def whole(group: MongoReplicaSet, admin: Executor) -> AsyncIterator[None]:
    """Each test begins with three members in step: one that has just come back may have to catch up first, and while
    another one is away nothing is written by the majority."""
    yield
    await do(admin, group.heal)


async def do(admin: Executor, act: Callable[..., T], *args: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(admin, act, *args)


def killed(group: MongoReplicaSet) -> Callable[[], object]:
    lost = group.kill_primary()
    group.wait_for_primary(other_than=lost)
    return lambda: bring_back(lost)


def stepped_down(group: MongoReplicaSet) -> Callable[[], object]:
    lost = group.step_down()
    group.wait_for_primary(other_than=lost)
    return group.wait_for_primary


def frozen(group: MongoReplicaSet) -> Callable[[], object]:
    lost = group.freeze_primary()
    group.wait_for_primary(other_than=lost)

    def thaw() -> None:
        lost.thaw()
        group.wait_for_primary()

    return thaw


def restarted(group: MongoReplicaSet) -> Callable[[], object]:
    """One member after the other, the primary last, as in an upgrade."""
    for member in [*group.secondaries(), group.primary()]:
        member.stop()
        group.wait_for_primary(other_than=member)
        bring_back(member)
    return group.wait_for_primary


def bring_back(member: MongoServer) -> None:
    """Until it follows again. Nobody is ever quite in step while others write."""
    member.answering()
    wait_for(lambda: member.hello().get("secondary"), "it to be a secondary")


WAYS = pytest.mark.parametrize("way", [killed, stepped_down, frozen, restarted], ids=lambda way: way.__name__)


class Oracle:
    """A loop of add, claim, renew, save and give back on one store, and what was answered to it."""

    def __init__(self, store: MongoStore) -> None:
        self.store = store
        self.added: set[str] = set()
        self.done: dict[str, int] = {}
        """By id: the version that a save has answered."""
        self.in_doubt: set[str] = set()
        """Settles whose answer was lost."""
        self.failures = 0
        self.longest = 0.0
        self.ends = False

    async def run(self) -> None:
        while not self.ends:
            begun = monotonic()
            try:
                await self._round()
            except StoreUnavailable:
                self.failures += 1
            self.longest = max(self.longest, monotonic() - begun)
            await turn(0.002)

    async def _round(self) -> None:
        jobs = [make_job(new_id()) for _ in range(5)]
        self.added |= {row.id for row in await self.store.add(jobs)}
        token = new_token()
        try:
            held = await claim(self.store, token=token, limit=5)
        except StoreUnavailable:
            await self._give_back(token)
            raise
        try:
            held = await self.store.renew([Beat(job.id, job.token) for job in held], NOW + 2 * LEASE)
            await self._save(held)
        except StoreUnavailable:
            await self._give_back(token)
            raise

    async def _save(self, held: list[Job]) -> None:
        self.in_doubt |= {job.id for job in held}
        rows = await self.store.save([settled(job) for job in held])
        for job, row in zip(held, rows, strict=True):
            assert row is not None, "nobody else has its token: this answer is not true"
            assert job.id not in self.done, "settled twice"
            self.done[job.id] = row.version
            self.in_doubt.discard(job.id)

    async def _give_back(self, token: str) -> None:
        """As a worker does: find what carries the token, and release it; again until it is answered."""
        while True:
            try:
                page = await self.store.find(Query(states=(State.RUNNING,), worker="w:1", limit=500))
                ours = [job for job in page.jobs if job.token == token]
                if ours:
                    await self.store.save([states.release(job, NOW, NOW, Policy()) for job in ours])
                return
            except StoreUnavailable:
                await turn(0.01)

    async def check(self) -> None:
        """After the elections: the rows are what was answered."""
        for first in range(0, len(ids := sorted(self.added)), 500):
            rows = await self.store.get(ids[first : first + 500])
            assert None not in rows, "an acknowledged add is lost"
            for row in rows:
                assert row is not None
                assert row.state in (State.COMPLETED, State.WAITING), row
                assert (row.state is State.COMPLETED) >= (row.id in self.done), "an answered save is lost"
                assert sum(run.outcome == "succeeded" for run in row.runs) == (row.state is State.COMPLETED)
                if row.id in self.done:
                    assert row.version == self.done[row.id], "written after its end"
                elif row.state is State.COMPLETED:
                    assert row.id in self.in_doubt


@WAYS
async def test_every_answer_is_true_after_an_election(
    group: MongoReplicaSet, admin: Executor, way: Callable[[MongoReplicaSet], Callable[[], object]]
) -> None:
    async with store_at(group.url_of(f"answers_{way.__name__}")) as store:
        oracle = Oracle(store)
        at_work = asyncio.create_task(oracle.run())
        await until(lambda: len(oracle.done) > 50 or at_work.done(), "some rounds")
        mend = await do(admin, way, group)
        before = len(oracle.done)
        await until(lambda: len(oracle.done) > before + 50 or at_work.done(), "it to go on")
        await do(admin, mend)
        before = len(oracle.done)
        await until(lambda: len(oracle.done) > before + 50 or at_work.done(), "it to go on")
        oracle.ends = True
        await at_work
        print(f"{way.__name__}: {len(oracle.done)} settled, {oracle.failures} rounds failed, "
              f"the longest took {oracle.longest:.1f} s")  # fmt: skip
        await oracle.check()


@WAYS
async def test_a_worker_goes_on_by_itself(
    group: MongoReplicaSet, admin: Executor, way: Callable[[MongoReplicaSet], Callable[[], object]]
) -> None:
    """300 jobs, through an election: each runs, and is settled once."""
    async with rig_to(group.url_of(f"worker_{way.__name__}"), timeout=5) as rig:
        async with rig.app.worker(concurrency=5, lease=15, beat=2, poll=2):
            numbers = await rig.ask(300)
            await until(lambda: sum(rig.ran.values()) > 30, "some runs")
            begun, before = monotonic(), sum(rig.ran.values())
            mend = await do(admin, way, group)
            elected = monotonic()
            await until(lambda: sum(rig.ran.values()) > before + 10, "it to go on")
            print(f"{way.__name__}: a new primary after {elected - begun:.1f} s, "
                  f"the worker goes on {monotonic() - elected:.1f} s later")  # fmt: skip
            await rig.done(numbers)
            await do(admin, mend)
            await rig.done(await rig.ask(20))
        await rig.runs_add_up()
