"""The built-in tasks, how an app gets them, and what `cleanup-logs` and `database-stats` do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mainspring import DefinitionError, InputError, Job, Mainspring, State
from mainspring.builtins import cleanup_logs
from mainspring.core.job import Error
from mainspring.core.outcome import Dead, Failure, Success
from mainspring.errors import JobNotFound
from mainspring.stores.base import LogLine, Query, Store
from mainspring.testing import FakeClock
from tests.system.conftest import run_one

BUILTINS = ["cleanup-logs", "database-stats", "webhook"]


# -- getting them -----------------------------------------------------------------------------------------------------


@pytest.fixture
def plain() -> Mainspring:
    return Mainspring("sqlite://:memory:")


def test_an_app_has_them_when_it_says_so(plain: Mainspring) -> None:
    assert list(plain.tasks) == []
    plain.use_builtins()
    plain.use_builtins()
    assert sorted(plain.tasks) == BUILTINS
    assert all(task.description for task in plain.tasks.values())


def test_some_of_them(plain: Mainspring) -> None:
    plain.use_builtins(only=["webhook", "webhook"])
    assert list(plain.tasks) == ["webhook"]
    plain.use_builtins()
    assert sorted(plain.tasks) == BUILTINS


@pytest.mark.parametrize("only", ["webhook", ["webhooks"], [5], 5])
def test_only_what_there_is(plain: Mainspring, only: Any) -> None:
    with pytest.raises(DefinitionError, match=r"bad only: .*Expected a list of some of: cleanup-logs, database-stats"):
        plain.use_builtins(only=only)


def test_a_name_that_is_taken(plain: Mainspring) -> None:
    @plain.task
    def database_stats() -> None: ...

    with pytest.raises(DefinitionError, match=r"a task named 'database-stats' exists already \(.*leave the built-in"):
        plain.use_builtins()
    assert list(plain.tasks) == ["database-stats"]
    plain.use_builtins(only=["cleanup-logs"])


def test_one_webhook_task_has_one_rule(plain: Mainspring) -> None:
    plain.use_builtins(allow_private=True)
    with pytest.raises(DefinitionError, match="'webhook' is defined already, with another allow_private"):
        plain.use_builtins()
    with pytest.raises(DefinitionError, match="bad allow_private: 'yes'"):
        plain.use_builtins(allow_private="yes")  # type: ignore[arg-type]


# -- cleanup-logs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def app(app: Mainspring) -> Mainspring:
    @app.task(retention="365d", dead_retention="365d", dead_letter=False)
    async def work(n: int = 0) -> str:
        return "done"

    @app.task(retention="365d", idempotency_key=lambda n: f"key-{n}")
    async def once(n: int) -> None: ...

    @app.task(retention="0s", idempotency_key=lambda n: f"key-{n}")
    async def briefly(n: int) -> None: ...

    @app.task(retention="365d", unique=True)
    async def one(n: int) -> None: ...

    app.use_builtins()
    return app


async def run(app: Mainspring, name: str, **input: Any) -> dict[str, Any]:
    """The result of a built-in task, run by a worker."""
    job = await app.enqueue(name, input)
    async with app.worker(tasks=[name]):
        result: dict[str, Any] = await job.result(timeout=60)
        return result


async def exists(app: Mainspring, job: Job) -> bool:
    try:
        await app.get(job.id)
    except JobNotFound:
        return False
    return True


async def ended(app: Mainspring, outcome: Any = None, task: str = "work", **options: Any) -> Job:
    await app.enqueue(task, {"n": 1}, **options)
    return await run_one(app, outcome)


def failure(job: Job) -> Failure:
    return Failure(error=Error(type="ValueError", message="no"), retryable=False, dead_letter=False)


async def test_what_ended_long_ago_is_erased_with_its_logs(app: Mainspring, clock: FakeClock) -> None:
    store = (await app.connect()).store
    old = await ended(app)
    await store.append([LogLine(old.id, 1, app.clock.now(), "info", "a line")], 10)
    old_failed = await ended(app, failure)
    old_cancelled = await app.enqueue("work")
    await old_cancelled.cancel()
    await clock.advance("31d")
    young = await ended(app)
    result = await run(app, "cleanup-logs")
    assert result["removed"] == {"completed": 1, "failed": 1, "cancelled": 1}
    assert (result["total_removed"], result["dry_run"]) == (3, False)
    assert datetime.fromisoformat(result["older_than"]) == datetime(2030, 1, 2, tzinfo=UTC)
    assert [await exists(app, job) for job in (old, old_failed, young)] == [False, False, True]
    assert await store.tail(old.id) == []


async def test_a_dry_run_only_counts(app: Mainspring, clock: FakeClock) -> None:
    old = await ended(app)
    await clock.advance("31d")
    result = await run(app, "cleanup-logs", dry_run=True)
    assert (result["removed"]["completed"], result["total_removed"], result["dry_run"]) == (1, 1, True)
    assert await exists(app, old)


@pytest.mark.parametrize(("older_than", "gone"), [(2, 1), (1, 2), (1.5, 1), ("25h", 1), ("23h", 2), (0, 2), ("3d", 0)])
async def test_ages(app: Mainspring, clock: FakeClock, older_than: Any, gone: int) -> None:
    await ended(app)
    await clock.advance("1d")
    await ended(app)
    await clock.advance("24h 1s")
    result = await run(app, "cleanup-logs", older_than=older_than)
    assert result["total_removed"] == gone


async def test_a_job_counts_from_its_end(app: Mainspring, clock: FakeClock) -> None:
    await app.enqueue("work")
    await clock.advance("40d")
    job = await run_one(app)
    await clock.advance("29d")
    assert (await run(app, "cleanup-logs"))["total_removed"] == 0
    assert await exists(app, job)


async def test_dead_ones_go_only_where_that_is_said(app: Mainspring, clock: FakeClock) -> None:
    dead = await ended(app, Dead(reason="broken"))
    await clock.advance("31d")
    assert (await run(app, "cleanup-logs"))["removed"] == {"completed": 0, "failed": 0, "cancelled": 0}
    assert await exists(app, dead)
    assert (await run(app, "cleanup-logs", dead=True))["removed"]["dead"] == 1
    assert not await exists(app, dead)


async def test_nothing_that_lives_is_touched(app: Mainspring, clock: FakeClock) -> None:
    await app.enqueue("work", {"n": 1}, delay="90d")
    paused = await app.enqueue("work", {"n": 2}, delay="90d")
    await app.jobs.pause(paused.id)
    retrying = await app.enqueue("work", {"n": 3}, queue="other")
    await clock.advance("31d")
    store = (await app.connect()).store
    before = {row.id: row for row in (await store.find(Query(task="work"))).jobs}
    result = await run(app, "cleanup-logs", older_than=0)
    assert result["total_removed"] == 0
    assert {row.id: row for row in (await store.find(Query(task="work"))).jobs} == before
    assert retrying.id in before


async def test_a_job_that_has_begun_again_stays(app: Mainspring, clock: FakeClock) -> None:
    """It ended long ago, and was asked for again meanwhile."""
    job = await ended(app)
    await clock.advance("31d")
    await app.jobs.retry(job.id)
    assert (await run(app, "cleanup-logs"))["total_removed"] == 0
    assert (await app.get(job.id)).state is State.WAITING


async def test_a_job_that_begins_again_at_that_moment_stays(
    app: Mainspring, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [await ended(app), await ended(app)]
    erase = cleanup_logs._erase

    async def late(store: Store, found: list[Job]) -> list[Job]:
        await app.jobs.retry(jobs[0].id)
        return await erase(store, found)

    monkeypatch.setattr(cleanup_logs, "_erase", late)
    await clock.advance("31d")
    assert (await run(app, "cleanup-logs"))["total_removed"] == 1
    assert [await exists(app, job) for job in jobs] == [True, False]


async def test_keys(app: Mainspring, clock: FakeClock) -> None:
    holds = await ended(app, task="once")
    live = await ended(app, task="one")
    await clock.advance("31d")
    result = await run(app, "cleanup-logs")
    assert result["total_removed"] == 1
    assert await exists(app, holds)
    assert not await exists(app, live)
    assert (await app.enqueue("once", {"n": 1})).id == holds.id


async def test_a_key_whose_retention_is_over_holds_nothing(app: Mainspring, clock: FakeClock) -> None:
    over = await ended(app, task="briefly")
    await clock.advance("25h")
    assert await exists(app, over)
    assert (await run(app, "cleanup-logs", older_than=1))["total_removed"] == 1


async def test_what_is_kept_without_end_is_kept(app: Mainspring, clock: FakeClock) -> None:
    job = await ended(app)
    [row] = await (await app.connect()).store.save([job.evolve(expires_at=None)])
    assert row is not None
    await clock.advance("31d")
    assert (await run(app, "cleanup-logs"))["total_removed"] == 0


async def test_the_history_of_schedules_is_left_alone(app: Mainspring, clock: FakeClock) -> None:
    store = (await app.connect()).store
    job = app.tasks["work"].job().to_job(app.clock.now())
    await store.add([job.evolve(origin="schedule:nightly")])
    tick = await run_one(app, Success())
    await clock.advance("31d")
    assert (await run(app, "cleanup-logs"))["total_removed"] == 0
    assert await exists(app, tick)


async def test_more_than_a_batch(app: Mainspring, clock: FakeClock) -> None:
    await app.enqueue_many([app.tasks["work"].job(n) for n in range(250)])
    await app.jobs.cancel(task="work")
    await clock.advance("31d")
    job = await app.enqueue("cleanup-logs", {})
    async with app.worker(tasks=["cleanup-logs"]):
        result = await job.result(timeout=60)
    assert result["removed"]["cancelled"] == 250
    assert await app.jobs.count(task="work") == 0
    progress = (await job.get()).progress or ""
    assert '"percent":100' in progress
    assert '"removed":250' in progress


async def test_it_reads_no_further_than_it_must(
    app: Mainspring, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old jobs come first; of the young ones behind them a page is enough."""
    await app.enqueue_many([app.tasks["work"].job(n) for n in range(20)])
    await app.jobs.cancel(task="work")
    await clock.advance("31d")
    await app.enqueue_many([app.tasks["work"].job(n) for n in range(60)])
    await app.jobs.cancel(task="work")
    monkeypatch.setattr(cleanup_logs, "BATCH", 10)
    read: list[int] = []
    erase = cleanup_logs._erase

    async def counted(store: Store, found: list[Job]) -> list[Job]:
        read.append(len(found))
        return await erase(store, found)

    monkeypatch.setattr(cleanup_logs, "_erase", counted)
    assert (await run(app, "cleanup-logs"))["total_removed"] == 20
    assert read == [10, 10]


async def test_its_own_job_stays(app: Mainspring, clock: FakeClock) -> None:
    first = await app.enqueue("cleanup-logs", {"older_than": 0})
    async with app.worker(tasks=["cleanup-logs"]):
        assert (await first.result(timeout=60))["total_removed"] == 0
    assert await first.status() == "completed"
    await clock.advance("1s")
    assert (await run(app, "cleanup-logs", older_than=0))["total_removed"] == 1  # the first, and not itself


async def test_two_at_once_count_each_job_once(app: Mainspring, clock: FakeClock) -> None:
    await app.enqueue_many([app.tasks["work"].job(n) for n in range(150)])
    await app.jobs.cancel(task="work")
    await clock.advance("31d")
    jobs = [await app.enqueue("cleanup-logs", {}) for _ in range(2)]
    async with app.worker(tasks=["cleanup-logs"]):
        results = [await job.result(timeout=60) for job in jobs]
    assert sum(result["total_removed"] for result in results) == 150


@pytest.mark.parametrize("older_than", ["a month", -1, True, None, [], "", float("1e300"), "-1d"])
def test_bad_ages_are_refused_when_they_are_enqueued(plain: Mainspring, older_than: Any) -> None:
    plain.use_builtins()
    with pytest.raises(InputError, match=r"bad older_than: .*Expected a number of days, or text such as"):
        plain.tasks["cleanup-logs"].job(older_than=older_than)


# -- database-stats ---------------------------------------------------------------------------------------------------


async def test_numbers(app: Mainspring, clock: FakeClock) -> None:
    await ended(app)
    await app.enqueue("work", {"n": 2}, delay="1h", queue="other")
    assert await run(app, "database-stats") == {
        "jobs": {"waiting": 1, "running": 1, "paused": 0, "completed": 1, "failed": 0, "dead": 0, "cancelled": 0},
        "total": 3,
        "at": "2030-01-01T00:00:00+00:00",
    }


async def test_numbers_in_detail(app: Mainspring) -> None:
    await ended(app)
    await app.enqueue("work", {"n": 2}, delay="1h", queue="other")
    stats = await run(app, "database-stats", detailed=True)
    assert stats["queues"] == {"default": {"completed": 1, "running": 1}, "other": {"waiting": 1}}
    assert stats["tasks"] == {"database-stats": {"running": 1}, "work": {"completed": 1, "waiting": 1}}
    facts = {fact.name for fact in await (await app.connect()).store.facts()}
    assert set(stats["store"]) == facts
    assert "store" in facts
