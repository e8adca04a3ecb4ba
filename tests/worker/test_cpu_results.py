"""cpu=True: what a handler returns and what it sees of its runs is as without, also where nothing can be returned."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from mainspring import JobFailed, ResultError
from mainspring.core.job import Job, State
from mainspring.testing import kit
from mainspring.worker.worker import Worker
from tests.worker import cpu_results as shop

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

both = pytest.mark.parametrize("where", ["loop", "process"])


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def worker() -> AsyncIterator[Worker]:
    async with kit(shop.app), shop.app.worker(concurrency=4, cpu_processes=1, grace=5) as worker:
        yield worker


async def ended(task: str, input: dict[str, Any] | None = None) -> Job:
    """The row of a job of `task`, however it ended."""
    job = await shop.app.enqueue(task, input or {})
    with contextlib.suppress(ResultError):
        await shop.app.ended(job.id, 60)
    return await shop.app.get(job.id)


@both
@pytest.mark.parametrize("task", shop.UNWRITABLE)
async def test_a_result_that_is_too_deep_or_within_itself_is_one_failure(task: str, where: str) -> None:
    row = await ended(f"{task}.{where}")
    assert (row.state, row.reason) == (State.DEAD, "not retryable")
    assert [run.outcome for run in row.runs] == ["failed"]
    assert row.error is not None
    assert (row.error.type, "200 levels" in row.error.message) == ("OutputError", True)


@both
@pytest.mark.parametrize(("how", "kind"), [("error", "KeyError"), ("exit", "SystemExit")])
async def test_what_a_result_raises_as_it_is_written_is_a_failure_as_any_other(how: str, kind: str, where: str) -> None:
    row = await ended(f"broken.{where}", {"how": how})
    assert (row.state, row.reason) == (State.DEAD, "exhausted")
    assert [run.outcome for run in row.runs] == ["failed"] * 3
    assert row.error is not None
    assert row.error.type == kind


@both
async def test_the_reason_is_told_to_who_waits(where: str) -> None:
    with pytest.raises(JobFailed, match=r"OutputError.*Circular reference.*Fix the handler"):
        await (await shop.app.enqueue(f"cyclic.{where}", {})).result(timeout=60)


@both
async def test_a_handler_sees_its_earlier_runs(where: str) -> None:
    job = await shop.app.enqueue(f"history.{where}", {})
    assert await job.result(timeout=60) == ["1 failed: OSError: no luck", "2 snoozed: not yet"]
