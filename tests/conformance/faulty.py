"""Stores with a fault planted: what the suite must notice. Each wraps a good store and breaks one promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mainspring.core.job import Job, State
from mainspring.stores.base import Beat, Claim, Store


class Through:
    """Hands every call through to the store inside."""

    def __init__(self, inside: Store) -> None:
        self.inside = inside

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inside, name)

    async def stored(self, id: str) -> Job | None:
        [row] = await self.inside.get([id])
        return row


class SaveWithoutVersion(Through):
    """1: a save asks for the token only."""

    async def save(self, jobs: Sequence[Job], within: Any = None) -> list[Job | None]:
        rows = [(job, await self.stored(job.id)) for job in jobs]
        return await self.inside.save([job.evolve(version=row.version) if row else job for job, row in rows])


class Hidden(Through):
    """Makes some additions to a counter of the rows invisible from outside."""

    counter: str

    def __init__(self, inside: Store) -> None:
        super().__init__(inside)
        self.hidden: dict[str, int] = {}

    def seen(self, job: Job | None) -> Any:
        if job is None or job.id not in self.hidden:
            return job
        return job.evolve(**{self.counter: max(0, getattr(job, self.counter) - self.hidden[job.id])})

    def real(self, job: Job) -> Job:
        return job.evolve(**{self.counter: getattr(job, self.counter) + self.hidden.get(job.id, 0)})

    async def add(self, jobs: Sequence[Job], within: Any = None) -> list[Job]:
        return [self.seen(row) for row in await self.inside.add(jobs)]

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        return [self.seen(row) for row in await self.inside.get(ids)]

    async def save(self, jobs: Sequence[Job], within: Any = None) -> list[Job | None]:
        return [self.seen(row) for row in await self.inside.save([self.real(job) for job in jobs])]

    async def claim(self, *args: Any) -> Claim:
        claim = await self.inside.claim(*args)
        return Claim([self.seen(row) for row in claim.jobs], claim.next_due)

    async def renew(self, beats: Sequence[Beat], until: int) -> list[Job]:
        return [self.seen(row) for row in await self.inside.renew(beats, until)]


class BeatWithoutVersion(Hidden):
    """2: a heartbeat does not bump the version, so that a save may overwrite what it wrote."""

    counter = "version"

    async def renew(self, beats: Sequence[Beat], until: int) -> list[Job]:
        rows = await self.inside.renew(beats, until)
        for row in rows:
            self.hidden[row.id] = self.hidden.get(row.id, 0) + 1
        return [self.seen(row) for row in rows]


class ClaimWithoutCount(Hidden):
    """7: a claim does not count itself."""

    counter = "claims"

    async def claim(self, *args: Any) -> Claim:
        claim = await self.inside.claim(*args)
        for row in claim.jobs:
            self.hidden[row.id] = self.hidden.get(row.id, 0) + 1
        return Claim([self.seen(row) for row in claim.jobs], claim.next_due)


class Fence(Through):
    """A fence that is not the token: who passes it gets the stored token, and with it everything."""

    keeps_version = True

    async def passes(self, job: Job, row: Job) -> bool:
        raise NotImplementedError

    def __init__(self, inside: Store) -> None:
        super().__init__(inside)
        self.claimed: dict[str, Job] = {}
        """What every token was given for; a beat carries no more than its token."""

    async def claim(self, *args: Any) -> Claim:
        claim = await self.inside.claim(*args)
        self.claimed |= {job.id + job.token: job for job in claim.jobs}
        return claim

    async def save(self, jobs: Sequence[Job], within: Any = None) -> list[Job | None]:
        return await self.inside.save([await self._waved(job) for job in jobs])

    async def _waved(self, job: Job) -> Job:
        row = await self.stored(job.id)
        if row is None or not await self.passes(job, row):
            return job
        return job.evolve(token=row.token, version=job.version if self.keeps_version else row.version)

    async def renew(self, beats: Sequence[Beat], until: int) -> list[Job]:
        waved = []
        for beat in beats:
            row, job = await self.stored(beat.id), self.claimed.get(beat.id + beat.token)
            if row is not None and job is not None and await self.passes(job, row):
                beat = beat._replace(token=row.token)
            waved.append(beat)
        return await self.inside.renew(waved, until)


class FenceByState(Fence):
    """5: whoever comes while the row is running may write."""

    keeps_version = False

    async def passes(self, job: Job, row: Job) -> bool:
        return row.state is State.RUNNING


class FenceByClaims(Fence):
    """8: the number of claims is taken for the owner."""

    async def passes(self, job: Job, row: Job) -> bool:
        return row.claims == job.claims


class FenceByWorker(Fence):
    """9: the worker's name is taken for the owner."""

    async def passes(self, job: Job, row: Job) -> bool:
        return row.worker == job.worker


STORE_FAULTS: dict[str, Any] = {
    "1 save without version check": SaveWithoutVersion,
    "2 heartbeat without version bump": BeatWithoutVersion,
    "5 fence on the running state only": FenceByState,
    "7 claim without its count": ClaimWithoutCount,
    "8 fence by claims": FenceByClaims,
    "9 fence by worker": FenceByWorker,
}
