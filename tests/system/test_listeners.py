"""Listeners: told what happens in this process, in order; they harm no run, whatever they do."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mainspring import EVENTS, AppEvent, Cancel, DeadLetter, DefinitionError, Mainspring, Retry, Skip, Snooze
from mainspring.core.app_event import EventName
from mainspring.testing import FakeClock
from mainspring.worker import listeners
from mainspring.worker.listeners import Listeners
from tests.system.conftest import claim

WAIT = 60


@pytest.fixture
async def app() -> AsyncIterator[Mainspring]:
    app = Mainspring("sqlite://:memory:")
    yield app
    await app.close()


class Heard:
    """Everything that an app tells, in order."""

    def __init__(self, app: Mainspring) -> None:
        self.events: list[AppEvent] = []
        self.ended = asyncio.Event()
        for name in EVENTS:
            app.on(name, self.hear)

    async def hear(self, event: AppEvent) -> None:
        self.events.append(event)
        if event.name in ("job.ended", "run.snoozed", "run.retrying"):
            self.ended.set()

    def names(self) -> list[str]:
        return [event.name for event in self.events]


async def test_the_life_of_a_job(app: Mainspring) -> None:
    heard = Heard(app)

    @app.task(queue="sums")
    async def add(a: int, b: int) -> int:
        return a + b

    async with app.worker(id="w:1"):
        job = await add.enqueue(1, b=2)
        await asyncio.wait_for(heard.ended.wait(), WAIT)
    assert heard.names() == [
        "worker.started",
        "job.enqueued",
        "run.started",
        "run.succeeded",
        "job.completed",
        "job.ended",
        "worker.stopped",
    ]
    run = heard.events[3]
    assert (run.job_id, run.task, run.queue, run.attempt) == (job.id, "add", "sums", 1)
    assert (run.outcome, run.state, run.worker, run.error) == ("succeeded", "completed", "w:1", None)
    assert run.duration is not None
    assert run.duration >= 0
    assert heard.events[1].state == "waiting"
    assert [heard.events[n].attempt for n in (4, 5)] == [1, 1]  # so many it had


@pytest.mark.parametrize(
    ("raised", "told", "reason"),
    [
        (ValueError("bad"), ["run.failed", "job.dead", "job.ended"], ""),
        (Retry.after("1h", "busy"), ["run.failed", "run.retrying"], ""),
        (Snooze("1h", "later"), ["run.snoozed"], "later"),
        (Skip("not needed"), ["run.skipped", "job.completed", "job.ended"], "not needed"),
        (Cancel("no more"), ["run.cancelled", "job.cancelled", "job.ended"], "no more"),
        (DeadLetter("hopeless"), ["run.failed", "job.dead", "job.ended"], "hopeless"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_how_a_run_ends(app: Mainspring, raised: Exception, told: list[str], reason: str) -> None:
    heard = Heard(app)

    @app.task(retries=1 if isinstance(raised, Exception) and "Retry" in type(raised).__name__ else 0)
    async def work() -> None:
        raise raised

    async with app.worker():
        await work.enqueue()
        await asyncio.wait_for(heard.ended.wait(), WAIT)
    assert heard.names()[3:-1] == told
    run = heard.events[3]
    assert run.reason == reason
    if isinstance(raised, ValueError):
        assert run.error is not None
        assert str(run.error) == "ValueError: bad"


async def test_a_timeout_is_a_failure(app: Mainspring) -> None:
    heard = Heard(app)

    @app.task(retries=0, timeout=0.05)
    async def hang() -> None:
        await asyncio.Event().wait()

    async with app.worker():
        await hang.enqueue()
        await asyncio.wait_for(heard.ended.wait(), WAIT)
    assert [event.outcome for event in heard.events if event.name == "run.failed"] == ["timed_out"]


async def test_a_run_that_a_stop_ends_is_released(app: Mainspring) -> None:
    heard = Heard(app)
    began = asyncio.Event()

    @app.task
    async def hang() -> None:
        began.set()
        await asyncio.Event().wait()

    async with app:
        worker = app.worker(grace=0)
        await worker.start()
        await hang.enqueue()
        await asyncio.wait_for(began.wait(), WAIT)
        await worker.stop()
    assert heard.names()[2:] == ["run.started", "run.released", "worker.stopped"]


async def test_a_run_of_a_worker_that_died_is_found_by_the_next() -> None:
    clock = FakeClock()
    app = Mainspring("sqlite://:memory:", clock=clock)
    heard = Heard(app)

    @app.task
    async def work() -> None: ...

    async with app:
        await work.enqueue()
        [job] = await claim(app)
        await clock.advance("16s")
        async with app.worker():
            await asyncio.wait_for(heard.ended.wait(), WAIT)
    assert heard.names()[2:4] == ["run.interrupted", "run.started"]
    assert (heard.events[2].job_id, heard.events[2].outcome) == (job.id, "interrupted")


async def test_a_run_that_has_lost_its_job_is_told_as_that_alone(app: Mainspring) -> None:
    heard = Heard(app)
    began, go = asyncio.Event(), asyncio.Event()

    @app.task
    async def work() -> None:
        began.set()
        await go.wait()

    async with app.worker() as worker:
        await work.enqueue()
        await asyncio.wait_for(began.wait(), WAIT)
        [hold] = worker.desk.holds
        worker.executor.stop(hold, "lost", "another worker has it")
        await worker.stop()
    lost = heard.events[3]
    assert heard.names()[2:] == ["run.started", "run.lost", "worker.stopped"]
    assert lost.reason == "another worker has it"


async def test_a_worker_that_stops_leaves_the_listeners_to_another_in_its_loop(app: Mainspring) -> None:
    story: list[str] = []
    first, go, both = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @app.on("run.started")
    async def hear(event: AppEvent) -> None:
        story.append("begin")
        first.set()
        await go.wait()
        story.append("end")
        if len(story) == 4:
            both.set()

    @app.task
    async def work() -> None: ...

    async with app.worker():
        stopping = app.worker(queues=["other"])
        await stopping.start()
        await (await work.enqueue()).result(timeout=WAIT)
        await asyncio.wait_for(first.wait(), WAIT)
        stop = asyncio.create_task(stopping.stop())
        await (await work.enqueue()).result(timeout=WAIT)
        go.set()
        await asyncio.wait_for(asyncio.gather(stop, both.wait()), WAIT)
    assert story == ["begin", "end", "begin", "end"]


async def test_many_are_told_one_by_one_and_those_that_join_are_not(app: Mainspring) -> None:
    told: list[str] = []
    app.on("job.enqueued", lambda event: told.append(event.job_id))

    @app.task(unique=True)
    async def work(n: int) -> None: ...

    handles = await app.enqueue_many([work.job(1), work.job(2), work.job(1)])
    await work.enqueue(2)
    named = await app.enqueue("work", {"n": 3})
    await app.close()
    assert told == [handles[0].id, handles[1].id, named.id]


async def test_nobody_is_told_of_a_job_in_a_transaction(tmp_path: Path) -> None:
    app = Mainspring(f"sqlite:///{tmp_path}/jobs.db")
    told: list[AppEvent] = []
    app.on("job.enqueued", told.append)

    @app.task
    async def work(n: int) -> None: ...

    async def both(session: Any) -> None:
        await work.options(session=session).enqueue(1)
        await app.enqueue_many([work.job(2)], session=session)

    await app.with_transaction(both)
    await app.close()
    assert told == []


async def test_unsubscribe_ends_it_and_twice_is_once(app: Mainspring) -> None:
    told: list[str] = []

    async def hear(event: AppEvent) -> None:
        told.append(event.job_id)

    @app.task
    async def work() -> None: ...

    unsubscribe = app.on("job.enqueued", hear)
    again = app.on("job.enqueued", hear)
    await work.enqueue()
    unsubscribe()
    unsubscribe()
    second = await work.enqueue()
    again()
    await work.enqueue()
    await app.close()
    assert told.count(second.id) == 1
    assert len(told) == 3


async def test_a_decorator_leaves_the_function_as_it_is(app: Mainspring) -> None:
    @app.on("run.failed")
    async def hear(event: AppEvent) -> None: ...

    assert asyncio.iscoroutinefunction(hear)


async def test_plain_ones_run_in_a_thread_in_order(app: Mainspring) -> None:
    told: list[tuple[str, str]] = []
    app.on("job.enqueued", lambda event: told.append((threading.current_thread().name, event.job_id)))

    @app.task
    async def work() -> None: ...

    handles = [await work.enqueue() for _ in range(50)]
    await app.close()
    assert [id for _, id in told] == [handle.id for handle in handles]
    assert {name for name, _ in told} == {"mainspring-listener-1"}


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(1), asyncio.CancelledError()])
@pytest.mark.parametrize("plain", [True, False])
async def test_what_it_raises_is_logged_and_the_next_event_is_told(
    app: Mainspring, caplog: pytest.LogCaptureFixture, error: BaseException, plain: bool
) -> None:
    told: list[str] = []

    def hear(event: AppEvent) -> None:
        told.append(event.task)
        raise error

    async def hear_it(event: AppEvent) -> None:
        hear(event)

    app.on("run.started", hear if plain else hear_it)

    @app.task
    async def work() -> str:
        return "done"

    with caplog.at_level(logging.ERROR, "mainspring"):
        async with app.worker():
            for _ in range(2):
                assert await (await work.enqueue()).result(timeout=WAIT) == "done"
    assert told == ["work", "work"]
    logged = [record for record in caplog.records if record.__dict__.get("event") == "listener.failed"]
    assert [record.exc_info and record.exc_info[1] for record in logged] == [error, error]


@pytest.mark.parametrize("plain", [True, False])
async def test_one_that_hangs_holds_up_neither_run_nor_stop(
    app: Mainspring, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, plain: bool
) -> None:
    monkeypatch.setattr(listeners, "LAST_WORDS", 0.05)
    free = threading.Event()

    def hang(event: AppEvent) -> None:
        free.wait(WAIT)

    async def hang_async(event: AppEvent) -> None:
        await asyncio.Event().wait()

    app.on("run.started", hang if plain else hang_async)

    @app.task
    async def work() -> str:
        return "done"

    with caplog.at_level(logging.WARNING, "mainspring"):
        async with app.worker():
            for _ in range(3):
                assert await (await work.enqueue()).result(timeout=WAIT) == "done"
    free.set()
    assert [r for r in caplog.records if r.__dict__.get("event") == "listener.stuck"]


async def test_events_that_are_too_many_are_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listeners, "MOST_WAITING", 3)
    told: list[int] = []
    go = asyncio.Event()

    async def slow(event: AppEvent) -> None:
        await go.wait()
        told.append(event.at)

    hub = Listeners()
    hub.add("run.started", slow)
    with caplog.at_level(logging.ERROR, "mainspring"):
        for at in range(10):
            hub.tell(AppEvent(name="run.started", at=at))
        go.set()
        await hub.close_here()
    assert told == [0, 1, 2]
    [dropped] = [r for r in caplog.records if r.__dict__.get("event") == "listener.dropped"]
    assert dropped.__dict__["fields"]["events"] == 7


async def test_nothing_is_made_where_nobody_listens(app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(event: AppEvent) -> None:
        pytest.fail(f"{event.name} was told")

    monkeypatch.setattr(app.hooks.listeners, "tell", made)

    @app.task
    async def work() -> str:
        return "done"

    async with app.worker():
        assert await (await work.enqueue()).result(timeout=WAIT) == "done"


@pytest.mark.parametrize(
    ("name", "near"), [("job.complete", "job.completed"), ("run.success", "run.succeeded"), ("failed", "run.failed")]
)
async def test_an_unknown_event_is_refused_with_the_nearest(app: Mainspring, name: Any, near: EventName) -> None:
    with pytest.raises(DefinitionError, match=f"Did you mean '{near}'"):
        app.on(name)
    with pytest.raises(DefinitionError, match=r"Expected one of: run\.started"):
        app.on(name, lambda event: None)


def generator(event: AppEvent) -> Any:
    yield


@pytest.mark.parametrize("wrong", ["text", lambda: None, generator])
async def test_what_cannot_hear_is_refused(app: Mainspring, wrong: Any) -> None:
    with pytest.raises(DefinitionError, match="bad listener"):
        app.on("run.started", wrong)
