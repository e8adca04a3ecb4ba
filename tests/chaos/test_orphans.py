"""All workers are killed at once, or their server is: what was left is found within a lease, and nothing is lost."""

from __future__ import annotations

import time
from functools import partial

import pytest

from tests.chaos.fleet import Fleet, Step, check_runs_add_up
from tests.chaos.places import ON_SERVERS, Place, places
from tests.chaos.test_kills import enqueue

pytestmark = pytest.mark.slow

JOBS = 200
LEASE = 3.0
LONG = 2 * LEASE + 0.5
"""Seconds that some jobs take, which so outlive their first lease twice."""
SPARE = 2.0


def _in_the_middle(steps: list[Step]) -> bool:
    return len(ended(steps)) > JOBS // 4 and len(begun(steps)) > len(ended(steps)) + 5


@ON_SERVERS
async def test_orphans_run_again_within_a_lease_and_what_is_held_runs_once(chaos: Fleet, place: Place) -> None:
    chaos.processes = 1
    chaos.settings |= {"concurrency": 40, "lease": LEASE, "beat": 0.5}
    async with chaos as fleet:
        ids = await enqueue(fleet, *[("work", {"seconds": 0.5})] * JOBS)
        await fleet.until(lambda: _in_the_middle(fleet.steps()), "the middle")
        fleet.kill()
        killed = time.monotonic()
        orphans = begun(fleet.steps()) - ended(fleet.steps())
        assert orphans
        fleet.start()
        ids += await enqueue(fleet, *[("work", {"seconds": LONG})] * 5)
        await fleet.until(fleet.all_ended, "all jobs to end")
        jobs, steps = await fleet.jobs(), fleet.steps()
        assert {job.id for job in jobs} == set(ids), "none is lost"
        check_runs_add_up(jobs, steps)
        starts = sorted(step.at - killed for step in steps if step.what == "start" and step.at > killed)
        again = {step.job_id: step.at - killed for step in steps if step.what == "start" and step.at > killed}
        assert len(starts) == len(again), "what is held runs once, however long"
        print(f"{len(orphans)} orphans, the last began {max(again[id] for id in orphans):.1f} s after the kill")
        assert max(again[id] for id in orphans) <= LEASE + SPARE
        assert await fleet.end() == 0
    place.check()


@places("redis7", "valkey8")
async def test_a_server_that_is_killed_and_comes_back_costs_no_job(chaos: Fleet, place: Place) -> None:
    """With its append-only file: what it had acknowledged is there again, and the workers go on."""
    assert place.server is not None
    async with chaos as fleet:
        ids = await enqueue(fleet, *[("work", {"seconds": 0.1})] * 150, *[("in-thread", {"seconds": 0.1})] * 50)
        for _ in range(4):
            done = len(ended(fleet.steps()))
            await fleet.until(partial(_more_ended, fleet, done + 15), "some runs")
            place.server.kill()
            place.server.start()
        await fleet.until(fleet.all_ended, "all jobs to end")
        jobs = await fleet.jobs()
        assert {job.id for job in jobs} == set(ids)
        check_runs_add_up(jobs, fleet.steps())
        assert await fleet.end() == 0
    place.check()


def _more_ended(fleet: Fleet, than: int) -> bool:
    return len(ended(fleet.steps())) > than


def begun(steps: list[Step]) -> set[str]:
    return {step.job_id for step in steps if step.what == "start"}


def ended(steps: list[Step]) -> set[str]:
    return {step.job_id for step in steps if step.what == "end"}
