"""Storms: schedulers whose clocks disagree, that die at any call and act on what they read long ago, beside workers
that begin and end runs at any time. Whatever the order: each tick is fired once or accounted for, and runs keep apart.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from mainspring import Job, Mainspring
from mainspring.core.ids import new_token
from mainspring.core.job import LIVE, State
from mainspring.core.outcome import Cancelled
from mainspring.core.records import SCHEDULE, Record
from mainspring.core.schedule import decode_schedule
from mainspring.core.ticks import stands
from mainspring.errors import StoreUnavailable
from mainspring.testing import FakeClock
from tests.stores_for_apps import SLOW_STORES, store_url
from tests.system.conftest import settle
from tests.system.schedulers import Fails, Killed, Scheduler, live, rows, scheduler, stored

SECOND = 1_000
STEPS = 150
LEASE = 10**9
"""No lease lapses."""


@pytest.fixture(params=["file", *SLOW_STORES])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Stores that several schedulers can share."""
    with store_url(request.param, tmp_path) as url:
        yield url


class Skewed:
    """A clock that is off by some ms, and off by others a moment later."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.off = 0

    def now(self) -> int:
        return self._clock.now() + self.off


class Storm:
    """One schedule, three schedulers, and a worker; all that happens is drawn from a seed."""

    def __init__(self, app: Mainspring, clock: FakeClock, seed: int) -> None:
        self.app, self.clock = app, clock
        self.random = random.Random(seed)
        self.clocks = [Skewed(clock) for _ in range(3)]
        self.schedulers: list[Scheduler] = []
        self.old: list[list[Record]] = []
        """What was read before, and may be acted on late."""
        self.running: list[Job] = []
        self.runs: Counter[int] = Counter()
        """Runs of handlers, by ticks."""
        self.superseded: list[int] = []
        self.most = 0

    async def step(self) -> None:
        act = self.random.choice([self.time_passes, self.fire, self.fire, self.fire, self.begin, self.begin, self.end])
        await act()

    async def time_passes(self) -> None:
        await self.clock.advance(self.random.choice([0.1, 0.5, 1, 1, 3]))
        for one in self.clocks:
            one.off = self.random.randint(-300, 300)

    async def fire(self) -> None:
        one = self.random.choice(self.schedulers)
        self.old = [*self.old[-8:], await one.due()]
        records = self.random.choice([self.old[-1], self.random.choice(self.old)])
        store: Any = one.store
        fails = self.random.random() < 0.4
        if fails:
            error = self.random.choice([StoreUnavailable("down, says the test"), Killed()])
            store.at(self.random.choice(["add", "write", "get"]), self.random.choice(["before", "after"]), error)
        try:
            await one.fire(records)
        except (StoreUnavailable, Killed):
            assert fails
        store.method = ""

    async def begin(self) -> None:
        """As `worker.executor` begins a run."""
        now, store = self.clock.now(), (await self.app.connect()).store
        for job in (await store.claim("default", {"noop": None}, "w:1", new_token(), now, now + LEASE, 1)).jobs:
            if stands(await stored(self.app, "s"), job):
                self.running.append(job)
                self.runs[job.scheduled_at] += 1
                self.most = max(self.most, len(self.running))
            else:
                await settle(self.app, job, Cancelled(reason="superseded"))
                self.superseded.append(job.scheduled_at)

    async def end(self) -> None:
        if self.running:
            await settle(self.app, self.running.pop(self.random.randrange(len(self.running))))
            if self.random.random() < 0.8:
                await self.follow()

    async def follow(self) -> None:
        """As `worker.ticker` does where a run has ended that its schedule waits for."""
        record = await self.schedulers[0].store.read(SCHEDULE, "s")
        assert record is not None
        if decode_schedule(record.value).waits:
            await self.schedulers[0].fire([record])

    async def calm(self) -> int:
        """Let it all come to its end, by clocks that are right; answers when the schedule has been paused."""
        for one in self.clocks:
            one.off = 0
        await self.clock.advance("1s")  # what was fired by a clock that is ahead may begin now
        for _ in range(5_000):
            await self.schedulers[0].look("s")
            schedule = await stored(self.app, "s")
            if not schedule.waits and not self.running and not await live(self.app, "s"):
                break
            await self.begin()
            await self.end()
            await self.follow()
        return self.clock.now()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("history", [3, 500])
@pytest.mark.parametrize("catch_up", ["one", "all"])
@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
async def test_storms(app: Mainspring, clock: FakeClock, overlap: Any, catch_up: Any, history: int, seed: int) -> None:
    @app.task
    async def noop() -> None: ...

    begin = clock.now()
    options: dict[str, Any] = {"overlap": overlap, "catch_up": catch_up, "history": history}
    await app.schedules.create("s", "noop", every="1s", **options)
    storm = Storm(app, clock, seed)
    async with AsyncExitStack() as stack:
        for one in storm.clocks:
            storm.schedulers.append(await stack.enter_async_context(scheduler(app, one, Fails)))
        for _ in range(STEPS):
            await storm.step()
        end = await storm.calm()
    schedule, jobs = await stored(app, "s"), await rows(app, "s")
    passed = (end - begin) // SECOND
    assert passed > 10
    assert not [job for job in jobs if job.state in LIVE]
    ticks = [job.scheduled_at for job in jobs if job.state is State.COMPLETED]
    assert len(ticks) == len(set(ticks))
    assert set(storm.runs.values()) == {1}, "a tick ran twice"
    assert schedule.fired == len(storm.runs), "what ran is not what was fired"
    assert schedule.fired + schedule.missed + schedule.skipped + len(schedule.backlog) == passed
    assert set(storm.runs) <= {begin + n * SECOND for n in range(1, passed + 1)}
    assert overlap == "allow" or storm.most == 1
    if catch_up == "all":
        assert schedule.missed == 0
        assert overlap == "skip" or set(storm.superseded) <= set(storm.runs)
        assert overlap == "skip" or len(storm.runs) == passed
    print(f"{passed} ticks: {schedule.fired} fired, {schedule.missed} missed, {schedule.skipped} skipped")
