"""Real processes, killed and stopped: every job ends, none is lost, no stale worker changes anything."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

import pytest

from mainspring import Mainspring
from mainspring.client import Client
from mainspring.core.job import Job, State
from tests.chaos.fleet import Fleet, check_runs_add_up
from tests.chaos.places import EVERYWHERE, IN_FILE_AND_SERVER, Place

pytestmark = pytest.mark.slow


Call = tuple[str, Mapping[str, object]]


async def enqueue(fleet: Fleet, *calls: Call) -> list[str]:
    """Add jobs by name, as another program would: the workers have announced their tasks."""
    app = Mainspring(fleet.url)
    client = await app.connect()
    names = {name for name, _ in calls}
    await fleet.until(lambda: _announced(client, names), "the workers to announce their tasks")
    jobs = [await app.enqueue(name, arguments) for name, arguments in calls]
    await app.close()
    return [job.id for job in jobs]


async def _announced(client: Client, names: set[str]) -> bool:
    return names <= {record.name for record in await client.store.scan("task")}


@EVERYWHERE
async def test_killed_in_a_loop(chaos: Fleet, place: Place) -> None:
    random.seed(7)
    killed = set[int]()
    async with chaos as fleet:
        ids = await enqueue(fleet, *_short(100))
        while len(killed) < 8:
            ids += await enqueue(fleet, *_short(40))  # so that there is work left however late the next child starts
            pid = await fleet.until(lambda: _busy(fleet, killed), "a busy child")
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        await fleet.until(fleet.all_ended, "all jobs to end")
        jobs = await fleet.jobs()
        assert {job.id for job in jobs} == set(ids)
        check_runs_add_up(jobs, fleet.steps())
        interrupted = sum(run.outcome == "interrupted" for job in jobs for run in job.runs)
        assert interrupted >= 3  # a run may end between the look and the kill
        assert await fleet.end() == 0
    place.check()


@EVERYWHERE
async def test_stopped_past_the_lease(chaos: Fleet, place: Place) -> None:
    async with chaos as fleet:
        await enqueue(fleet, *[("work", {"seconds": 0.3})] * 60)
        for _ in range(3):
            pid = await fleet.until(lambda: _busy(fleet), "a busy child")
            await fleet.stop(pid)
            held = [job for job in await fleet.jobs(State.RUNNING) if f":{pid}" in job.worker or _of(fleet, job, pid)]
            await fleet.until(partial(_taken_over, fleet, held), "its jobs to be taken over")
            os.kill(pid, signal.SIGCONT)
        await fleet.until(fleet.all_ended, "all jobs to end")
        check_runs_add_up(await fleet.jobs(), fleet.steps())
        assert await fleet.end() == 0
    place.check()


def _short(number: int) -> list[Call]:
    return [(random.choice(["work", "in-thread"]), {"seconds": 0.05}) for _ in range(number)]


def _busy(fleet: Fleet, but: Collection[int] = ()) -> int | None:
    steps = fleet.steps()
    ended = {(s.job_id, s.claim) for s in steps if s.what == "end"}
    alive = set(fleet.children()).difference(but)  # who was killed is a child until the parent has buried it
    busy = [s.pid for s in steps if s.what == "start" and (s.job_id, s.claim) not in ended and s.pid in alive]
    return busy[-1] if busy else None


def _of(fleet: Fleet, job: Job, pid: int) -> bool:
    return any(s.pid == pid and s.job_id == job.id and s.claim == job.claims for s in fleet.steps())


async def _taken_over(fleet: Fleet, held: list[Job]) -> bool:
    now = [job for job in await fleet.store.get([job.id for job in held]) if job is not None]
    return all(job.token != old.token or job.state is not State.RUNNING for job, old in zip(now, held, strict=True))


@EVERYWHERE
async def test_a_killed_worker_s_job_runs_again_long_before_its_lease_ends(chaos: Fleet) -> None:
    chaos.settings |= {"lease": 300, "beat": 100}
    async with chaos as fleet:
        await enqueue(fleet, ("work", {"seconds": 0.5}))
        pid = await fleet.until(lambda: _busy(fleet), "the run to begin")
        os.kill(pid, signal.SIGKILL)
        await fleet.until(lambda: len({s.claim for s in fleet.steps() if s.what == "start"}) == 2, "the second run")
        first, second = (s.at for s in fleet.steps() if s.what == "start")
        print(f"run again {second - first:.2f} s after the first start")
        # the lease is 300 s: it was the parent that ended it
        await fleet.until(fleet.all_ended, "it to end")


@IN_FILE_AND_SERVER
async def test_poison_ends_dead_and_its_neighbours_do_not(chaos: Fleet) -> None:
    async with chaos as fleet:
        calls: list[Call] = [("gentle", {"seconds": 0.2}) for _ in range(30)]
        calls.insert(3, ("poison", {}))
        ids = await enqueue(fleet, *calls)
        await fleet.until(fleet.all_ended, "all jobs to end")
        jobs = {job.id: job for job in await fleet.jobs()}
        killer = jobs.pop(ids[3])
        assert (killer.state, killer.reason) == (State.DEAD, "poison")
        assert [run.outcome for run in killer.runs] == ["interrupted"] * 4
        assert {job.state for job in jobs.values()} == {State.COMPLETED}
        assert await fleet.end() == 0


@IN_FILE_AND_SERVER
async def test_never_more_than_three_at_once_over_four_processes(chaos: Fleet) -> None:
    chaos.processes = 4
    async with chaos as fleet:
        await enqueue(fleet, *[("limited", {"seconds": 0.02})] * 150)
        await fleet.until(fleet.all_ended, "all jobs to end")
        assert fleet.most_at_once() == 3
        assert len({s.pid for s in fleet.steps()}) > 1
        assert await fleet.end() == 0


async def test_a_thread_that_will_not_end_ends_its_process_and_never_runs_beside_its_retry(chaos: Fleet) -> None:
    chaos.settings |= {"grace": 1}
    async with chaos as fleet:
        [id] = await enqueue(fleet, ("stubborn", {}))
        await fleet.until(fleet.all_ended, "it to end")
        [job] = await fleet.store.get([id])
        assert job is not None
        assert [run.outcome for run in job.runs] == ["timed_out", "succeeded"], job.runs
        first, second = [s for s in fleet.steps() if s.what == "start"]
        assert first.pid != second.pid
        assert first.pid not in fleet.children()
        assert await fleet.end() == 0


async def test_a_coroutine_that_answers_no_cancellation_ends_with_its_process(chaos: Fleet) -> None:
    chaos.processes = 1
    chaos.settings |= {"grace": 0.5}
    async with chaos as fleet:
        [id] = await enqueue(fleet, ("deaf", {}))
        await fleet.until(fleet.all_ended, "it to end")
        [job] = await fleet.store.get([id])
        assert job is not None
        assert [run.outcome for run in job.runs] == ["timed_out", "succeeded"], job.runs
        first, second = [s.pid for s in fleet.steps() if s.what == "start"]
        assert first != second
        assert "exit_code=75" in fleet.log()
        assert await fleet.end() == 0


async def test_a_loop_that_is_blocked_for_ever_ends_its_process(chaos: Fleet) -> None:
    chaos.settings |= {"stall_limit": 1}
    async with chaos as fleet:
        [id] = await enqueue(fleet, ("blocks-for-ever", {}))
        await fleet.until(fleet.all_ended, "it to end elsewhere")
        [job] = await fleet.store.get([id])
        assert job is not None
        assert [run.outcome for run in job.runs] == ["interrupted", "succeeded"]
        assert "most recent call first" in fleet.log()
        assert await fleet.end() == 0


@IN_FILE_AND_SERVER
@pytest.mark.parametrize("after", [0, 1, 5, 20])
async def test_ctrl_c_leaves_nothing_stuck(chaos: Fleet, after: int) -> None:
    async with chaos as fleet:
        await enqueue(fleet, *[("work", {"seconds": 0.1})] * 40)
        await fleet.until(lambda: len(fleet.steps()) >= after or None, "the moment")
        assert await fleet.end(signal.SIGINT) == 0
        assert fleet.children() == []
        jobs = await fleet.jobs()
        assert {job.state for job in jobs} <= {State.WAITING, State.COMPLETED}
        assert all(job.interruptions == 0 for job in jobs)


async def test_children_end_when_their_parent_is_killed(chaos: Fleet) -> None:
    async with chaos as fleet:
        await enqueue(fleet, *[("work", {"seconds": 0.1})] * 5)
        children = await fleet.until(lambda: len(fleet.steps()) > 2 and fleet.children(), "children")
        assert fleet.parent is not None
        fleet.parent.kill()
        fleet.parent.wait()
        await fleet.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "them to end")


@IN_FILE_AND_SERVER
async def test_a_cancel_from_another_process_reaches_a_running_handler(chaos: Fleet) -> None:
    chaos.settings |= {"lease": 300, "beat": 100}
    async with chaos as fleet:
        [id] = await enqueue(fleet, ("endless", {}))
        await fleet.until(lambda: _busy(fleet), "the run to begin")
        app = Mainspring(fleet.url)
        asked = time.monotonic()
        assert await app.cancel(id)
        await fleet.until(fleet.all_ended, "it to end", 60)  # the next beat is up to 100 s away
        [job] = await fleet.store.get([id])
        assert job is not None
        assert job.state is State.CANCELLED
        print(f"reached after {(fleet.steps()[-1].at - asked) * 1000:.0f} ms")
        await app.close()
        assert await fleet.end() == 0


async def test_a_loop_blocked_for_forty_seconds_keeps_its_lease_with_the_defaults(chaos: Fleet) -> None:
    chaos.settings |= {"lease": 15, "beat": 5, "poll": 5}
    async with chaos as fleet:
        [id] = await enqueue(fleet, ("blocks", {"seconds": 40}))
        await fleet.until(fleet.all_ended, "it to end")
        [job] = await fleet.store.get([id])
        assert job is not None
        assert (job.claims, [run.outcome for run in job.runs]) == (1, ["succeeded"])
        assert await fleet.end() == 0
