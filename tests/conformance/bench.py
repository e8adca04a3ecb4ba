"""A store, its clock, and short forms of the calls that conformance tests make again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mainspring.core.ids import new_token
from mainspring.core.job import Job
from mainspring.stores.base import Claim, Store
from tests.factory import LEASE, FakeClock


class Bench:
    """The store under test at the time that the test says."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store, self.clock = store, clock

    async def add(self, *jobs: Job) -> list[Job]:
        rows: list[Job] = []
        for start in range(0, len(jobs), 500):
            rows += await self.store.add(jobs[start : start + 500])
        return rows

    async def claim(
        self,
        tasks: Mapping[str, int | None] | Sequence[str] = ("t",),
        *,
        queue: str = "default",
        worker: str = "w:1",
        token: str | None = None,
        lease: int = LEASE,
        limit: int = 100,
        cap: int | None = None,
    ) -> Claim:
        named = tasks if isinstance(tasks, Mapping) else dict.fromkeys(tasks)
        now = self.clock.now
        return await self.store.claim(queue, named, worker, token or new_token(), now, now + lease, limit, cap)

    async def take(self, *jobs: Job, worker: str = "w:1") -> list[Job]:
        """Add jobs and claim them all."""
        await self.add(*jobs)
        claim = await self.claim(sorted({j.task for j in jobs}), worker=worker, queue=jobs[0].queue)
        return claim.jobs

    async def row(self, id: str) -> Job:
        [job] = await self.store.get([id])
        assert job is not None, f"no job {id}"
        return job

    async def gone(self, id: str) -> bool:
        return await self.store.get([id]) == [None]
