"""Storms: schedulers whose clocks disagree, that die at any call and act on what they read long ago, beside workers
that begin and end runs at any time. Whatever the order: each tick is fired once or accounted for, and runs keep apart.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from mainspring import Job, Mainspring
from mainspring.core.ids import new_token
from mainspring.core.job import LIVE, State
from mainspring.core.outcome import Cancelled
from mainspring.core.records import SCHEDULE
from mainspring.core.schedule import Schedule, decode_schedule
from mainspring.core.ticks import stands
from mainspring.errors import StoreUnavailable
from mainspring.stores.base import Store
from mainspring.testing import FakeClock
from tests.conformance.faulty import Through
from tests.stores_for_apps import SLOW_STORES, store_url
from tests.system.conftest import settle
from tests.system.schedulers import Killed, Scheduler, live, rows, scheduler, stored

pytestmark = pytest.mark.slow  # seconds in all, and others show the essentials quickly

SECOND = 1_000
STEPS = 400
FIRST, COUNT = (int(part) for part in os.environ.get("MAINSPRING_STORMS", "0+0").split("+"))
SEEDS = (14, 26, *range(FIRST, FIRST + COUNT))
"""These have found faults. More: MAINSPRING_STORMS=100+50."""
LEASE = 10**9
"""No lease lapses."""


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store that several schedulers can share."""
    with store_url(request.param, tmp_path) as url:
        yield url


class Skewed:
    """A clock that is off by some ms, and off by others a moment later."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.off = 0

    def now(self) -> int:
        return self._clock.now() + self.off


class Turns(Through):
    """Stops before every call until it is its turn."""

    def __init__(self, inside: Store) -> None:
        super().__init__(inside)
        self._task: asyncio.Task[Any] | None = None
        self._turn: asyncio.Future[tuple[str, BaseException]] | None = None
        self._stopped = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inside, name)
        if name not in ("scan", "get", "add", "write", "save") or not self.busy:
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._turn = asyncio.get_running_loop().create_future()
            self._stopped.set()
            when, error = await self._turn
            if when == "before":
                raise error
            answer = await method(*args, **kwargs)
            if when == "after":
                raise error
            return answer

        return call

    @property
    def busy(self) -> bool:
        return self._task is not None

    async def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begin `work`, up to its first call."""
        self._task = asyncio.create_task(self._to_the_end(work))
        await self._until_it_stops()

    async def _to_the_end(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except (StoreUnavailable, Killed):
            pass

    async def go_on(self, when: str, error: BaseException) -> None:
        """Let the call happen that it stands before, or fail `when`; up to the next one."""
        assert self._turn is not None
        self._turn.set_result((when, error))
        await self._until_it_stops()

    async def _until_it_stops(self) -> None:
        assert self._task is not None
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait([self._task, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        self._stopped.clear()
        if self._task.done():
            await self._task
            self._task = None


class Storm:
    """One schedule, three schedulers, and a worker; all that happens is drawn from a seed."""

    def __init__(self, app: Mainspring, clock: FakeClock, seed: int) -> None:
        self.app, self.clock = app, clock
        self.random = random.Random(seed)
        self.clocks = [Skewed(clock) for _ in range(3)]
        self.schedulers: list[Scheduler] = []
        self.turns: list[Turns] = []
        """Their stores."""
        self.running: list[Job] = []
        self.runs: Counter[int] = Counter()
        """Runs of handlers, by ticks."""
        self.superseded: list[int] = []
        self.most = 0

    async def step(self) -> None:
        act = self.random.choice([self.time_passes, *8 * [self.fire], self.begin, self.begin, self.end])
        await act()

    async def time_passes(self) -> None:
        await self.clock.advance(self.random.choice([0.1, 0.5, 1, 1, 3]))
        for one in self.clocks:
            one.off = self.random.randint(-300, 300)

    async def fire(self) -> None:
        """Let a scheduler look for what is due, or go on to its next call of the store, or die over it."""
        turns = self.random.choice(self.turns)
        if not turns.busy:
            await turns.start(self.schedulers[self.turns.index(turns)].fire())
            return
        error = self.random.choice([StoreUnavailable("down, says the test"), Killed()])
        await turns.go_on(*self.random.choice([("before", error), ("after", error)] + [("", error)] * 6))

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
        free = [number for number, turns in enumerate(self.turns) if not turns.busy]
        record = await (await self.app.connect()).store.read(SCHEDULE, "s")
        assert record is not None
        if free and decode_schedule(record.value).waits:
            number = self.random.choice(free)
            await self.turns[number].start(self.schedulers[number].fire([record]))

    async def calm(self) -> int:
        """Let it all come to its end, by clocks that are right; answers when the schedule has been paused."""
        for one in self.clocks:
            one.off = 0
        await self.finish()
        await self.clock.advance("1s")  # what was fired by a clock that is ahead may begin now
        for _ in range(5_000):
            await self.schedulers[0].look("s")
            schedule = await stored(self.app, "s")
            if not schedule.waits and not self.running and not await live(self.app, "s"):
                break
            await self.begin()
            await self.end()
            await self.follow()
            await self.finish()
        return self.clock.now()

    async def finish(self) -> None:
        """Let all schedulers come to the end of what they do."""
        for turns in self.turns:
            while turns.busy:
                await turns.go_on("", Killed())


@pytest.mark.parametrize("url", ["file"], indirect=True)
@pytest.mark.parametrize("seed", [pytest.param(s, marks=[] if s == SEEDS[0] else [pytest.mark.slow]) for s in SEEDS])
@pytest.mark.parametrize("history", [3, 500], ids=["short", "long"])
@pytest.mark.parametrize("catch_up", ["one", "all"])
@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
async def test_storms(app: Mainspring, clock: FakeClock, overlap: str, catch_up: str, history: int, seed: int) -> None:
    await storms(app, clock, overlap, catch_up, history, seed)


@pytest.mark.parametrize("url", SLOW_STORES, indirect=True)
@pytest.mark.parametrize("catch_up", ["one", "all"])
@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
async def test_storms_on_servers(app: Mainspring, clock: FakeClock, overlap: str, catch_up: str) -> None:
    await storms(app, clock, overlap, catch_up, 3, SEEDS[0])


async def storms(app: Mainspring, clock: FakeClock, overlap: str, catch_up: str, history: int, seed: int) -> None:
    @app.task
    async def noop() -> None: ...

    if overlap == "allow":
        history = 500  # where runs overlap, a tick that was forgotten may not be told from one that has waited for long
    begin = clock.now()
    options: dict[str, Any] = {"overlap": overlap, "catch_up": catch_up, "history": history}
    await app.schedules.create("s", "noop", every="1s", **options)
    storm = Storm(app, clock, seed)
    async with AsyncExitStack() as stack:
        for one in storm.clocks:
            storm.schedulers.append(await stack.enter_async_context(scheduler(app, one, Turns)))
        storm.turns = [cast(Any, one.store) for one in storm.schedulers]
        for _ in range(STEPS):
            await storm.step()
        end = await storm.calm()
    await check(storm, await stored(app, "s"), begin, end)


async def check(storm: Storm, schedule: Schedule, begin: int, end: int) -> None:
    """Each tick has one job, which ran once, or is counted; and runs kept apart."""
    jobs, passed = await rows(storm.app, "s"), (end - begin) // SECOND
    assert passed > 10
    assert not [job for job in jobs if job.state in LIVE]
    ticks = [job.scheduled_at for job in jobs if job.state is State.COMPLETED]
    assert len(ticks) == len(set(ticks))
    assert set(storm.runs.values()) == {1}, "a tick ran twice"
    assert schedule.fired == len(storm.runs), "what ran is not what was fired"
    assert schedule.fired + schedule.missed + schedule.skipped + len(schedule.backlog) == passed
    assert set(storm.runs) <= {begin + n * SECOND for n in range(1, passed + 1)}
    assert schedule.overlap == "allow" or storm.most == 1, "runs overlapped"
    if schedule.catch_up == "all":
        assert schedule.missed == 0
    if schedule.catch_up == "all" and schedule.overlap != "skip":
        assert set(storm.superseded) <= set(storm.runs)
        assert len(storm.runs) == passed, "a tick was lost"
