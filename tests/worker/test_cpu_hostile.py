"""cpu=True: handlers that fork, reasons that cannot be carried, a nursery that is gone, stopped, or not to be had."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from mainspring.core.job import Job, State
from mainspring.errors import DefinitionError
from mainspring.testing import kit
from mainspring.worker import executor, nursery
from mainspring.worker.nursery import Child, Nursery
from mainspring.worker.raised import NoProcess
from mainspring.worker.worker import Worker
from tests.worker import cpu_shop as shop
from tests.worker.conftest import tick, wait_until
from tests.worker.test_cpu import ended, gone, parent_of

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[Worker]:
    async with kit(shop.app), shop.app.worker(concurrency=4, cpu_processes=1, grace=5) as worker:
        yield worker


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "PUT_OFF", 0.01)


def outcomes(row: Job) -> list[str]:
    return [run.outcome for run in row.runs]


async def kill(*pids: int) -> None:
    """And wait until the worker has heard of it: an end is seen by the next turn of its loop."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it has died with the one before
            os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: all(gone(pid) for pid in pids), "them to end")
    await tick()
    await tick()


async def ids_of(worker: Worker) -> tuple[int, int]:
    """The ids of the child and of the nursery."""
    child = (await (await shop.add_up.enqueue([1])).result(timeout=60)).pid
    return child, parent_of(child)


# -- handlers ----------------------------------------------------------------------------------------------------------


async def test_a_fork_of_a_handler_that_returns_answers_for_nobody(worker: Worker) -> None:
    job = await shop.forks.enqueue()
    assert await job.result(timeout=60) == 1
    assert await shop.app.jobs.logs(job.id) == []
    assert [await (await shop.echo.enqueue(n)).result(timeout=60) for n in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(("how", "why"), [("surrogate", "no \\ud800"), ("long", "x" * 2_000), ("no text", "<object")])
async def test_a_reason_may_be_anything(worker: Worker, how: str, why: str) -> None:
    row = await ended(await shop.raises.enqueue(how))
    assert (row.state, outcomes(row)) == (State.CANCELLED, ["cancelled"])
    assert (row.reason or "")[:2_000].startswith(why[:1_900])


async def test_a_subclass_steers_as_its_class(worker: Worker) -> None:
    job = await shop.raises.enqueue("not yet")
    row: Job | None = None

    async def snoozed() -> bool:
        nonlocal row
        row = await shop.app.get(job.id)
        return bool(row.runs)

    while not await snoozed():
        await asyncio.sleep(0)
    assert row is not None
    assert (row.state, outcomes(row)) == (State.WAITING, ["snoozed"])


async def test_the_environment_is_the_worker_s(worker: Worker) -> None:
    assert await (await shop.pythonpath.enqueue()).result(timeout=60) == os.environ.get("PYTHONPATH")


# -- no process --------------------------------------------------------------------------------------------------------


async def no_process(self: Nursery) -> Child:
    raise NoProcess("none to be had")


async def test_a_job_that_was_put_off_can_be_cancelled(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    child, _ = await ids_of(worker)
    await kill(child)
    with monkeypatch.context() as patch:
        patch.setattr(Nursery, "fork", no_process)
        patch.setattr(executor, "PUT_OFF", 3_600)
        job = await shop.echo.options(timeout="1h").enqueue(1)
        await wait_until(lambda: worker.stats().active == 1, "it to be put off")
        await job.cancel()
        assert (await ended(job)).state is State.CANCELLED
    assert worker.stats().active == 0


async def test_no_line_for_a_process_is_no_failure(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    child, _ = await ids_of(worker)
    await kill(child)
    tried: list[int] = []
    real = socket.socketpair

    def too_many(*arguments: Any) -> Any:
        tried.append(1)
        if len(tried) < 3:
            raise OSError(24, "Too many open files")
        return real(*arguments)

    monkeypatch.setattr(socket, "socketpair", too_many)
    row = await ended(await shop.echo.enqueue(5))
    assert (row.state, row.attempts, set(outcomes(row))) == (State.COMPLETED, 1, {"released", "succeeded"})


async def test_a_nursery_that_cannot_be_started_again_is_no_failure(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    child, parent = await ids_of(worker)
    starts: list[int] = []
    real = Nursery.start

    async def broken(self: Nursery) -> None:
        starts.append(1)
        if len(starts) == 1:
            raise DefinitionError("its files have changed")
        await real(self)

    monkeypatch.setattr(Nursery, "start", broken)
    await kill(parent, child)
    row = await ended(await shop.echo.enqueue(5))
    assert row.state is State.COMPLETED
    assert "failed" not in outcomes(row)


async def test_no_time_of_a_job_runs_while_a_nursery_starts(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    child, parent = await ids_of(worker)
    begun, go_on = asyncio.Event(), asyncio.Event()
    real = Nursery.start

    async def slow(self: Nursery) -> None:
        begun.set()
        await go_on.wait()
        await real(self)

    monkeypatch.setattr(Nursery, "start", slow)
    await kill(parent, child)
    await shop.echo.enqueue(0)  # finds out, where nobody has
    cancelled = await shop.echo.enqueue(1)
    job = await shop.echo.options(timeout=0.2).enqueue(5)
    await begun.wait()
    await cancelled.cancel()
    await asyncio.wait([asyncio.ensure_future(go_on.wait())], timeout=0.4)  # its timeout is over
    go_on.set()
    assert await job.result(timeout=60) == 5


async def test_a_nursery_that_does_not_answer_is_replaced(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nursery, "ANSWERS_WITHIN", 0.2)
    child, parent = await ids_of(worker)
    os.kill(parent, signal.SIGSTOP)
    os.kill(child, signal.SIGKILL)
    assert await (await shop.echo.enqueue(5)).result(timeout=60) == 5
    assert (await ids_of(worker))[1] != parent
