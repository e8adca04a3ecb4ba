"""Firing makes exactly one job per tick: with several schedulers at once, deaths at every call, and clocks that step.

The schedulers here have no workers; the jobs are claimed and ended as a worker would.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from mainspring import Job, Mainspring
from mainspring.core.job import State
from mainspring.core.records import DUTY, SCHEDULE, Record
from mainspring.core.schedule import Schedule, encode_schedule
from mainspring.core.schedule_acts import new_schedule
from mainspring.core.ticks import due_at
from mainspring.errors import StoreUnavailable
from mainspring.stores.base import Query
from mainspring.testing import FakeClock
from mainspring.worker.hold import Hold
from mainspring.worker.settler import Settler
from tests.conformance.faulty import Through
from tests.stores_for_apps import SLOW_STORES, store_url
from tests.system.conftest import claim, settle
from tests.system.schedulers import (
    Fails,
    Held,
    Killed,
    Scheduler,
    live,
    rows,
    scheduler,
    schedulers,
    stored,
    ticks,
    together,
)

SECOND = 1_000


@pytest.fixture(params=["file", *SLOW_STORES])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Stores that several schedulers can share."""
    with store_url(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def app(app: Mainspring) -> Mainspring:
    @app.task
    async def noop() -> None: ...

    return app


class SteppedClock:
    """A clock that also steps back; any number of schedulers may have one that is wrong."""

    def __init__(self, now: int) -> None:
        self.time = now

    def now(self) -> int:
        return self.time


async def run_all(app: Mainspring) -> None:
    """Run what is due, and what that makes due."""
    while jobs := await claim(app, 100):
        for job in jobs:
            await settle(app, job)


# -- several at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 8])
async def test_schedulers_at_once_add_one_job_per_tick(app: Mainspring, clock: FakeClock, count: int) -> None:
    rounds, names = 12, [f"s{n}" for n in range(5)]
    for name in names:
        await app.schedules.create(name, "noop", every="1s", overlap="allow", catch_up="all")
    first = clock.now() + SECOND
    order = random.Random(count)
    async with schedulers(app, [clock] * count) as fleet:
        for _ in range(rounds):
            await clock.advance("1s")
            seen = await fleet[0].due()
            # Half of them act on what all saw before anybody wrote, the others look for themselves.
            await together([one.fire(seen if order.random() < 0.5 else None) for one in fleet])
            await together([one.fire() for one in fleet])
    expected = [first + n * SECOND for n in range(rounds)]
    for name in names:
        assert await ticks(app, name) == expected
        schedule = await stored(app, name)
        assert (schedule.fired, schedule.missed, schedule.skipped) == (rounds, 0, 0)


@pytest.mark.parametrize("overlap", ["skip", "queue"])
async def test_schedulers_at_once_keep_runs_apart(app: Mainspring, clock: FakeClock, overlap: Any) -> None:
    """Runs that take between none and three ticks; whoever ends one looks at once, beside all the others."""
    await app.schedules.create("s", "noop", every="1s", overlap=overlap, catch_up="all")
    order, passed, busy = random.Random(3), 40, 0
    async with schedulers(app, [clock] * 3) as fleet:
        for _ in range(passed):
            await clock.advance("1s")
            await together([one.fire() for one in fleet])
            assert len(await live(app, "s")) <= 1
            busy = busy - 1 if busy else order.randint(0, 3)
            while not busy and (jobs := await claim(app)):
                await settle(app, jobs[0])
                await together([one.look("s") for one in fleet])
                assert len(await live(app, "s")) <= 1
                busy = order.randint(0, 1)
    schedule, found = await stored(app, "s"), await ticks(app, "s")
    assert len(found) == len(set(found)) == schedule.fired
    assert schedule.fired + schedule.skipped + len(schedule.backlog) == passed
    assert schedule.skipped > 0 if overlap == "skip" else schedule.skipped == 0


# -- deaths --------------------------------------------------------------------------------------------------------

POINTS = [(method, when, error) for method in ("add", "write") for when in ("before", "after") for error in
          (StoreUnavailable("down, says the test"), Killed())]  # fmt: skip


@pytest.mark.parametrize("begun", [False, True], ids=["waits", "begun"])
@pytest.mark.parametrize(("due", "late"), [(1, 0), (1, 3), (3, 0), (3, 2)])
@pytest.mark.parametrize("catch_up", ["one", "all"])
@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
@pytest.mark.slow
async def test_a_death_at_any_call_neither_loses_nor_doubles_a_tick(
    app: Mainspring, clock: FakeClock, overlap: Any, catch_up: Any, due: int, late: int, begun: bool
) -> None:
    """`due`: ticks that are due when the first scheduler dies. `late`: ticks that pass until the next one comes.
    `begun`: the dead one's job runs by then."""
    for number, (method, when, error) in enumerate(POINTS):
        name, begin = f"s{number}", clock.now()
        await app.schedules.create(name, "noop", every="1s", overlap=overlap, catch_up=catch_up)
        async with scheduler(app, clock, Fails) as dying, scheduler(app, clock) as other:
            await clock.advance(due)
            await die(dying, name, method, when, error)
            held = await claim(app, 10) if begun else []
            if late:
                await clock.advance(late)
            await other.look(name)
            apart = overlap == "allow" or len(await live(app, name)) <= 1
            for job in held:
                await settle(app, job)
            for _ in range(3):
                await other.look(name)
                await run_all(app)
                await clock.advance("1s")
                await other.look(name)
                apart = apart and (overlap == "allow" or len(await live(app, name)) <= 1)
        await check(app, name, begin, f"{method} {when} {error!r}", apart)
        await app.schedules.pause(name)
        await run_all(app)


async def die(dying: Scheduler, name: str, method: str, when: str, error: BaseException) -> None:
    store: Any = dying.store
    record = await dying.store.read(SCHEDULE, name)
    assert record is not None
    store.at(method, when, error)
    with pytest.raises(type(error)):
        await dying.fire([record])
    assert store.failed == 1


async def check(app: Mainspring, name: str, begin: int, point: str, apart: bool) -> None:
    """Every tick since `begin` has one job, or is counted as missed, skipped or waiting; and no runs overlap."""
    schedule, found = await stored(app, name), await ticks(app, name)
    passed = (app.clock.now() - begin) // SECOND
    assert len(found) == len(set(found)), (point, "a tick has two jobs", found)
    assert apart, (point, "two jobs live")
    accounted = schedule.fired + schedule.missed + schedule.skipped + len(schedule.backlog)
    assert (len(found), accounted) == (schedule.fired, passed), (point, schedule)
    if schedule.catch_up == "all":
        assert schedule.missed == 0, point
    if schedule.overlap == "allow" and schedule.catch_up == "all":
        assert found == [begin + (n + 1) * SECOND for n in range(passed)], point


# -- clocks and what is broken -------------------------------------------------------------------------------------


async def test_clocks_that_step_lose_and_double_nothing(app: Mainspring, clock: FakeClock) -> None:
    """Three schedulers whose clocks are wrong by up to 5 s, each step another way; at last all are right."""
    begin, order = clock.now(), random.Random(5)
    await app.schedules.create("s", "noop", every="1s", overlap="allow", catch_up="all", history=500)
    await app.schedules.create("c", "noop", cron="* * * * * *", overlap="allow", catch_up="all", history=500)
    clocks = [SteppedClock(begin) for _ in range(3)]
    async with schedulers(app, clocks) as fleet:
        for second in range(60):
            for one in clocks:
                one.time = begin + second * SECOND + order.randint(-5 * SECOND, 5 * SECOND)
            await together([one.fire() for one in order.sample(fleet, 2)])
        for one in clocks:
            one.time = begin + 70 * SECOND
        for _ in range(3):
            await together([one.fire() for one in fleet])
    for name in ("s", "c"):
        assert await ticks(app, name) == [begin + n * SECOND for n in range(1, 71)]
        schedule = await stored(app, name)
        assert (schedule.fired, schedule.missed, schedule.skipped) == (70, 0, 0)
        assert len(set(schedule.recent)) == len(schedule.recent) == 70


async def test_a_clock_that_steps_back_beside_operators_doubles_nothing(app: Mainspring) -> None:
    """What an operator does counts times anew: from a clock that stands before ticks that have been fired."""
    own = SteppedClock(app.clock.now())
    begin = own.time
    await app.schedules.create("s", "noop", every="1s", overlap="allow", catch_up="all")
    async with scheduler(app, own) as one:
        for step in (3, -2, 1, -3, 6):
            own.time += step * SECOND
            await one.look("s")
            await app.schedules.pause("s")
            await app.schedules.resume("s")  # on the app's clock, which stands at the beginning
            await one.look("s")
    found = await ticks(app, "s")
    assert found == [begin + n * SECOND for n in range(1, len(found) + 1)]
    assert len(found) == 5
    schedule = await stored(app, "s")
    assert len(set(schedule.recent)) == len(schedule.recent), "a run is in the history twice"
    assert schedule.fired == len(found), "a tick is counted twice"


BROKEN: dict[str, dict[str, Any] | None] = {
    "not-read": {"overlap": 7},
    "no-time": {"every": None},
    "no-zone": {"every": None, "cron": "* * * * * *", "timezone": "Mars/Olympus"},
    "no-cron": {"every": None, "cron": "every now and then"},
    "other-name": {"name": "another"},
    "no-task": {"task": "who-knows"},
    "bad-retry": {"retry": {"max_attempts": "many"}},
    "unfit": {"input": '{"colour":1}'},
    "no-json": {"input": "{"},
    "odd-trigger": {"every": 0},
    "no-queue": {"queue": "a:b"},
    "empty": None,
}


async def test_broken_schedules_delay_none_of_the_others(app: Mainspring, clock: FakeClock) -> None:
    store = (await app.connect()).store
    for number in range(38):
        await app.schedules.create(f"s{number:02}", "noop", every="1s", overlap="allow")
    for name, fields in BROKEN.items():
        await app.schedules.create(name, "noop", every="1s")
        record = await store.read(SCHEDULE, name)
        assert record is not None
        value = {} if fields is None else record.value | fields
        assert (await store.write([record.evolve(value=value)]))[0] is not None
    ran: list[str] = []

    @app.task
    async def good(name: str) -> None:
        ran.append(name)

    for number in range(38):
        await app.schedules.update(f"s{number:02}", task="good", input={"name": f"s{number:02}"})
    async with app.worker(concurrency=10):
        for passed in (1, 2, 3):
            await clock.advance("1s")
            assert sorted(ran) == sorted(passed * [f"s{n:02}" for n in range(38)])
    for number in range(38):
        assert (await stored(app, f"s{number:02}")).fired == 3


async def test_a_task_that_nobody_knows_is_asked_for_once(app: Mainspring, clock: FakeClock) -> None:
    for number in range(20):
        await app.schedules.create(f"s{number:02}", "noop", every="1s")
    client = await app.connect()
    await client.store.write([unknown(record) for record in await client.store.scan(SCHEDULE)])
    await clock.advance("1s")
    asked: list[str] = []

    class Asked(Through):
        async def read(self, kind: str, name: str) -> Record | None:
            asked.append(name)
            return await self.inside.read(kind, name)

    async with scheduler(app, clock, Asked) as one:
        assert await one.fire() == 20
    assert asked == ["who-knows"]


def unknown(record: Record) -> Record:
    return record.evolve(value=record.value | {"task": "who-knows"})


# -- a scheduler that was stopped for long -------------------------------------------------------------------------


@pytest.fixture
def ran(app: Mainspring) -> list[str]:
    """Where each run of the task `counts` leaves the name that it was given; its rows are not retained."""
    ran: list[str] = []

    @app.task(retention=0)
    async def counts(name: str) -> None:
        ran.append(name)

    return ran


async def stopped(one: Scheduler, group: asyncio.TaskGroup) -> asyncio.Task[Any]:
    """Let it read what is due, and stop it before it adds."""
    firing = group.create_task(_awaited_fire(one))
    await held(one).arrived.wait()
    return firing


async def _awaited_fire(one: Scheduler) -> int:
    return await one.fire()


def held(one: Scheduler) -> Held:
    store: Any = one.store
    assert isinstance(store, Held)
    return store


MEANWHILE = ["nothing", "paused", "deleted", "made anew", "resumed", "changed"]


async def test_a_tick_that_does_not_stand_does_not_run_though_it_is_renewed_meanwhile(
    app: Mainspring, clock: FakeClock, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Settler.write

    async def renewed(self: Settler, hold: Hold, transition: Any, size: int = 0) -> Job | None:
        await self._worker.heartbeat.hold(clock.now() + 1)
        return await real(self, hold, transition, size)

    await app.schedules.create("s", "counts", {"name": "first"}, every="1h")
    async with scheduler(app, clock, Held) as late, asyncio.TaskGroup() as group:
        await clock.advance("1h")
        firing = await stopped(late, group)
        async with app.worker():
            await clock.advance("1s")
            await app.schedules.delete("s")
            monkeypatch.setattr(Settler, "write", renewed)
            held(late).go.set()
            await firing
            await clock.advance("1s")
    assert ran == ["first"]


@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
@pytest.mark.parametrize("meanwhile", MEANWHILE)
async def test_a_tick_that_is_added_late_has_run_once(
    app: Mainspring, clock: FakeClock, ran: list[str], meanwhile: str, overlap: Any
) -> None:
    options: dict[str, Any] = {"every": "1h", "overlap": overlap}
    await app.schedules.create("s", "counts", {"name": "first"}, **options)
    async with scheduler(app, clock, Held) as late, asyncio.TaskGroup() as group:
        await clock.advance("1h")
        firing = await stopped(late, group)
        async with app.worker():
            await clock.advance("1s")
            assert ran == ["first"]
            if meanwhile == "paused":
                await app.schedules.pause("s")
            elif meanwhile == "resumed":
                await app.schedules.pause("s")
                await app.schedules.resume("s")
            elif meanwhile == "changed":
                await app.schedules.update("s", input={"name": "changed"})
            elif meanwhile in ("deleted", "made anew"):
                assert await app.schedules.delete("s")
                assert await rows(app, "s") == []
            if meanwhile == "made anew":
                await app.schedules.create("s", "counts", {"name": "anew"}, **options)
            held(late).go.set()
            await firing
            await clock.advance("2m")
            assert ran == ["first"], f"{meanwhile}: the tick ran again"
            assert await live(app, "s") == []
            await clock.advance("1h")
            again = {"paused": [], "deleted": [], "made anew": ["anew"], "changed": ["changed"]}
            assert ran == ["first", *again.get(meanwhile, ["first"])]


@pytest.mark.parametrize("meanwhile", ["paused", "deleted", "made anew"])
async def test_a_tick_whose_schedule_changes_before_it_is_added_runs_once_at_most(
    app: Mainspring, clock: FakeClock, ran: list[str], meanwhile: str
) -> None:
    """Nobody else has fired it: nothing runs of one that is gone, or that was paused before."""
    await app.schedules.create("s", "counts", {"name": "first"}, every="1h")
    async with scheduler(app, clock, Held) as late, asyncio.TaskGroup() as group:
        await clock.advance("1h")
        firing = await stopped(late, group)
        if meanwhile == "paused":
            await app.schedules.pause("s")
        else:
            assert await app.schedules.delete("s")
        if meanwhile == "made anew":
            await app.schedules.create("s", "counts", {"name": "anew"}, every="1h")
        held(late).go.set()
        await firing
        async with app.worker():
            await clock.advance("1m")
            assert ran == []
            await clock.advance("1h")
            assert ran == {"paused": [], "deleted": [], "made anew": ["anew"]}[meanwhile]
            assert await live(app, "s") == []


@pytest.mark.parametrize("overlap", ["skip", "queue"])
async def test_a_tick_that_is_added_after_its_history_has_dropped_it_has_run_once(
    app: Mainspring, clock: FakeClock, ran: list[str], overlap: Any
) -> None:
    await app.schedules.create("s", "counts", {"name": "x"}, every="1m", overlap=overlap, history=2)
    async with scheduler(app, clock, Held) as late, asyncio.TaskGroup() as group:
        await clock.advance("1m")
        firing = await stopped(late, group)
        async with app.worker():
            await clock.advance("5m")
            assert len(ran) == 6
            held(late).go.set()
            await firing
            await clock.advance("1s")
            assert len(ran) == 6, "the tick ran again"
            assert len(await rows(app, "s")) <= 3


# -- many at once --------------------------------------------------------------------------------------------------


class Work:
    """Rows and calls that schedules cost, over all stores of a kind."""

    def __init__(self, kind: type, patch: pytest.MonkeyPatch) -> None:
        self.rows: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        add, write = kind.add, kind.write  # type: ignore[attr-defined]

        async def counted_add(store: Any, jobs: Sequence[Job], within: Any = None) -> Any:
            self._count("add", len(jobs))
            return await add(store, jobs, within)

        async def counted_write(store: Any, records: Sequence[Record], within: Any = None) -> Any:
            self._count("write", sum(record.kind in (SCHEDULE, DUTY) for record in records))
            return await write(store, records, within)

        patch.setattr(kind, "add", counted_add)
        patch.setattr(kind, "write", counted_write)

    def _count(self, name: str, rows: int) -> None:
        self.rows[name] += rows
        self.calls[name] += rows > 0

    def clear(self) -> None:
        self.rows.clear()
        self.calls.clear()

    def __str__(self) -> str:
        return " ".join(f"{name}: {self.rows[name]} rows in {self.calls[name]} calls," for name in ("add", "write"))


@pytest.mark.slow
async def test_eight_workers_write_as_much_as_one(url: str, app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand schedules that are due at once, for one worker and for eight, with apps and stores of their own."""
    store = (await app.connect()).store
    work = Work(type(store), monkeypatch)
    cost: dict[int, Counter[str]] = {}
    for workers in (1, 8):
        clock = FakeClock(datetime.fromtimestamp(app.clock.now() / 1000, UTC))
        names = [f"{workers}-{n:04}" for n in range(1_000)]
        made = [new_schedule(name, "noop", "{}", {"every": "1h"}, clock.now()) for name in names]
        for first in range(0, 1_000, 500):
            await store.write([record_of(one, clock.now()) for one in made[first : first + 500]])
        async with AsyncExitStack() as stack:
            apps = [await stack.enter_async_context(another(url, clock)) for _ in range(workers)]
            for one in apps:
                await stack.enter_async_context(one.worker(concurrency=50))
            work.clear()
            begun = monotonic()
            await clock.advance("1h")
            print(f"{workers} workers: {work} in {monotonic() - begun:.1f} s")
            cost[workers] = Counter(work.rows)
            assert await all_ran(app, names)
        for _ in range(2):
            await store.purge(clock.now() + 10**12, 1_000)
        for name in names:
            record = await store.read(SCHEDULE, name)
            assert record is not None
            assert await store.erase(record)
    assert cost[1]["add"] == 1_000
    assert 1_000 <= cost[1]["write"] <= 1_010  # who is on duty is written too
    for what in ("add", "write"):
        assert cost[8][what] <= 1.2 * cost[1][what], (what, cost)


@asynccontextmanager
async def another(url: str, clock: FakeClock) -> AsyncIterator[Mainspring]:
    async with Mainspring(url, clock=clock) as app:

        @app.task
        async def noop() -> None: ...

        yield app


def record_of(schedule: Schedule, now: int) -> Record:
    value = encode_schedule(schedule, {})
    return Record(kind=SCHEDULE, name=schedule.name, written_at=now, due_at=due_at(schedule, now), value=value)


async def all_ran(app: Mainspring, names: Sequence[str]) -> bool:
    counts = await (await app.connect()).store.count(Query())
    by_state = {row.state: row.jobs for row in counts if row.jobs}
    schedules = [await stored(app, name) for name in names]
    assert all((one.fired, one.missed, one.skipped) == (1, 0, 0) for one in schedules)
    return by_state == {State.COMPLETED: len(names)}
