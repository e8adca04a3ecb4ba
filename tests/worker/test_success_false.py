"""A run of a schedule that says of itself `{success: false}` is a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from mainspring import Context, Job, JobFailed, JobHandle, Mainspring, Retry
from mainspring.core.job import State
from mainspring.worker.executor import unsuccessful
from tests.worker.conftest import wait_until

QUICK = Retry(max_attempts=3, backoff="fixed", initial_delay=0.001, jitter=0)
ONCE = Retry(max_attempts=1)


class Answer(BaseModel):
    success: bool
    error: str | None = None


@dataclass
class Report:
    success: bool
    message: str = ""


async def tick(app: Mainspring, task: Any) -> JobHandle[Any]:
    await app.schedules.create("nightly", task, cron="0 0 1 1 *")
    return await app.schedules.run("nightly")


async def failed(job: JobHandle[Any]) -> Job:
    with pytest.raises(JobFailed, match="Unsuccessful"):
        await job.result(timeout=60)
    return await job.get()


async def test_it_is_tried_again_and_dead_in_the_end(app: Mainspring) -> None:
    @app.task(retry=QUICK)
    async def check() -> dict[str, Any]:
        return {"success": False, "error": "disk full"}

    async with app.worker() as worker:
        row = await failed(await tick(app, check))
        await wait_until(lambda: worker.stats().failed == 3, "the last settle to be told")
    assert row.state is State.DEAD
    assert [(run.attempt, run.outcome) for run in row.runs] == [(1, "failed"), (2, "failed"), (3, "failed")]
    assert row.error is not None
    assert (row.error.type, row.error.message, row.error.traceback) == ("Unsuccessful", "disk full", "")
    assert row.result is None


async def test_a_later_attempt_may_succeed(app: Mainspring) -> None:
    @app.task(retry=QUICK)
    def check(ctx: Context) -> dict[str, Any]:
        return {"success": ctx.attempt == 2, "attempt": ctx.attempt}

    async with app.worker():
        job = await tick(app, check)
        assert await job.result(timeout=60) == {"success": True, "attempt": 2}


async def test_models_and_dataclasses(app: Mainspring) -> None:
    @app.task(retry=ONCE)
    async def model() -> Answer:
        return Answer(success=False, error="no")

    @app.task(retry=ONCE)
    async def report() -> Report:
        return Report(success=False, message="not done")

    async with app.worker():
        for task, message in ((model, "no"), (report, "not done")):
            error = (await failed(await tick(app, task))).error
            assert error is not None
            assert error.message == message
            await app.schedules.delete("nightly")


async def test_other_runs_may_return_what_they_like(app: Mainspring) -> None:
    @app.task
    async def check() -> dict[str, Any]:
        return {"success": False, "error": "disk full"}

    async with app.worker():
        job = await check.enqueue()
        assert await job.result(timeout=60) == {"success": False, "error": "disk full"}
        assert await job.status() == "completed"


async def test_retry_on_does_not_speak_of_it_and_dead_letter_does(app: Mainspring) -> None:
    asked: list[tuple[str, int]] = []

    def dead_letter(error: BaseException, attempt: int) -> bool:
        asked.append((str(error), attempt))
        return False

    policy = Retry(max_attempts=2, backoff="fixed", initial_delay=0.001, jitter=0, retry_on=(ConnectionError,))

    @app.task(retry=policy, dead_letter=dead_letter)
    async def check() -> dict[str, Any]:
        return {"success": False, "error": "disk full"}

    async with app.worker():
        row = await failed(await tick(app, check))
    assert row.state is State.FAILED
    assert len(row.runs) == 2
    assert asked == [("disk full", 1), ("disk full", 2)]


async def test_a_long_error_is_cut(app: Mainspring) -> None:
    @app.task(retry=ONCE)
    async def check() -> dict[str, Any]:
        return {"success": False, "error": "x" * 100_000}

    async with app.worker():
        error = (await failed(await tick(app, check))).error
    assert error is not None
    assert len(error.message) == 2_000


UNSAID = "the handler reported success: false"


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ('{"success":false}', UNSAID),
        ('{"success":false,"error":null,"message":""}', UNSAID),
        ('{"success":false,"error":"","message":"because"}', "because"),
        ('{"error":"first","message":"second","success":false}', "first"),
        ('{"success":false,"error":{"code":7}}', '{"code":7}'),
        ('{"success":false,"error":[1,2]}', "[1,2]"),
        ('{"success":true,"error":"none"}', None),
        ('{"success":0}', None),
        ('{"success":null}', None),
        ('{"success":"false"}', None),
        ('{"inner":{"success":false}}', None),
        ('{"failure":false}', None),
        ('[{"success":false}]', None),
        ('"{\\"success\\":false}"', None),
        ("false", None),
    ],
)
def test_exactly_false_and_nothing_else(result: str, why: str | None) -> None:
    assert unsuccessful(result) == why


async def test_a_mapping_of_another_kind(app: Mainspring) -> None:
    @app.task(retry=ONCE)
    async def check() -> Mapping[str, object]:
        return {"success": False, "error": {"code": 7}}

    async with app.worker():
        error = (await failed(await tick(app, check))).error
    assert error is not None
    assert error.message == '{"code":7}'
