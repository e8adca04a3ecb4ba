"""`ctx.mark_completed`: a job is completed exactly when the handler's transaction commits, whatever comes after it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress

import pytest

from mainspring import Cancel, Context, DeadLetter, JobFailed, Mainspring, Retry, Snooze
from mainspring.core.job import Job, State
from mainspring.errors import StoreUnavailable
from tests.worker.conftest import wait_until
from tests.worker.shop import Shop, failing_looks, ignored, shop

pytestmark = pytest.mark.slow  # seconds in all, and others show the essentials quickly

__all__ = ["shop"]

AT_ONCE = Retry(max_attempts=3, initial_delay=0)


def outcomes(job: object) -> list[str]:
    return [run.outcome for run in job.runs]  # type: ignore[attr-defined]


@pytest.mark.parametrize("own", [False, True])
async def test_a_job_is_completed_when_the_transaction_commits_and_not_when_the_handler_ends(
    shop: Shop, own: bool
) -> None:
    marked, commit, end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def order(ctx: Context, session: sqlite3.Connection) -> None:
        shop.order(session)
        await ctx.mark_completed("sold", session=session)
        marked.set()
        await commit.wait()

    @shop.app.task
    async def sell(ctx: Context) -> str:
        if own:
            with closing(shop.connect()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                await order(ctx, connection)
                connection.execute("COMMIT")
        else:
            async with ctx.transaction() as session:
                await order(ctx, session)
        await end.wait()
        return "sold"

    async with shop.app.worker() as worker:
        job = await sell.enqueue()
        await asyncio.wait_for(marked.wait(), 60)
        assert (await job.status(), shop.orders) == ("running", [])
        commit.set()
        assert await job.result(timeout=60) == "sold"
        assert shop.orders == [1]
        await wait_until(lambda: worker.stats().processed == 1, "the settle to be known")
        assert worker.stats().active == 1, "the handler goes on, in its slot"
        end.set()
        await wait_until(lambda: not worker.desk.holds, "the handler to end")
        assert worker.stats().processed == 1
    assert outcomes(await job.get()) == ["succeeded"]


async def test_what_is_rolled_back_completes_nothing_and_is_retried(shop: Shop) -> None:
    @shop.app.task(retry=AT_ONCE)
    async def sell(ctx: Context) -> str:
        async with ctx.transaction() as session:
            shop.order(session, ctx.attempt)
            await ctx.mark_completed(f"attempt {ctx.attempt}", session=session)
            if ctx.attempt == 1:
                raise ValueError("no stock")
        return "ignored"

    async with shop.app.worker():
        job = await sell.enqueue()
        assert await job.result(timeout=60) == "attempt 2"
    assert shop.orders == [2]
    assert outcomes(await job.get()) == ["failed", "succeeded"]


async def test_a_handler_that_returns_after_a_rollback_has_succeeded_as_always(shop: Shop) -> None:
    @shop.app.task
    async def sell(ctx: Context) -> str:
        with suppress(ValueError):
            async with ctx.transaction() as session:
                shop.order(session)
                await ctx.mark_completed("sold", session=session)
                raise ValueError("no stock")
        return "none left"

    async with shop.app.worker():
        job = await sell.enqueue()
        assert await job.result(timeout=60) == "none left"
    assert shop.orders == []


ENDS: list[tuple[Callable[[], Exception], str]] = [
    (lambda: ValueError("late"), "ValueError: late"),
    (lambda: Snooze("1h"), "snoozed"),
    (lambda: Cancel("no"), "cancelled"),
    (lambda: DeadLetter("no"), "dead"),
    (lambda: Retry.after("1h"), "Retry"),
]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(("end", "told"), ENDS)
async def test_whatever_comes_after_the_commit_is_ignored_and_told(
    shop: Shop, caplog: pytest.LogCaptureFixture, end: Callable[[], Exception], told: str, own: bool
) -> None:
    @shop.app.task
    async def sell(ctx: Context) -> str:
        if own:
            with closing(shop.connect()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                await ctx.mark_completed("sold", within=connection)
                connection.execute("COMMIT")
        else:
            async with ctx.transaction() as session:
                await ctx.mark_completed("sold", session=session)
        raise end()

    async with shop.app.worker() as worker:
        job = await sell.enqueue()
        assert await job.result(timeout=60) == "sold"
        await wait_until(lambda: not worker.desk.holds, "the handler to end")
        assert worker.stats().failed == 0
    assert outcomes(await job.get()) == ["succeeded"]
    [kept] = ignored(caplog)
    assert str(kept).startswith(told)


@pytest.mark.parametrize(("returned", "told"), [("sold", []), ("other", ["success"]), (None, [])])
async def test_the_result_is_the_one_that_was_committed(
    shop: Shop, caplog: pytest.LogCaptureFixture, returned: str | None, told: list[str]
) -> None:
    @shop.app.task
    async def sell(ctx: Context) -> str:
        async with ctx.transaction() as session:
            await ctx.mark_completed("sold", session=session)
        return returned  # type: ignore[return-value]

    async with shop.app.worker() as worker:
        job = await sell.enqueue()
        assert await job.result(timeout=60) == "sold"
        await wait_until(lambda: not worker.desk.holds, "the handler to end")
    assert ignored(caplog) == told


async def test_a_timeout_before_the_commit_rolls_back_and_one_after_it_changes_nothing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    @shop.app.task(timeout=0.05, retry=AT_ONCE)
    async def sell(ctx: Context) -> str:
        async with ctx.transaction() as session:
            shop.order(session, ctx.attempt)
            await ctx.mark_completed("sold", session=session)
            if ctx.attempt == 1:
                await asyncio.Event().wait()
        await asyncio.Event().wait()
        return ""

    async with shop.app.worker() as worker:
        job = await sell.enqueue()
        assert await job.result(timeout=60) == "sold"
        await wait_until(lambda: not worker.desk.holds, "the handler to be timed out")
    assert shop.orders == [2]
    assert outcomes(await job.get()) == ["timed_out", "succeeded"]
    assert ignored(caplog) == ["TimeoutError: timed out after 0.05 s"]


async def test_a_cancel_does_not_undo_a_commit(shop: Shop) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    @shop.app.task
    def sell(ctx: Context) -> str:
        async def order(session: sqlite3.Connection) -> None:
            shop.order(session)
            await ctx.mark_completed("sold", session=session)

        ctx.sync(ctx.with_transaction, order)
        return "sold"

    @shop.app.task
    async def slow(ctx: Context) -> None:
        with closing(shop.connect()) as connection:
            entered.set()
            await go_on.wait()
            connection.execute("BEGIN IMMEDIATE")
            await ctx.mark_completed(session=connection)
            connection.execute("COMMIT")

    async with shop.app.worker():
        job = await sell.enqueue()
        assert await job.result(timeout=60) == "sold"
        assert not await job.cancel()
        assert await job.status() == "completed"
        other = await slow.enqueue()
        await asyncio.wait_for(entered.wait(), 60)
        client = await shop.app.connect()
        row = await client.get(other.id)
        [asked] = await client.store.save([row.evolve(input=None, cancelling="too late")])  # nobody tells the worker
        assert asked is not None
        go_on.set()
        await other.result(timeout=60)
    assert shop.orders == [1]


async def test_twice_is_once(shop: Shop) -> None:
    @shop.app.task
    async def sell(ctx: Context) -> str:
        async with ctx.transaction() as session:
            shop.order(session, 1)
            await ctx.mark_completed("first", session=session)
            await ctx.mark_completed("second", session=session)
        async with ctx.transaction() as session:
            shop.order(session, 2)
            await ctx.mark_completed("third", session=session)
        return "first"

    async with shop.app.worker() as worker:
        job = await sell.enqueue()
        assert await job.result(timeout=60) == "first"
        await wait_until(lambda: not worker.desk.holds, "the handler to end")
        assert worker.processed == 1
    assert shop.orders == [1, 2]


async def test_the_store_does_not_answer_after_the_commit(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    fail = failing_looks(monkeypatch)

    @shop.app.task
    async def sell(ctx: Context) -> str:
        async with ctx.transaction() as session:
            shop.order(session)
            await ctx.mark_completed("sold", session=session)
            fail(3)
        raise ValueError("late")

    async with shop.app.worker():
        job = await sell.enqueue()
        assert await job.result(timeout=60) == "sold"
    assert shop.orders == [1]
    assert outcomes(await job.get()) == ["succeeded"]


async def test_what_could_not_be_looked_at_after_the_commit_is_looked_at_while_the_handler_goes_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail, end = failing_looks(monkeypatch), asyncio.Event()

    @shop.app.task
    async def sell(ctx: Context) -> str:
        async with ctx.transaction() as session:
            await ctx.mark_completed("sold", session=session)
            fail(3)
        await end.wait()
        return "sold"

    async with shop.app.worker():
        job = await sell.enqueue()
        assert await job.result(timeout=60) == "sold"
        end.set()


async def test_a_handler_that_is_cancelled_while_its_completion_is_settled(shop: Shop) -> None:
    @shop.app.task
    async def sell(ctx: Context) -> str:
        async with ctx.transaction() as session:
            shop.order(session)
            await ctx.mark_completed("sold", session=session)
        return "sold"

    async with shop.app.worker() as worker:
        saving, go_on, save = asyncio.Event(), asyncio.Event(), worker.store.save

        async def slow(jobs: Sequence[Job], within: object = None) -> list[Job | None]:
            saving.set()
            await go_on.wait()
            return await save(jobs, within)

        worker.store.save = slow  # type: ignore[method-assign]
        job = await sell.enqueue()
        await asyncio.wait_for(saving.wait(), 60)
        [hold] = worker.desk.holds
        worker.executor.stop(hold, "cancel", "now")
        await wait_until(lambda: hold.handler_done, "the handler to end")
        go_on.set()
        assert await job.result(timeout=60) == "sold"
        await wait_until(lambda: not worker.desk.holds, "all to be settled")
        assert worker.processed == 1
    assert outcomes(await job.get()) == ["succeeded"]


async def test_a_worker_that_stops_in_the_middle_gives_the_job_back(shop: Shop) -> None:
    entered = asyncio.Event()

    @shop.app.task
    async def sell(ctx: Context) -> str:
        async with ctx.transaction() as session:
            shop.order(session, ctx.fence)
            await ctx.mark_completed("sold", session=session)
            entered.set()
            if ctx.fence == 1:
                await asyncio.Event().wait()
        return "sold"

    async with shop.app.worker(grace=0):
        job = await sell.enqueue()
        await asyncio.wait_for(entered.wait(), 60)
    assert (await job.status(), shop.orders) == ("pending", [])
    async with shop.app.worker():
        assert await job.result(timeout=60) == "sold"
    assert shop.orders == [2]
    assert outcomes(await job.get()) == ["released", "succeeded"]


@pytest.mark.slow
async def test_a_run_that_cannot_learn_its_end_is_lost_and_the_next_claim_finds_it(shop: Shop) -> None:
    ran = 0

    @shop.app.task
    async def sell(ctx: Context) -> str:
        nonlocal ran
        ran += 1
        async with ctx.transaction() as session:
            shop.order(session)
            await ctx.mark_completed("sold", session=session)
            shop.outages.down()
        await shop.clock.advance("16s")
        raise ValueError("late")

    async with shop.app.worker(poll=0.05) as worker:
        job = await sell.enqueue()
        await wait_until(lambda: ran == 1 and not worker.desk.holds, "the run to be given up")
        shop.outages.up()
        await job.result(timeout=60)
    assert (ran, shop.orders) == (1, [1])
    row = await job.get()
    assert (row.claims, outcomes(row)) == (2, ["succeeded"])


@pytest.mark.parametrize(("unread", "runs"), [(0, 1), (1, 2)])
async def test_a_commit_whose_answer_is_lost_is_not_made_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, unread: int, runs: int
) -> None:
    """Where it cannot be learned that it was made, the callback runs again, and what it writes is rolled back."""
    ran, fail = 0, failing_looks(monkeypatch)

    @shop.app.task
    async def sell(ctx: Context) -> str:
        async def order(session: sqlite3.Connection) -> str:
            nonlocal ran
            ran += 1
            shop.order(session)
            await ctx.mark_completed("sold", session=session)
            return "callback"

        shop.outages.fail_next(operation="transaction")
        shop.outages.lose_answers(operation="transaction")
        fail(unread)
        await ctx.with_transaction(order)
        return "sold"

    async with shop.app.worker():
        job = await sell.enqueue()
        assert await job.result(timeout=60) == "sold"
    assert (ran, shop.orders) == (runs, [1])


async def test_lines_that_are_logged_after_the_completion_are_kept(shop: Shop) -> None:
    @shop.app.task
    async def sell(ctx: Context) -> None:
        ctx.log("before")
        async with ctx.transaction() as session:
            await ctx.mark_completed(session=session)
        ctx.log("after")
        ctx.progress(50)

    async with shop.app.worker() as worker:
        job = await sell.enqueue()
        await job.result(timeout=60)
        await wait_until(lambda: not worker.desk.holds, "the handler to end")
        assert [line.text for line in await worker.store.tail(job.id)] == ["before", "after"]


async def test_the_heartbeat_leaves_a_completed_job_alone(shop: Shop) -> None:
    end = asyncio.Event()

    @shop.app.task
    async def sell(ctx: Context) -> bool:
        async with ctx.transaction() as session:
            await ctx.mark_completed(True, session=session)
        await shop.clock.advance("20s")  # its lease is long over
        ctx.log("still here")
        await end.wait()
        return not ctx.cancelled

    async with shop.app.worker(beat=0.05, lease=0.2) as worker:
        job = await sell.enqueue()
        await job.result(timeout=60)
        renewals, passes = shop.outages.calls["renew"], shop.outages.calls["time"]
        for _ in range(8):  # the clock stands still but for this, and a beat is told by it
            await shop.clock.advance("1s")
            passes += 1
            await wait_until(lambda: shop.outages.calls["time"] >= passes, "a beat")  # noqa: B023
        assert shop.outages.calls["renew"] == renewals
        [hold] = worker.desk.holds
        assert (hold.stop, len(hold.lines)) == (None, 1)
        assert worker.heartbeat._next(shop.clock.now()) == 0.05, "it does not hurry for lines that wait for the end"
        end.set()
    assert outcomes(await job.get()) == ["succeeded"]


async def test_a_stop_of_the_worker_leaves_a_completed_job_alone(shop: Shop) -> None:
    end = threading.Event()

    @shop.app.task
    def sell(ctx: Context) -> None:
        async def complete(session: sqlite3.Connection) -> None:
            await ctx.mark_completed(session=session)

        ctx.sync(ctx.with_transaction, complete)
        end.wait()

    try:
        async with shop.app.worker(grace=0) as worker:
            job = await sell.enqueue()
            await job.result(timeout=60)
            before = await job.get()
            await worker.stop()
    finally:
        end.set()
    assert before.state is State.COMPLETED
    assert await job.get() == before


async def test_without_a_transaction_or_with_a_wrong_result_it_raises(shop: Shop) -> None:
    told: list[str] = []

    @shop.app.task
    async def sell(ctx: Context) -> int:
        async with ctx.transaction() as session:
            for arguments in [{}, {"session": session, "within": session}, {"session": "no"}]:
                try:
                    await ctx.mark_completed(1, **arguments)
                except Exception as error:
                    told.append(type(error).__name__)
            try:
                await ctx.mark_completed("one", session=session)
            except Exception as error:
                told.append(type(error).__name__)
        return 2

    async with shop.app.worker():
        job = await sell.enqueue()
        assert await job.result(timeout=60) == 2
    assert told == ["DefinitionError", "DefinitionError", "DefinitionError", "OutputError"]


async def test_a_store_without_transactions_refuses() -> None:
    async with Mainspring("sqlite://:memory:") as app:

        @app.task(retries=0)
        async def sell(ctx: Context) -> None:
            async with ctx.transaction():
                pass

        async with app.worker():
            with pytest.raises(JobFailed, match="no transactions"):
                await (await sell.enqueue()).result(timeout=60)


async def test_a_lost_race_is_run_again_in_the_same_run(shop: Shop) -> None:
    ran = 0

    @shop.app.task(retries=0)
    async def sell(ctx: Context) -> str:
        async def order(session: sqlite3.Connection) -> str:
            nonlocal ran
            ran += 1
            shop.order(session, ran)
            await ctx.mark_completed("sold", session=session)
            if ran < 3:
                raise StoreUnavailable("lost")
            return "sold"

        return await ctx.with_transaction(order)

    async with shop.app.worker():
        job = await sell.enqueue()
        assert await job.result(timeout=60) == "sold"
    assert (ran, shop.orders) == (3, [3])
