"""Real processes, killed before and after the commit that completes a job: each effect is there exactly once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mainspring.core.job import State
from tests.chaos.fleet import Fleet
from tests.chaos.test_kills import enqueue

pytestmark = pytest.mark.slow

MOMENTS = ("before", "after", "never")


async def test_killed_around_the_commit(chaos: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "chaos.db"
    async with chaos as fleet:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE sales (job TEXT, fence INTEGER)")
        moments = [MOMENTS[n % len(MOMENTS)] for n in range(15)]
        ids = await enqueue(fleet, *[("sells", {"killed": moment}) for moment in moments])
        await fleet.until(fleet.all_ended, "all jobs to end")
        with closing(sqlite3.connect(file)) as connection:
            sales = connection.execute("SELECT job, fence FROM sales").fetchall()
        assert sorted(job for job, _ in sales) == sorted(ids), "each was sold once"
        jobs = {job.id: job for job in await fleet.store.get(ids) if job is not None}
        for id, moment in zip(ids, moments, strict=True):
            job, starts = jobs[id], [s.claim for s in fleet.steps() if s.job_id == id and s.what == "start"]
            assert (job.state, job.result) == (State.COMPLETED, str(dict(sales)[id])), job
            assert starts[-1] == dict(sales)[id], "it did not run again after the commit"
            if moment == "after":
                assert job.claims > starts[-1], "somebody else settled it"
            if moment == "before":
                assert len(starts) > 1
        assert await fleet.end() == 0
