"""`app.queues`: what lies in them, pause and throttle."""

from __future__ import annotations

import pytest

from mainspring import DefinitionError, Mainspring
from mainspring.core.job import Error
from mainspring.core.outcome import Dead, Failure, Success
from mainspring.testing import FakeClock
from tests.system.conftest import claim, run_one

BOOM = Error(type="ValueError", message="boom")


@pytest.fixture(autouse=True)
def tasks(app: Mainspring) -> None:
    @app.task(name="a")
    async def a() -> None: ...

    @app.task(name="b", queue="others")
    async def b() -> None: ...


async def test_a_queue_is_listed_for_its_jobs_its_tasks_or_its_gate(app: Mainspring) -> None:
    assert await app.queues.list() == ["default", "others"]
    await app.queues.pause("closed")
    await app.enqueue("a", {}, queue="odd")
    assert await app.queues.list() == ["closed", "default", "odd", "others"]


async def test_stats_count_what_lies_in_a_queue(app: Mainspring, clock: FakeClock) -> None:
    for outcome in (Success(), Dead(), Failure(error=BOOM, retryable=False, dead_letter=False), Failure(error=BOOM)):
        await app.enqueue("a")
        await run_one(app, outcome)
    await app.enqueue("a")
    assert len(await claim(app)) == 1
    await app.enqueue("a")
    await app.enqueue("a", {}, delay="1h")
    await app.enqueue("b")
    await clock.advance("7s")

    stats = await app.queues.stats("default")

    assert (stats.waiting, stats.scheduled, stats.pending, stats.retrying) == (3, 1, 1, 1)
    assert (stats.running, stats.completed, stats.dead, stats.failed, stats.cancelled) == (1, 1, 1, 1, 0)
    assert stats.oldest_due == 7_000
    assert [one.queue for one in await app.queues.stats()] == ["default", "others"]
    assert [one.pending for one in await app.queues.stats()] == [1, 1]


async def test_stats_of_a_long_queue_do_not_read_it(app: Mainspring) -> None:
    client = await app.connect()
    await client.enqueue_many([app.tasks["a"].job() for _ in range(2_001)])

    stats = await app.queues.stats("default")

    assert (stats.waiting, stats.pending, stats.oldest_due) == (2_001, None, None)


async def test_stats_of_a_queue_that_is_not_there_are_empty(app: Mainspring) -> None:
    stats = await app.queues.stats("nothing")
    assert (stats.queue, stats.waiting, stats.pending, stats.is_paused) == ("nothing", 0, 0, False)


async def test_nothing_starts_in_a_paused_queue(app: Mainspring, clock: FakeClock) -> None:
    await app.queues.pause("default", "release under way")
    handle = await app.enqueue("a")
    other = await app.enqueue("b")

    assert await app.queues.is_paused("default")
    assert [job.id for job in await claim(app)] == [other.id]
    stats = await app.queues.stats("default")
    assert (stats.is_paused, stats.pause_reason, stats.paused_at) == (True, "release under way", clock.now())

    assert await app.queues.resume("default")
    assert not await app.queues.is_paused("default")
    assert [job.id for job in await claim(app)] == [handle.id]
    assert not await app.queues.resume("default")


async def test_a_throttled_task_waits_for_its_time(app: Mainspring, clock: FakeClock) -> None:
    handle = await app.enqueue("a")
    await app.queues.throttle("a", "1m", "too many requests")

    assert await claim(app) == []
    assert (await app.queues.stats("default")).throttled == {"a": clock.now() + 60_000}
    assert (await app.queues.stats("others")).throttled == {}

    await clock.advance("1m")
    assert (await app.queues.stats("default")).throttled == {}
    assert [job.id for job in await claim(app)] == [handle.id]


async def test_a_paused_task_waits_until_it_is_resumed(app: Mainspring, clock: FakeClock) -> None:
    handle = await app.enqueue("a")
    await app.queues.pause_task("a")
    await clock.advance("365d")
    assert await claim(app) == []
    assert (await app.queues.stats("default")).throttled == {"a": None}
    assert await app.queues.resume_task("a")
    assert not await app.queues.unthrottle("a")
    assert [job.id for job in await claim(app)] == [handle.id]


async def test_a_task_without_a_worker_is_named(app: Mainspring) -> None:
    await app.enqueue("a")
    stats = await app.queues.stats("default")
    assert (stats.workers, stats.no_handler) == (0, ("a",))


@pytest.mark.parametrize("name", ["", "a:b", "with space", "x" * 101])
async def test_a_bad_name_is_refused(app: Mainspring, name: str) -> None:
    for act in (app.queues.pause, app.queues.resume, app.queues.stats, app.queues.pause_task, app.queues.unthrottle):
        with pytest.raises(DefinitionError, match=r"bad (queue|task) name"):
            await act(name)


async def test_a_throttle_needs_a_length(app: Mainspring) -> None:
    for duration in (0, "soon", -1):
        with pytest.raises(DefinitionError):
            await app.queues.throttle("a", duration)
