"""cpu=True: handlers in processes of their own, as seen through the app."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mainspring import JobFailed, ResultError, Retry
from mainspring.core.job import Job, State
from mainspring.testing import kit
from mainspring.worker.worker import Worker
from tests.worker import cpu_shop as shop
from tests.worker.conftest import tick, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[Worker]:
    """A worker of the shop, on a store of its own in memory; two processes. One for all: its start takes a second."""
    async with kit(shop.app), shop.app.worker(concurrency=4, cpu_processes=2, grace=5) as worker:
        yield worker


async def ended(job: Any, seconds: float = 20) -> Job:
    """The row, however it ended."""
    with contextlib.suppress(ResultError):
        await shop.app.ended(job.id, seconds)
    return await shop.app.get(job.id)


async def once_run(job: Any, seconds: float = 20) -> Job:
    """The row when its first run has ended."""
    async with asyncio.timeout(seconds):
        while not (row := await shop.app.get(job.id)).runs:
            await tick()
    return row


def begun(folder: Path) -> list[int]:
    """The processes in which a handler has begun."""
    return [int(path.name) for path in folder.iterdir() if not path.suffix]


def done(folder: Path) -> set[int]:
    """Those in which it came to its end."""
    return {int(path.stem) for path in folder.iterdir() if path.suffix}


async def test_a_handler_runs_in_another_process_and_its_result_is_typed(worker: Worker) -> None:
    first = await shop.add_up.enqueue([1, 2, 3])
    sum = await first.result(timeout=60)
    assert isinstance(sum, shop.Sum)
    assert (sum.total, sum.pid != os.getpid()) == (6, True)
    assert (await ended(await shop.nothing.enqueue())).has_result is False


@pytest.mark.parametrize("value", ["text", "\x00 ü \U0001f600", 2**62, 0.1, None, [], {"a": [None, {}]}, "x" * 200_000])
async def test_what_it_is_given_and_returns_is_carried_over(worker: Worker, value: object) -> None:
    assert await (await shop.echo.enqueue(value)).result(timeout=60) == value


async def test_it_sees_its_context(worker: Worker) -> None:
    job = await shop.who.options(meta={"a": "b"}).enqueue()
    seen = await job.result(timeout=60)
    assert (seen["id"], seen["task"], seen["attempt"], seen["fence"]) == (job.id, "who", 1, 1)
    assert (seen["worker"], seen["cancelled"], seen["meta"]) == (worker.id, False, {"a": "b"})


async def test_it_logs_and_reports_progress(worker: Worker) -> None:
    job = await shop.talkative.enqueue(300)
    assert await job.result(timeout=60) == 300
    lines = await shop.app.jobs.logs(job.id)
    assert [line.text for line in lines] == [*(f"line {n}" for n in range(300)), "careful"]
    assert lines[-1].level == "warning"
    row = await shop.app.get(job.id)
    assert '"percent":100' in (row.progress or "")


async def test_what_it_prints_is_captured(worker: Worker) -> None:
    job = await shop.prints.enqueue()
    await ended(job)
    lines = [(line.level, line.text) for line in await shop.app.jobs.logs(job.id)]
    assert lines == [("info", "printed"), ("warning", "on the other"), ("warning", "logged 1")]


@pytest.mark.parametrize(
    ("how", "state", "outcome", "reason"),
    [
        ("cancel", State.CANCELLED, "cancelled", "no longer wanted"),
        ("dead", State.DEAD, "dead", "hopeless"),
        ("skip", State.COMPLETED, "skipped", "nothing to do"),
        ("boom", State.DEAD, "failed", "exhausted"),
        ("exit", State.DEAD, "failed", "exhausted"),
        ("text", State.DEAD, "failed", "exhausted"),
    ],
)
async def test_what_it_raises_steers_its_job(worker: Worker, how: str, state: State, outcome: str, reason: str) -> None:
    row = await ended(await shop.raises.enqueue(how))
    assert (row.state, row.runs[-1].outcome, row.reason) == (state, outcome, reason)
    assert len(row.runs) == (3 if outcome == "failed" else 1)


@pytest.mark.parametrize(("how", "outcome"), [("snooze", "snoozed"), ("retry", "failed")])
async def test_it_asks_for_another_time(worker: Worker, how: str, outcome: str) -> None:
    job = await shop.raises.enqueue(how)
    row = await once_run(job)
    assert (row.state, row.runs[-1].outcome) == (State.WAITING, outcome)
    assert row.due_at > shop.app.clock.now() + 3_000_000
    await job.cancel()


async def test_an_error_arrives_with_its_type_and_traceback(worker: Worker) -> None:
    row = await ended(await shop.raises.enqueue("boom"))
    assert row.error is not None
    assert (row.error.type, row.error.message) == ("tests.worker.cpu_shop.Broken", "boom")
    assert "raise Broken(how)" in row.error.traceback
    assert "process/handler.py" not in row.error.traceback


async def test_the_task_s_own_policy_is_asked_where_the_error_is(worker: Worker) -> None:
    again, never = await shop.only_some.enqueue("again"), await shop.only_some.enqueue("never")
    assert [len((await ended(job)).runs) for job in (again, never)] == [5, 1]


@pytest.mark.parametrize("task", [shop.too_much, shop.promises])
async def test_a_result_that_does_not_fit_is_not_tried_again(worker: Worker, task: Any) -> None:
    row = await ended(await task.enqueue())
    assert (row.state, len(row.runs), row.reason) == (State.DEAD, 1, "not retryable")


async def test_dependencies_are_made_and_cleaned_up_in_its_process(worker: Worker, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    job = await shop.depends.options(meta={"trace": str(trace)}).enqueue("a")
    word, _, of, pid = (await job.result(timeout=60)).split()
    assert (word, of) == ("a", "of")
    pid = pid.removesuffix("!")
    assert pid != str(os.getpid())
    assert trace.read_text() == f"open in {pid}\nclosed in {pid}\n"


async def test_it_may_have_processes_of_its_own(worker: Worker) -> None:
    assert await (await shop.by_others.enqueue([-1, 2])).result(timeout=60) == [1, 2]


async def test_a_transaction_of_another_process_is_refused(worker: Worker) -> None:
    row = await ended(await shop.transacts.enqueue())
    assert row.error is not None
    assert "ctx.transaction cannot be used by a cpu handler" in row.error.message


async def test_a_store_in_memory_is_out_of_reach_for_it(worker: Worker) -> None:
    with pytest.raises(JobFailed, match="cannot reach the store of its worker"):
        await (await shop.enqueues.options(retry=Retry(1)).enqueue(1)).result(timeout=60)


# -- the end of a process ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("segfault", "was ended by SIGSEGV"),
        ("abort", "was ended by SIGABRT"),
        ("kill", "was ended by SIGKILL"),
        ("exit", "ended in the middle of its run, with exit code 7"),
    ],
)
async def test_a_handler_that_ends_its_process_is_interrupted_and_in_the_end_poison(
    worker: Worker, how: str, told: str
) -> None:
    row = await ended(await shop.dies.enqueue(how))
    assert (row.state, row.reason) == (State.DEAD, "poison")
    assert [run.outcome for run in row.runs] == ["interrupted"] * 3
    assert {run.error.message for run in row.runs if run.error} == {f"the process of the handler {told}"}
    assert row.error is not None
    assert told in row.error.message
    assert (worker.desk.running, worker.exit_code) == (0, 0)


async def test_at_most_once_is_once_and_the_last_words_are_kept(worker: Worker) -> None:
    job = await shop.dies_once.enqueue()
    row = await ended(job)
    assert (row.state, len(row.runs)) == (State.DEAD, 1)
    assert [line.text for line in await shop.app.jobs.logs(job.id)] == ["the last word"]


async def test_neighbours_are_unharmed_by_a_crash(worker: Worker, tmp_path: Path) -> None:
    neighbour = await shop.loops.enqueue(str(tmp_path), seconds=1)
    await wait_until(lambda: begun(tmp_path), "the neighbour to begin")
    deaths = [await shop.dies.enqueue("exit") for _ in range(3)]
    assert {(await ended(job)).state for job in deaths} == {State.DEAD}
    assert await (await shop.waits.enqueue()).result(timeout=60) == "not blocked"
    row = await ended(neighbour)
    assert (row.state, len(row.runs)) == (State.COMPLETED, 1)


async def test_a_timed_out_handler_is_killed_and_no_other(worker: Worker, tmp_path: Path) -> None:
    other = await shop.loops.enqueue(str(tmp_path), seconds=1.5)
    late = await shop.loops.options(timeout=0.3, retry=Retry(1)).enqueue(str(tmp_path))
    row = await ended(late)
    assert (row.state, [run.outcome for run in row.runs]) == (State.DEAD, ["timed_out"])
    assert (await ended(other)).state is State.COMPLETED
    [killed] = set(begun(tmp_path)) - done(tmp_path)
    assert gone(killed)


async def test_a_cancelled_handler_is_killed(worker: Worker, tmp_path: Path) -> None:
    job = await shop.loops.enqueue(str(tmp_path))
    await wait_until(lambda: begun(tmp_path), "it to begin")
    [pid] = begun(tmp_path)
    assert await job.cancel()
    assert (await ended(job)).state is State.CANCELLED
    assert gone(pid)
    assert (await (await shop.add_up.enqueue([1])).result(timeout=60)).total == 1


async def test_what_it_has_started_dies_with_it(worker: Worker, tmp_path: Path) -> None:
    job = await shop.starts_another.enqueue(str(tmp_path))
    await wait_until(lambda: begun(tmp_path), "the program to begin")
    [pid] = begun(tmp_path)
    await job.cancel()
    await ended(job)
    await wait_until(lambda: gone(pid), "the program to be gone")


async def test_no_more_run_at_once_than_there_are_processes_for(worker: Worker, tmp_path: Path) -> None:
    jobs = [await shop.loops.enqueue(str(tmp_path), seconds=0.2) for _ in range(6)]
    ending = asyncio.gather(*(ended(job) for job in jobs))
    most = 0

    def look() -> bool:
        nonlocal most
        most = max(most, worker.desk.running)
        return ending.done()

    await wait_until(look, "all to end")
    assert most == 2
    assert len(begun(tmp_path)) == 2  # and they were kept


async def test_the_others_do_not_wait_for_a_process(worker: Worker, tmp_path: Path) -> None:
    jobs = [await shop.loops.enqueue(str(tmp_path), seconds=30) for _ in range(3)]
    await wait_until(lambda: len(begun(tmp_path)) == 2, "both processes to be busy")
    assert await (await shop.waits.enqueue()).result(timeout=60) == "not blocked"
    for job in jobs:
        await job.cancel()
        await ended(job)


async def test_a_process_that_dies_idle_is_replaced(worker: Worker) -> None:
    first = (await (await shop.add_up.enqueue([1])).result(timeout=60)).pid
    os.kill(first, signal.SIGKILL)
    await wait_until(lambda: gone(first), "it to be gone")
    second = (await (await shop.add_up.enqueue([1])).result(timeout=60)).pid
    assert second != first


async def test_the_death_of_their_parent_is_an_interruption_and_no_more(worker: Worker, tmp_path: Path) -> None:
    job = await shop.loops.enqueue(str(tmp_path), seconds=1)
    await wait_until(lambda: begun(tmp_path), "it to begin")
    [child] = begun(tmp_path)
    os.kill(parent_of(child), signal.SIGKILL)
    row = await ended(job)
    assert (row.state, [run.outcome for run in row.runs]) == (State.COMPLETED, ["interrupted", "succeeded"])
    assert gone(child)


def gone(pid: int) -> bool:
    """Whether a process has ended, buried or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return True


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
