"""Schedulers in real processes, killed and stopped: each tick has one job, none is left out, and each job ran."""

from __future__ import annotations

import os
import random
import re
import signal
from collections import defaultdict
from time import monotonic
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.core.job import Job, State
from mainspring.core.records import DUTY, SCHEDULE
from mainspring.core.schedule import decode_schedule
from mainspring.core.ticks import SUPERSEDED
from mainspring.triggers.duty import NAME
from tests.chaos.fleet import Fleet
from tests.chaos.places import EVERYWHERE, Place

pytestmark = pytest.mark.slow

SECOND = 1_000
INTERVALS, CRONS = [f"i{n}" for n in range(10)], [f"c{n}" for n in range(10)]
TROUBLE = [
    "kill the one on duty", "kill between add and write", "stop the one on duty", "kill any", "kill after write",
    "stop the one on duty", "kill between add and write", "kill the one on duty",
]  # fmt: skip


class Schedulers(Fleet):
    """A fleet whose schedulers are looked at."""

    driver = "tests.chaos.schedule_app"

    async def on_duty(self) -> int | None:
        """The pid of the one on duty, if it is alive."""
        record = await self.store.read(DUTY, NAME)
        started = dict(re.findall(r"child.started worker=(\S+) pid=(\d+)", self.log()))
        pid = None if record is None else int(started.get(record.value["worker"], 0))
        return pid if pid in self.children() else None

    async def other_on_duty(self, than: int) -> bool:
        pid = await self.on_duty()
        return pid is not None and pid != than

    async def fired(self) -> int:
        """The newest tick that all schedules have dealt with, in ms."""
        records = await self.store.scan(SCHEDULE)
        return min(decode_schedule(record.value).last_tick or 0 for record in records)

    async def fired_since(self, time: int) -> bool:
        return await self.fired() >= time

    async def go_on(self) -> None:
        """Wait until a tick has been fired that came after now."""
        now = await self.store.time()
        await self.until(lambda: self.fired_since(now), "the next tick")


@pytest.fixture
def fleet(chaos: Fleet) -> Schedulers:
    return Schedulers(chaos.folder, chaos.url, 3)


@EVERYWHERE
async def test_ticks_under_kills_and_stops(fleet: Schedulers, place: Place) -> None:
    random.seed(11)
    async with fleet, Mainspring(fleet.url) as app:
        await fleet.until(lambda: fleet.store.scan("task"), "the workers to announce their tasks")
        first = await made(app)
        await fleet.go_on()
        for what in TROUBLE:
            begun = monotonic()
            await trouble(fleet, what)
            await fleet.go_on()
            print(f"{what}: all goes on after {monotonic() - begun:.2f} s")
            await fleet.until(lambda: len(fleet.children()) == 3, "a new child")
        for name in (*INTERVALS, *CRONS):
            await app.schedules.pause(name)
        await fleet.until(fleet.all_ended, "all jobs to end")
        check(await fleet.jobs(), first, await fleet.fired(), ran(fleet))
        assert await fleet.end() == 0
    place.check()


async def made(app: Mainspring) -> dict[str, int]:
    """Twenty schedules of every second; their first ticks, by their names."""
    first: dict[str, int] = {}
    for name in (*INTERVALS, *CRONS):
        when: dict[str, Any] = {"every": 1} if name in INTERVALS else {"cron": "* * * * * *"}
        info = await app.schedules.create(
            name, "work", {"seconds": 0}, **when, overlap="allow", catch_up="all", history=500
        )
        assert info.next_run is not None
        first[name] = round(info.next_run.timestamp() * SECOND)
    return first


async def trouble(fleet: Schedulers, what: str) -> None:
    """Do it to a process, and where it was the one on duty, wait until another one is."""
    pid = await fleet.until(fleet.on_duty, "somebody on duty")
    if what == "kill any":
        os.kill(random.choice(fleet.children()), signal.SIGKILL)
        return
    if what in ("kill between add and write", "kill after write"):
        mark = fleet.folder / what.replace(" ", "-")
        mark.touch()
        await fleet.until(lambda: not mark.exists(), "somebody to die over it")
    elif "stop" in what:
        await fleet.stop(pid)
    else:
        os.kill(pid, signal.SIGKILL)
    begun = monotonic()
    await fleet.until(lambda: fleet.other_on_duty(pid), "another one to take over")
    print(f"{what}: taken over after {monotonic() - begun:.2f} s")
    if "stop" in what:
        await fleet.go_on()
        os.kill(pid, signal.SIGCONT)


def ran(fleet: Fleet) -> set[str]:
    return {step.job_id for step in fleet.steps() if step.what == "end"}


def check(jobs: list[Job], first: dict[str, int], last: int, ran: set[str]) -> None:
    """Each tick from the first to the `last` has one job, which ran; but for those of the last ticks that had not begun
    when their schedules were paused: these are taken back."""
    found: dict[str, list[int]] = defaultdict(list)
    taken_back: dict[str, list[int]] = defaultdict(list)
    for job in jobs:
        back = job.state is State.CANCELLED and job.reason == SUPERSEDED
        assert back or job.state is State.COMPLETED, job
        (taken_back if back else found)[job.origin.removeprefix("schedule:")].append(job.scheduled_at)
    assert set(found) == set(first)
    for name, ticks in found.items():
        dealt_with = sorted(ticks + taken_back[name])
        gapless = range(first[name], dealt_with[-1] + 1, SECOND)
        assert dealt_with == list(gapless), (name, sorted(set(gapless) - set(dealt_with)))
        assert dealt_with[-1] >= last - 2 * SECOND
        assert set(taken_back[name]) <= set(dealt_with[-5:])
    jobs = [job for job in jobs if job.state is State.COMPLETED]
    assert {job.id for job in jobs} <= ran
    late = sorted(job.created_at - job.scheduled_at for job in jobs)
    print(f"{len(jobs)} ticks, fired late by {late[len(late) // 2]} ms (median), {late[-1]} ms (most)")
