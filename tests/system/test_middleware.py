"""Middleware: around every run, the first outermost; it sees values and exceptions, and may replace them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest

from mainspring import Context, DefinitionError, Depends, JobCancelled, JobFailed, Mainspring, Retry, Snooze
from mainspring.worker.middleware import CallNext

WAIT = 60
correlation: ContextVar[str] = ContextVar("correlation", default="none")


@pytest.fixture
async def app() -> AsyncIterator[Mainspring]:
    app = Mainspring("sqlite://:memory:")
    yield app
    await app.close()


async def test_the_first_is_the_outermost_and_each_sees_the_value(app: Mainspring) -> None:
    order: list[str] = []

    @app.middleware
    async def outer(call_next: CallNext, ctx: Context) -> Any:
        order.append("outer")
        value = await call_next(ctx)
        order.append(f"outer saw {value}")
        return value

    @app.middleware
    async def inner(call_next: CallNext, ctx: Context) -> Any:
        order.append("inner")
        value = await call_next(ctx)
        order.append(f"inner saw {value}")
        return value + 1

    @app.task
    async def double(n: int) -> int:
        order.append("handler")
        return 2 * n

    async with app.worker():
        job = await double.enqueue(4)
        assert await job.result(timeout=WAIT) == 9
    assert order == ["outer", "inner", "handler", "inner saw 8", "outer saw 9"]


async def test_it_knows_the_run_and_stands_around_handlers_in_threads_too(app: Mainspring) -> None:
    seen: list[tuple[str, int]] = []

    @app.middleware
    async def note(call_next: CallNext, ctx: Context) -> Any:
        seen.append((ctx.task, ctx.attempt))
        return await call_next(ctx)

    @app.task
    def plain(n: int) -> str:
        return threading.current_thread().name

    async with app.worker():
        job = await plain.enqueue(1)
        assert (await job.result(timeout=WAIT)).startswith("mainspring-handler")
    assert seen == [("plain", 1)]


async def test_a_context_variable_reaches_the_handler_in_its_thread_too(app: Mainspring) -> None:
    @app.middleware
    async def correlate(call_next: CallNext, ctx: Context) -> Any:
        correlation.set(ctx.meta["correlation"])
        return await call_next(ctx)

    @app.task
    async def in_loop() -> str:
        return correlation.get()

    @app.task
    def in_thread() -> str:
        return correlation.get()

    async with app.worker():
        jobs = [await task.options(meta={"correlation": task.name}).enqueue() for task in (in_loop, in_thread)]
        assert [await job.result(timeout=WAIT) for job in jobs] == ["in-loop", "in-thread"]


@pytest.mark.parametrize("steering", [Snooze("1h", "later"), Retry.after("1h", "busy"), ValueError("wrong")])
async def test_it_sees_what_the_handler_raises(app: Mainspring, steering: Exception) -> None:
    seen: list[BaseException] = []
    heard = asyncio.Event()

    @app.middleware
    async def watch(call_next: CallNext, ctx: Context) -> Any:
        try:
            return await call_next(ctx)
        except Exception as error:
            seen.append(error)
            heard.set()
            raise

    @app.task
    async def raising() -> None:
        raise steering

    async with app.worker():
        await raising.enqueue()
        await asyncio.wait_for(heard.wait(), WAIT)
    assert seen == [steering]


async def test_an_exception_may_become_a_value_and_the_other_way_round(app: Mainspring) -> None:
    @app.middleware
    async def swap(call_next: CallNext, ctx: Context) -> Any:
        try:
            value = await call_next(ctx)
        except ValueError as error:
            return f"was {error}"
        raise LookupError(f"was {value}")

    @app.task(retries=0)
    async def handler(fails: bool) -> str:
        if fails:
            raise ValueError("bad")
        return "good"

    async with app.worker():
        assert await (await handler.enqueue(True)).result(timeout=WAIT) == "was bad"
        with pytest.raises(JobFailed, match="LookupError: was good"):
            await (await handler.enqueue(False)).result(timeout=WAIT)


async def test_a_replaced_value_must_be_what_the_task_promises(app: Mainspring) -> None:
    @app.middleware
    async def spoil(call_next: CallNext, ctx: Context) -> Any:
        await call_next(ctx)
        return "text"

    @app.task
    async def number() -> int:
        return 1

    async with app.worker():
        with pytest.raises(JobFailed, match="OutputError"):
            await (await number.enqueue()).result(timeout=WAIT)


async def test_the_handler_is_not_called_where_call_next_is_not(app: Mainspring) -> None:
    called: list[str] = []

    @app.middleware
    async def refuse(call_next: CallNext, ctx: Context) -> Any:
        return "instead"

    @app.task
    async def handler() -> str:
        called.append("called")
        return "mine"

    async with app.worker():
        assert await (await handler.enqueue()).result(timeout=WAIT) == "instead"
    assert called == []


async def test_the_handler_runs_again_where_call_next_is_called_again(app: Mainspring) -> None:
    made: list[int] = []

    def provider() -> int:
        made.append(len(made))
        return made[-1]

    @app.middleware
    async def insist(call_next: CallNext, ctx: Context) -> Any:
        try:
            return await call_next(ctx)
        except ConnectionError:
            return await call_next(ctx)

    @app.task(retries=0)
    async def handler(n: int, made: int = Depends(provider)) -> list[int]:
        if made == 0:
            raise ConnectionError
        return [n, made]

    async with app.worker():
        job = await handler.enqueue(7)
        assert await job.result(timeout=WAIT) == [7, 1]
        assert len((await job.get()).runs) == 1


async def test_it_runs_within_the_timeout_even_around_a_handler_in_a_thread(app: Mainspring) -> None:
    ended: list[str] = []

    @app.middleware
    async def hang(call_next: CallNext, ctx: Context) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(ctx.task)

    @app.task(timeout=0.05, retries=0)
    def plain() -> None: ...

    async with app.worker(grace=30):
        with pytest.raises(JobFailed, match="timed out"):
            await (await plain.enqueue()).result(timeout=WAIT)
    assert ended == ["plain"]


async def test_a_cancel_does_not_interrupt_it_while_a_thread_works(app: Mainspring) -> None:
    began, never, order = asyncio.Event(), threading.Event(), list[str]()

    @app.middleware
    async def clean(call_next: CallNext, ctx: Context) -> Any:
        try:
            return await call_next(ctx)
        finally:
            order.append("after")

    @app.task
    def plain(ctx: Context) -> str:
        ctx.sync(set_event, began)
        while not ctx.cancelled:
            never.wait(0.001)
        order.append("handled")
        return "done"

    async with app.worker(grace=30):
        job = await plain.enqueue()
        await asyncio.wait_for(began.wait(), WAIT)
        assert await job.cancel()
        with pytest.raises(JobCancelled):
            await job.result(timeout=WAIT)
    assert order == ["handled", "after"]


async def set_event(event: asyncio.Event) -> None:
    event.set()


async def test_bad_arguments_never_reach_it(app: Mainspring) -> None:
    called: list[str] = []

    @app.middleware
    async def note(call_next: CallNext, ctx: Context) -> Any:
        called.append(ctx.task)
        return await call_next(ctx)

    @app.task(name="one")
    async def handler(n: int) -> int:
        return n

    old = Mainspring(app._store)

    @old.task(name="one")
    async def before(n: str) -> None: ...

    async with app.worker():
        job = await before.enqueue("text")
        with pytest.raises(JobFailed, match="InputError"):
            await job.result(timeout=WAIT)
    assert called == []


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda call_next, ctx: None, "async function"),
        ("text", "async function"),
        (pytest.param, "async function"),
    ],
)
async def test_what_is_not_async_is_refused(app: Mainspring, function: Any, why: str) -> None:
    with pytest.raises(DefinitionError, match=why):
        app.middleware(function)


async def test_wrong_parameters_are_refused(app: Mainspring) -> None:
    async def one(ctx: Context) -> None: ...

    async def three(call_next: CallNext, ctx: Context, more: int) -> None: ...

    for wrong in (one, three):
        with pytest.raises(DefinitionError, match="Expected two parameters"):
            app.middleware(wrong)  # type: ignore[type-var]
