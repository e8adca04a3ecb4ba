"""Schedules that the code declares: stored once when a worker starts, changed with the code, retired with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mainspring import Mainspring, Task
from mainspring.admin.schedule_view import ScheduleInfo
from mainspring.core.records import SCHEDULE, WORKER, Record
from mainspring.errors import DefinitionError, UnknownOption
from mainspring.stores.base import Store
from mainspring.testing import START, FakeClock
from mainspring.triggers.reconcile import Reconciler

MINUTE = timedelta(minutes=1)
Code = Callable[[Mainspring], object]
Deploy = Callable[[Code], Mainspring]


@pytest.fixture
async def deploy(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Deploy]:
    """Makes an app of some code, over one database."""
    apps: list[Mainspring] = []

    def make(code: Code) -> Mainspring:
        app = Mainspring(f"sqlite:///{tmp_path / 'jobs.db'}", clock=clock)

        @app.task
        async def other() -> None: ...

        code(app)
        apps.append(app)
        return app

    yield make
    for app in apps:
        await app.close()


def ticking(every: str = "10m", **options: Any) -> Code:
    def code(app: Mainspring) -> None:
        @app.every(every, name="s", **options)
        @app.task(name="tick")
        async def tick(n: int = 0) -> int:
            return n

    return code


def nothing(app: Mainspring) -> None: ...


async def start(app: Mainspring, clock: FakeClock | None = None, duration: str = "0s") -> None:
    """A worker starts, works for a while, and stops."""
    async with app.worker():
        if clock is not None:
            await clock.advance(duration)


async def record(app: Mainspring, name: str = "s") -> Record:
    found = await (await app.connect()).store.read(SCHEDULE, name)
    assert found is not None
    return found


async def info(app: Mainspring, name: str = "s") -> ScheduleInfo:
    found = await app.schedules.get(name)
    assert found is not None
    return found


# -- decorators --------------------------------------------------------------------------------------------------------


async def test_names_input_and_stacks(clock: FakeClock) -> None:
    app = Mainspring("sqlite://:memory:", clock=clock)
    ran: list[tuple[str, int]] = []

    @app.cron("0 * * * *", timezone="Asia/Kolkata", description="by itself")
    async def by_itself() -> None:
        ran.append(("by-itself", 0))

    @app.every("45m", name="often", input={"n": 2})
    @app.cron("15 * * * *", name="hourly", input={"n": 1}, max_retries=2)
    @app.task(queue="slow", name="stacked")
    async def stacked(n: int) -> None:
        ran.append(("stacked", n))

    @app.every("10h")
    def plain(n: int = 3) -> None: ...

    assert isinstance(stacked, Task)
    assert (sorted(app.declared), sorted(app.tasks)) == (
        ["by-itself", "hourly", "often", "plain"],
        ["by-itself", "plain", "stacked"],
    )
    assert (await app.schedules.list()).total == 0
    async with app.worker():
        found = {one.name: one for one in await app.schedules.list()}
        assert {name: (one.task, one.input, one.declared) for name, one in found.items()} == {
            "by-itself": ("by-itself", {}, True),
            "hourly": ("stacked", {"n": 1}, True),
            "often": ("stacked", {"n": 2}, True),
            "plain": ("plain", {}, True),
        }
        assert (found["by-itself"].description, found["hourly"].max_retries) == ("by itself", 2)
        await clock.advance("46m")
    assert [n for _, n in ran] == [1, 0, 2]
    await app.close()


GOOD: dict[str, Any] = {"input": {"n": 1}}
UNKNOWN: dict[str, Any] = {**GOOD, "hisory": 5}
BAD: list[tuple[Callable[[Mainspring], Any], type[Exception], str]] = [
    (lambda app: app.cron("99 * * * *", **GOOD), DefinitionError, "99"),
    (lambda app: app.every("1ms", **GOOD), DefinitionError, "bad interval"),
    (lambda app: app.cron("@daily", every="5m", **GOOD), DefinitionError, "both cron and every"),
    (lambda app: app.cron("@daily", timezone="Mars/Olympus", **GOOD), DefinitionError, "Mars"),
    (lambda app: app.cron("@daily", **UNKNOWN), UnknownOption, "history"),
    (lambda app: app.cron("@daily", name="a b", **GOOD), DefinitionError, "bad schedule name"),
    (lambda app: app.cron("@daily", input={"m": 1}), DefinitionError, r"schedule 'needy': .*input=\{\.\.\.\}"),
    (lambda app: app.cron("@daily"), DefinitionError, r"schedule 'needy': .*n.*Give the arguments"),
]


def test_a_bare_decorator_and_decorators_in_the_wrong_order() -> None:
    app = Mainspring("sqlite://:memory:")

    async def work() -> None: ...

    for bare in (app.cron, app.every):
        name = bare.__name__
        with pytest.raises(DefinitionError, match=rf"bad {name}: <function .*Expected a time, as in @app.{name}\("):
            bare(work)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match=r"Task\('work'.* is a task already. Expected @app.task next to"):
        app.task(app.cron("@daily")(work))


@pytest.mark.parametrize(("decorator", "error", "message"), BAD, ids=[str(number) for number in range(len(BAD))])
def test_what_is_wrong_shows_where_it_is_written(
    decorator: Callable[[Mainspring], Any], error: type[Exception], message: str
) -> None:
    app = Mainspring("sqlite://:memory:")

    async def needy(n: int) -> None: ...

    with pytest.raises(error, match=message):
        decorator(app)(needy)
    assert not app.declared


def test_two_of_a_name() -> None:
    app = Mainspring("sqlite://:memory:")
    task = app.cron("@daily")(app.task(name="t")(lambda: None))
    with pytest.raises(DefinitionError, match=r"a schedule named 't' is declared already. Give another one a name"):
        app.cron("@hourly")(task)
    app.cron("@hourly", name="t2")(task)
    assert sorted(app.declared) == ["t", "t2"]


# -- deploys -----------------------------------------------------------------------------------------------------------


async def test_a_restart_changes_nothing(deploy: Deploy, clock: FakeClock) -> None:
    await start(deploy(ticking()))
    before = await record(deploy(ticking()))
    await clock.advance("3m")
    app = deploy(ticking())
    await start(app)
    assert await record(app) == before
    assert (await info(app)).next_run == START + MINUTE * 10


async def test_changed_code_changes_it_and_keeps_its_life(deploy: Deploy, clock: FakeClock) -> None:
    app = deploy(ticking())
    await start(app, clock, "10m")
    await app.schedules.pause("s", "why")
    before = await info(app)
    app = deploy(ticking("7m", description="new", input={"n": 5}))
    await start(app)
    found = await info(app)
    assert (found.id, found.status, found.pause_reason) == (before.id, "paused", "why")
    assert (found.every, found.description, found.input) == (420.0, "new", {"n": 5})
    assert (found.runs, len(await app.schedules.executions("s"))) == (1, 1)
    assert (await app.schedules.resume("s")).next_run == START + MINUTE * 17


async def test_other_options_leave_its_times_alone(deploy: Deploy, clock: FakeClock) -> None:
    await start(deploy(ticking()), clock, "4m")
    app = deploy(ticking(description="new"))
    await start(app)
    assert (await info(app)).next_run == START + MINUTE * 10
    app = deploy(ticking(description="new", start=START + MINUTE * 6))
    await start(app)
    assert (await info(app)).next_run == START + MINUTE * 6


async def test_an_operators_change_survives_the_same_code(deploy: Deploy, clock: FakeClock) -> None:
    app = deploy(ticking())
    await start(app)
    await app.schedules.update("s", every="20m", description="by hand")
    before = await record(app)
    app = deploy(ticking())
    await start(app)
    assert await record(app) == before
    app = deploy(ticking(priority=7))
    await start(app)
    found = await info(app)
    assert (found.every, found.description, found.priority) == (600.0, "", 7)


async def test_deleted_by_hand_it_is_back_with_the_next_worker(deploy: Deploy) -> None:
    app = deploy(ticking())
    await start(app)
    assert await app.schedules.delete("s")
    await start(deploy(ticking()))
    assert (await info(app)).status == "active"


async def test_removed_code_retires_it_and_back_it_goes_on(deploy: Deploy, clock: FakeClock) -> None:
    app = deploy(ticking())
    await app.schedules.create("by-hand", "other", every="10m")
    await start(app, clock, "10m")
    before = await info(app)
    app = deploy(nothing)
    await start(app, clock, "10m")
    found = await info(app)
    assert (found.status, found.next_run, found.runs) == ("retired", None, 1)
    assert (await info(app, "by-hand")).runs == 2
    assert [one.name for one in await app.schedules.list(status="retired")] == ["s"]
    app = deploy(ticking())
    await start(app, clock, "10m")
    found = await info(app)
    assert (found.id, found.status, found.declared) == (before.id, "active", True)
    assert found.runs == 3  # one that made up for what it missed, and one on time
    assert found.next_run == START + MINUTE * 40


async def test_back_with_other_code(deploy: Deploy, clock: FakeClock) -> None:
    await start(deploy(ticking()), clock, "10m")
    await start(deploy(nothing))
    app = deploy(ticking("7m"))
    await start(app)
    found = await info(app)
    assert (found.status, found.every, found.runs, found.next_run) == ("active", 420.0, 1, START + MINUTE * 17)


async def test_a_single_run_does_not_come_back(deploy: Deploy, clock: FakeClock) -> None:
    await start(deploy(ticking(recurring=False)), clock, "10m")
    await start(deploy(nothing))
    for code in (ticking(recurring=False), ticking(recurring=False, description="new")):
        app = deploy(code)
        await start(app, clock, "30m")
        found = await info(app)
        assert (found.status, found.runs, found.next_run) == ("completed", 1, None)


async def test_it_is_not_retired_while_another_worker_declares_it(deploy: Deploy, clock: FakeClock) -> None:
    old, new = deploy(ticking("10s")), deploy(nothing)
    async with old.worker():
        async with new.worker():
            await clock.advance("25s")
            assert ((await info(new)).status, (await info(new)).runs) == ("active", 2)
        await clock.advance("10s")
        assert (await info(new)).runs == 3
    async with new.worker():
        await clock.advance("10s")
        assert ((await info(new)).status, (await info(new)).runs) == ("retired", 3)


async def test_the_last_to_declare_it_dies_while_others_work(deploy: Deploy, clock: FakeClock) -> None:
    old, new = deploy(ticking("10s")), deploy(nothing)
    async with new.worker():
        await start(old)
        await clock.advance("10s")
        assert ((await info(new)).status, (await info(new)).runs) == ("retired", 0)


async def test_old_code_that_starts_late_holds_until_it_has_stopped(deploy: Deploy, clock: FakeClock) -> None:
    """As in a rolling deploy, in which an old worker starts once more."""
    async with deploy(ticking("7m")).worker():
        old = deploy(ticking("5m"))
        async with old.worker():
            await clock.advance("5m")
            assert ((await info(old)).every, (await info(old)).runs) == (300.0, 1)
        await clock.advance("5m")  # nobody declares that it is due now
        found = await info(old)
    assert (found.every, found.runs) == (420.0, 1)


async def test_a_worker_whose_heartbeat_begins_late_is_not_taken_for_dead(
    deploy: Deploy, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is moved on before its thread has opened its store."""
    late = threading.Event()
    old, new = deploy(ticking("7m")), deploy(ticking("5m"))
    store = (await new.connect()).store
    clone = store.clone

    def cloned() -> Store:
        other = clone()
        opened = other.open

        async def open() -> None:
            await asyncio.to_thread(late.wait, 10)
            await opened()

        monkeypatch.setattr(other, "open", open)
        return other

    monkeypatch.setattr(store, "clone", cloned)
    async with old.worker(), new.worker():
        asyncio.get_running_loop().call_later(0.05, late.set)
        await clock.advance("5m")
        assert ((await info(new)).every, (await info(new)).runs) == (300.0, 1)


async def test_a_worker_that_was_taken_for_dead_declares_it_again(deploy: Deploy, clock: FakeClock) -> None:
    """Such as one whose machine slept."""
    old, new = deploy(ticking()), deploy(nothing)
    seen: list[str] = []
    async with old.worker(beat=0.02), new.worker():
        await clock.advance("1s")
        store = (await new.connect()).store
        for worker in await store.scan(WORKER):
            if worker.value["schedules"]:
                await store.write([worker.evolve(expires_at=clock.now() - 1)])
        reconciler = Reconciler(store, new.clock, new.declared)
        await reconciler.run()
        seen.append((await info(new)).status)
        async with asyncio.timeout(60):
            while (await info(new)).status != "active":
                await clock.advance("1s")
    assert seen == ["retired"]


async def test_a_schedule_of_that_name_is_taken_over(deploy: Deploy, clock: FakeClock) -> None:
    app = deploy(nothing)
    made = await app.schedules.create("s", "other", cron="@hourly", description="by hand")
    await app.schedules.run("s")
    await start(app, clock, "1s")
    app = deploy(ticking())
    await start(app)
    found = await info(app)
    assert (found.id, found.declared, found.task, found.every) == (made.id, True, "tick", 600.0)
    assert (found.description, found.cron, found.status) == ("", None, "active")
    assert len(await app.schedules.executions("s")) == 1
    await start(deploy(nothing))
    assert (await info(app)).status == "retired"


async def test_one_that_cannot_be_read_is_written_anew(deploy: Deploy) -> None:
    app = deploy(ticking())
    await start(app)
    old = await record(app)
    await (await app.connect()).store.write([old.evolve(value=old.value | {"every": "often"})])
    await start(deploy(ticking()))
    assert (await info(app)).every == 600.0
