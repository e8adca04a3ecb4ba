"""`app.dead_letters`: what is in it, and how it comes out again."""

from __future__ import annotations

import pytest

from mainspring import DeadLetter, IllegalTransition, JobNotFound, Mainspring
from mainspring.core.job import Error
from mainspring.core.outcome import Dead, Failure, Success
from tests.system.conftest import run_one

BOOM = Error(type="ValueError", message="boom")


@pytest.fixture(autouse=True)
def tasks(app: Mainspring) -> None:
    @app.task(name="a", retries=0)
    async def a() -> None: ...

    @app.task(name="b", queue="others", retries=0)
    async def b() -> None: ...


async def dead(app: Mainspring, task: str = "a") -> str:
    handle = await app.enqueue(task)
    await run_one(app, Failure(error=BOOM))
    return handle.id


async def test_a_dead_letter_says_why_it_died(app: Mainspring) -> None:
    id = await dead(app)
    await app.enqueue("a")
    await run_one(app, Success())

    [entry] = await app.dead_letters.list()

    assert entry.id == id
    assert (entry.reason, entry.attempts, entry.error, entry.finished_at) == ("exhausted", 1, BOOM, app.clock.now())
    assert [run.outcome for run in entry.runs] == ["failed"]
    assert await app.dead_letters.get(id) is not None


async def test_only_dead_jobs_are_dead_letters(app: Mainspring) -> None:
    waiting = await app.enqueue("a")
    assert await app.dead_letters.get(waiting.id) is None
    assert await app.dead_letters.get("nobody") is None
    assert await app.dead_letters.count() == 0
    with pytest.raises(IllegalTransition, match="pending"):
        await app.dead_letters.retry(waiting.id)
    with pytest.raises(JobNotFound):
        await app.dead_letters.retry("nobody")


async def test_a_retried_dead_letter_runs_again_under_its_id(app: Mainspring) -> None:
    id = await dead(app)

    job = await app.dead_letters.retry(id)

    assert (job.id, job.attempts) == (id, 0)
    assert await app.dead_letters.count() == 0
    ended = await run_one(app, Success(result="1"))
    assert (ended.id, [run.outcome for run in ended.runs]) == (id, ["failed", "succeeded"])


async def test_dead_letters_are_filtered(app: Mainspring) -> None:
    ids = {task: await dead(app, task) for task in ("a", "b")}
    await app.enqueue("a")
    await run_one(app, Dead(reason="no"))

    assert await app.dead_letters.count() == 3
    assert [job.id for job in await app.dead_letters.list(task="b")] == [ids["b"]]
    assert [job.id for job in await app.dead_letters.list(task="a", error="boom")] == [ids["a"]]
    assert await app.dead_letters.retry_all(queue="others") == 1
    assert await app.dead_letters.count() == 2


async def test_what_a_handler_called_dead_is_found_by_its_words(app: Mainspring) -> None:
    @app.task(name="send")
    async def send(to: str) -> None:
        raise DeadLetter(f"{to} is no address")

    await dead(app)
    handle = await send.enqueue("nobody")
    async with app.worker(tasks=["send"]) as worker:
        await worker.drain()

    assert [job.id for job in await app.dead_letters.list(error="No Address")] == [handle.id]
    assert [job.id for job in await app.jobs.list(status=["failed", "dead"], error="is no")] == [handle.id]
    assert await app.dead_letters.count(error="nobody") == await app.jobs.count(error="nobody") == 1
    assert await app.jobs.count(has_error=True) == 2
    assert await app.jobs.retry(error="no address") == 1
    assert await app.dead_letters.count() == 1


async def test_dead_letters_come_in_pages(app: Mainspring) -> None:
    ids = [await dead(app) for _ in range(5)]
    first = await app.dead_letters.list(limit=3)
    second = await app.dead_letters.list(limit=3, cursor=first.cursor)
    assert [job.id for job in (*first, *second)] == ids[::-1]
    assert second.cursor is None
