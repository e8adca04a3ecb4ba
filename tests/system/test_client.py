"""Handles: status, result, cancel, retry, events; and what waiting costs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from mainspring import (
    DefinitionError,
    IllegalTransition,
    JobCancelled,
    JobEvent,
    JobFailed,
    JobNotFound,
    Mainspring,
    ResultTimeout,
    State,
    StoreUnavailable,
)
from mainspring.core import states
from mainspring.core.job import Error
from mainspring.core.outcome import Failure, Skipped, Snoozed, Success
from mainspring.stores import open_store
from mainspring.stores.base import Event, LogLine
from mainspring.testing import FakeClock
from tests.system.conftest import claim, count, run_one, settle
from tests.system.watched import watched

BOOM = Error(type="ValueError", message="boom", traceback="Traceback ...\nValueError: boom\n")


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look every 20 ms, so that no test waits for a second."""
    monkeypatch.setattr("mainspring.follow.INTERVAL", 0.02)


# -- results -----------------------------------------------------------------------------------------------------------


async def test_the_result_arrives_while_it_is_waited_for(app: Mainspring) -> None:
    @app.task
    def work() -> str:
        return "done"

    handle = await work.enqueue()
    waiting = asyncio.ensure_future(handle.result(timeout=60))
    await run_one(app)
    assert await waiting == "done"
    assert await handle.result() == "done", "and again"


async def test_a_failure_tells_type_message_and_traceback(app: Mainspring) -> None:
    @app.task
    def work() -> None: ...

    handle = await work.enqueue()
    await run_one(app, Failure(error=BOOM, retryable=False))
    with pytest.raises(JobFailed, match="is dead: ValueError: boom") as caught:
        await handle.result(timeout=60)
    error = caught.value
    assert (error.id, error.state, error.type, error.message) == (handle.id, "dead", "ValueError", "boom")
    assert error.traceback.endswith("ValueError: boom\n")


async def test_a_failed_job_is_a_failure_too(app: Mainspring) -> None:
    @app.task
    def work() -> None: ...

    handle = await work.enqueue()
    await run_one(app, Failure(error=BOOM, retryable=False, dead_letter=False))
    with pytest.raises(JobFailed, match="is failed"):
        await handle.result(timeout=60)


async def test_a_cancelled_an_unknown_and_a_slow_job_have_no_result(app: Mainspring) -> None:
    @app.task
    def work() -> None: ...

    handle = await work.enqueue()
    with pytest.raises(ResultTimeout, match=r"has not ended within 0\.03 s"):
        await handle.result(timeout="30ms")
    await handle.cancel("no need")
    with pytest.raises(JobCancelled, match="is cancelled: no need"):
        await handle.result(timeout=60)
    with pytest.raises(JobNotFound, match="no job has the id 'nobody'"):
        await app.job("nobody").result(timeout=60)
    with pytest.raises(DefinitionError, match="bad timeout"):
        await handle.result(timeout=-1)


async def test_a_skipped_job_has_no_result_and_no_error(app: Mainspring) -> None:
    @app.task
    def work() -> str | None: ...

    handle = await work.enqueue()
    await run_one(app, Skipped(note="gone"))
    assert await handle.result(timeout=60) is None


async def test_the_result_is_that_of_the_newest_ask(app: Mainspring, clock: FakeClock) -> None:
    @app.task(debounce="1s")
    def index(n: int) -> str:
        return ""

    await index.enqueue(0)
    await clock.advance("1s")
    [job] = await claim(app)
    handle = await index.enqueue(1)
    waiting = asyncio.ensure_future(handle.result(timeout=60))
    await settle(app, job, Success(result='"of 0"'))
    await clock.advance("1s")
    await run_one(app, Success(result='"of 1"'))
    assert await waiting == "of 1"


async def test_a_thousand_waiters_share_one_subscription_and_few_reads(clock: FakeClock) -> None:
    store, watch = watched(open_store("sqlite://:memory:", clock.now))
    app = Mainspring(store, clock=clock)

    @app.task
    def work(n: int) -> str:
        return ""

    handles = await app.enqueue_many([work.job(n) for n in range(1_000)])
    waiting = [asyncio.ensure_future(handle.result(timeout=60)) for handle in handles]
    await asyncio.sleep(0)
    jobs = await claim(app, limit=1_000)
    client = await app.connect()
    policy = work.policy
    done = [states.settle(job, Success(result='"x"'), clock.now(), policy).evolve(input=None) for job in jobs]
    for first in (0, 500):
        await client.store.save(done[first : first + 500])
    reads = watch.calls["get"]
    assert await asyncio.gather(*waiting) == ["x"] * 1_000
    assert watch.calls["subscribe"] <= 1
    assert watch.calls["get"] - reads <= 10
    await app.close()


async def test_a_store_that_is_away_for_a_while_does_not_end_the_wait(clock: FakeClock) -> None:
    store, watch = watched(open_store("sqlite://:memory:", clock.now))
    app = Mainspring(store, clock=clock)

    @app.task
    def work() -> str:
        return ""

    handle = await work.enqueue()
    await run_one(app)
    watch.down["get"] = 3
    assert await handle.result(timeout=60) == "done"
    await app.close()


async def test_closing_the_app_ends_the_wait(clock: FakeClock) -> None:
    app = Mainspring("sqlite://:memory:", clock=clock)

    @app.task
    def work() -> None: ...

    handle = await work.enqueue()
    waiting = asyncio.ensure_future(handle.result())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await app.close()
    with pytest.raises(StoreUnavailable):
        await waiting


# -- cancel and retry --------------------------------------------------------------------------------------------------


async def test_cancelling_what_waits_ends_it(app: Mainspring, clock: FakeClock) -> None:
    @app.task
    def work() -> None: ...

    handle = await work.options(delay="1h").enqueue()
    assert await handle.cancel("changed my mind") is True
    job = await handle.get()
    assert (job.state, job.reason, job.input) == (State.CANCELLED, "changed my mind", "{}")
    assert await handle.cancel() is False
    assert await app.job("nobody").cancel() is False
    await clock.advance("2h")
    assert await claim(app) == []


async def test_cancelling_what_runs_asks_it_to_end_and_wakes_its_worker(app: Mainspring) -> None:
    @app.task
    def work() -> None: ...

    handle = await work.enqueue()
    [job] = await claim(app)
    client = await app.connect()
    woken = asyncio.ensure_future(client.store.wait([job.worker], 10))
    await asyncio.sleep(0)
    assert await handle.cancel("enough") is True
    assert await woken is True
    assert (await handle.get()).cancelling == "enough"
    assert await handle.status() == "running"
    row = await settle(app, job, Snoozed(until=0))
    assert row.state is State.CANCELLED


async def test_retrying_runs_again_with_new_attempts(app: Mainspring, clock: FakeClock) -> None:
    @app.task(retries=0)
    def work(n: int) -> str:
        return ""

    handle = await work.enqueue(1)
    await run_one(app, Failure(error=BOOM))
    assert await handle.status() == "dead"
    again = await app.client.retry(handle.id)
    assert again.id == handle.id
    job = await handle.get()
    assert (job.attempts, job.input, len(job.runs)) == (0, '{"n":1}', 1)
    await run_one(app)
    assert await again.result(timeout=60) == "done"


async def test_retrying_what_is_paused_or_gone(app: Mainspring) -> None:
    @app.task
    def work() -> None: ...

    handle = await work.enqueue()
    client = await app.connect()
    await client.change(handle.id, states.pause)
    with pytest.raises(IllegalTransition, match="resume it first"):
        await client.retry(handle.id)
    with pytest.raises(JobNotFound):
        await client.retry("nobody")


async def test_statuses_as_people_see_them(app: Mainspring, clock: FakeClock) -> None:
    @app.task
    def work() -> str:
        return ""

    handle = await work.options(delay=5).enqueue()
    seen = [await handle.status()]
    await clock.advance(5)
    seen.append(await handle.status())
    [job] = await claim(app)
    seen.append(await handle.status())
    await settle(app, job, Failure(error=BOOM))
    seen.append(await handle.status())
    await clock.advance("1h")
    await run_one(app)
    seen.append(await handle.status())
    assert seen == ["scheduled", "pending", "running", "retrying", "completed"]
    with pytest.raises(JobNotFound):
        await app.job("nobody").status()


# -- events ------------------------------------------------------------------------------------------------------------


async def test_events_tell_states_progress_and_log_lines(app: Mainspring, clock: FakeClock) -> None:
    @app.task
    def work() -> str:
        return ""

    handle = await work.enqueue()
    events: list[JobEvent] = []
    pending = asyncio.Event()

    async def follow() -> None:
        async for event in handle.events():
            events.append(event)
            pending.set()

    following = asyncio.ensure_future(follow())
    await pending.wait()
    [job] = await claim(app)
    client = await app.connect()
    await client.store.append([LogLine(job.id, job.claims, clock.now(), "info", "half way")], keep=10)
    progress = '{"percent":50,"data":null}'
    row = states.settle(job.evolve(progress=progress, input=None), Success(), clock.now(), work.policy)
    await client.store.save([row])
    await client.store.publish(
        [Event(job_id=job.id, task=job.task, queue=job.queue, kind="state", status="completed", at=clock.now())]
    )
    await asyncio.wait_for(following, 60)

    kinds = [(event.kind, event.status) for event in events]
    assert kinds[0] == ("state", "pending")
    assert kinds[-1] == ("state", "completed")
    assert [event.data["text"] for event in events if event.kind == "log"] == ["half way"]
    assert [event.data["percent"] for event in events if event.kind == "progress"] == [50]
    assert datetime.fromtimestamp(events[0].at / 1000, UTC).year == 2030


async def test_events_of_nobody(app: Mainspring) -> None:
    with pytest.raises(JobNotFound):
        async for _ in app.job("nobody").events():
            pass


# -- life --------------------------------------------------------------------------------------------------------------


async def test_an_app_opens_and_closes_by_hand_and_again(url: str, clock: FakeClock) -> None:
    app = Mainspring(url, clock=clock)

    @app.task
    def work() -> None: ...

    async with app:
        await work.enqueue()
    await app.close()
    async with app:
        await work.enqueue()
        assert await count(app) == 2


def test_a_script_needs_no_ceremony(url: str) -> None:
    app = Mainspring(url)

    @app.task
    def work() -> str:
        return ""

    async def first() -> str:
        return (await work.enqueue()).id

    async def second(id: str) -> str:
        return await app.job(id).status()

    assert asyncio.run(second(asyncio.run(first()))) == "pending"


async def test_a_store_in_memory_is_of_its_app_alone() -> None:
    one, two = Mainspring("sqlite://:memory:"), Mainspring("sqlite://:memory:")
    for app in (one, two):

        @app.task
        def work() -> None: ...

        await work.enqueue()
        assert await count(app) == 1
    await one.close()
    await two.close()


async def test_the_clock_moves_the_whole_app(app: Mainspring, clock: FakeClock) -> None:
    before = app.clock.now()
    await app.open()
    await clock.advance("1d 1h")
    assert app.clock.now() - before == 25 * 3_600_000 == clock.now() - before
    assert await (await app.connect()).store.time() == clock.now()


async def test_a_worker_follows_the_clock(app: Mainspring, clock: FakeClock) -> None:
    @app.task
    async def work(n: int) -> int:
        return 2 * n

    handle = await work.options(delay="3h").enqueue(21)
    async with app.worker():
        assert await handle.status() == "scheduled"
        await clock.advance("3h")
        assert await handle.result(timeout=60) == 42


async def test_events_hold_every_log_line(app: Mainspring) -> None:
    @app.task
    def work() -> str:
        return ""

    handle = await work.enqueue()
    [job] = await claim(app)
    client = await app.connect()
    for first in (0, 500, 1_000):
        lines = [LogLine(job.id, 1, n, "info", str(n)) for n in range(first, first + 500)]
        await client.store.append(lines, keep=2_000)
    await settle(app, job)
    texts = [event.data["text"] async for event in handle.events() if event.kind == "log"]
    assert texts == [str(n) for n in range(1_500)]
