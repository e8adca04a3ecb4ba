"""`save`: replace the rows whose version and token are still the job's, and say which they were.

Each row that is written carries a stamp of this very write. Where not all swaps were made, or the answer was lost, the
rows are read, and the stamps tell: so a call whose answer was lost is made again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from mainspring.core.job import Job
from mainspring.errors import StoreUnavailable
from mainspring.stores.mongo.failures import conflict, in_doubt
from mainspring.stores.mongo.link import Collection, Document, Link
from mainspring.stores.mongo.logs import forget
from mainspring.stores.mongo.rows import CLAIMED, changed_row, date, read_claim
from mainspring.stores.mongo.swap import Swap, apply, apply_apart, is_blocked

KEPT: list[Document] = [{name: f"${name}" for name in ("_id", "seq", "input", "result", *CLAIMED)}]
"""What stays of a row: who it is, what only claims write, and the payload, unless the save carries another one."""
SEEN = {"version": 1, "stamp": 1, **dict.fromkeys(CLAIMED, 1)}
TRIES = 3


class Save:
    """One call of `save`."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = list(jobs)
        call = secrets.token_hex(8)
        self._stamps = [f"{call}.{n}" for n in range(len(jobs))]
        self.answers: list[Job | None] = [None] * len(jobs)

    async def run(self, link: Link) -> list[Job | None]:
        """Save outside of any transaction."""
        for wave in _waves(self._jobs):
            await self._save(link, wave)
        erased = self._erased()
        if erased:
            await self._erase(link, erased)
        return self.answers

    async def run_within(self, jobs: Collection, session: Any) -> list[Job | None]:
        """Save in a caller's transaction; what is erased goes by the next purge."""
        for wave in _waves(self._jobs):
            if await apply(jobs, self._swaps(wave), KEPT, self._among(wave), session) == len(wave):
                self._won(wave)
                continue
            again = await self._look(jobs, wave, session, hidden=True)
            if again and await apply(jobs, self._swaps(again), KEPT, self._among(again), session) == len(again):
                self._won(again)
        return self.answers

    async def _save(self, link: Link, wave: list[int]) -> None:
        doubt: StoreUnavailable | None = None
        for tries in range(1, TRIES + 1):
            doubt = None
            try:
                if await apply_apart(link, "jobs", self._swaps(wave), KEPT, self._among(wave)) == len(wave):
                    self._won(wave)
                    return
            except StoreUnavailable as error:
                if tries == TRIES or is_blocked(error) or error.__cause__ is None or not in_doubt(error.__cause__):
                    raise
                doubt = error
            with link.calls():
                wave = await self._look(link["jobs"] if doubt is None else link.sure("jobs"), wave)
            if not wave:
                return
        if doubt is not None:
            raise doubt

    def _swaps(self, wave: Sequence[int]) -> list[Swap]:
        return [_swap(self._jobs[n], self._stamps[n]) for n in wave]

    def _among(self, wave: Sequence[int]) -> Document:
        return {"token": {"$in": sorted({self._jobs[n].token for n in wave})}}

    def _won(self, wave: Sequence[int]) -> None:
        for n in wave:
            self.answers[n] = self._jobs[n].evolve(version=self._jobs[n].version + 1)

    async def _look(
        self, jobs: Collection, wave: Sequence[int], session: Any = None, *, hidden: bool = False
    ) -> list[int]:
        """Find out which of the rows were written; answers those that still are as the caller says. That they were not
        written means that the call never arrived, or that the caller told wrongly of their claims: those stay.

        `hidden`: rows that are not there may be too young for the transaction to see.
        """
        ids = [self._jobs[n].id for n in wave]
        rows = {row["_id"]: row for row in await jobs.find({"_id": {"$in": ids}}, SEEN, session=session).to_list()}
        again = []
        for n in wave:
            job, row = self._jobs[n], rows.get(self._jobs[n].id)
            if row is None:
                if hidden:
                    raise conflict(f"job {job.id} has changed since the transaction began")
            elif row.get("stamp") == self._stamps[n]:
                self._won([n])
            elif row["version"] == job.version and row["token"] == job.token:
                self._jobs[n] = job.evolve(**read_claim(row))
                again.append(n)
        return again

    def _erased(self) -> list[int]:
        return [
            n for n, job in enumerate(self._jobs)
            if self.answers[n] is not None and job.expires_at == 0 and job.state.terminal
        ]  # fmt: skip

    async def _erase(self, link: Link, erased: Sequence[int]) -> None:
        """Erase what is to leave nothing. Who dies before this leaves rows that have expired: the next purge's."""
        ours = {
            "_id": {"$in": [self._jobs[n].id for n in erased]},
            "stamp": {"$in": [self._stamps[n] for n in erased]},
        }
        with link.calls():
            lives = [row["seq"] for row in await link["jobs"].find(ours, {"seq": 1}).to_list()]
            await link["jobs"].delete_many(ours, hint="_id_")
            await forget(link, lives)


def _swap(job: Job, stamp: str) -> Swap:
    match = {
        "$version": job.version, "$token": job.token, "$claims": job.claims, "$worker": job.worker or None,
        "$started_at": date(job.started_at), "$last_worker": job.last_worker or None,
        "$last_started_at": date(job.last_started_at),
    }  # fmt: skip
    row = changed_row(job, job.version + 1)
    row["stamp"] = stamp
    return Swap(job.id, match, row)


def _waves(jobs: Sequence[Job]) -> Iterator[list[int]]:
    """The places of the jobs, in order, each id once in a wave: a second write of a row comes after the first."""
    left = list(range(len(jobs)))
    while left:
        wave: dict[str, int] = {}
        later = []
        for n in left:
            if jobs[n].id in wave:
                later.append(n)
            else:
                wave[jobs[n].id] = n
        yield list(wave.values())
        left = later
