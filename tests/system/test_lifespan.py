"""The lifespan: entered by a worker before it claims, left after its last handler; it gives `ctx.state`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mainspring import Context, DefinitionError, Mainspring

WAIT = 60
URL = "sqlite://:memory:"


async def test_it_is_open_while_handlers_run_and_closed_after_the_last() -> None:
    story: list[str] = []
    began = asyncio.Event()

    @asynccontextmanager
    async def lifespan(app: Mainspring) -> AsyncIterator[dict[str, str]]:
        story.append("open")
        yield {"greeting": "hello"}
        story.append("closed")

    app = Mainspring(URL, lifespan=lifespan)

    @app.task
    async def greet(ctx: Context) -> None:
        began.set()
        await asyncio.wait_for(stopping.wait(), WAIT)
        story.append(ctx.state["greeting"])

    stopping = asyncio.Event()
    async with app:
        await greet.enqueue()
        async with app.worker() as worker:
            await asyncio.wait_for(began.wait(), WAIT)
            stop = asyncio.create_task(worker.stop())
            stopping.set()
            await stop
    assert story == ["open", "hello", "closed"]


async def test_each_worker_has_one_of_its_own() -> None:
    opened: list[Mainspring] = []

    @asynccontextmanager
    async def lifespan(app: Mainspring) -> AsyncIterator[None]:
        opened.append(app)
        yield

    app = Mainspring(URL, lifespan=lifespan)
    app.task(nothing)
    async with app, app.worker(), app.worker():
        assert opened == [app, app]


async def test_a_bare_generator_will_do() -> None:
    story: list[str] = []

    async def lifespan(app: Mainspring) -> AsyncIterator[None]:
        story.append("open")
        yield
        story.append("closed")

    app = Mainspring(URL, lifespan=lifespan)  # type: ignore[arg-type]  # what runs; checkers want the decorator
    app.task(nothing)
    async with app, app.worker():
        assert story == ["open"]
    assert story == ["open", "closed"]


async def test_the_state_cannot_be_changed_and_says_what_it_has() -> None:
    said: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Mainspring) -> AsyncIterator[Mapping[str, Any]]:
        yield {"http": 1, "pool": 2}

    app = Mainspring(URL, lifespan=lifespan)

    @app.task
    async def look(ctx: Context) -> dict[str, int]:
        with pytest.raises(KeyError) as missing:
            ctx.state["db"]
        said.append(str(missing.value))
        with pytest.raises(TypeError):
            ctx.state["db"] = 1  # type: ignore[index]
        assert ctx.state.get("db") is None
        return dict(ctx.state)

    async with app, app.worker():
        assert await (await look.enqueue()).result(timeout=WAIT) == {"http": 1, "pool": 2}
    [text] = said
    assert "no 'db'" in text
    assert "'http', 'pool'" in text


async def test_without_a_lifespan_the_state_is_empty() -> None:
    app = Mainspring(URL)

    @app.task
    async def look(ctx: Context) -> int:
        return len(ctx.state)

    async with app, app.worker():
        assert await (await look.enqueue()).result(timeout=WAIT) == 0


async def test_where_it_fails_at_the_start_no_worker_starts_and_a_second_try_may() -> None:
    tries: list[int] = []

    @asynccontextmanager
    async def lifespan(app: Mainspring) -> AsyncIterator[None]:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("no database")
        yield

    app = Mainspring(URL, lifespan=lifespan)
    app.task(nothing)
    async with app:
        worker = app.worker()
        with pytest.raises(ConnectionError, match="no database") as failure:
            await worker.start()
        assert any("the worker did not start" in note for note in failure.value.__notes__)
        assert not await app.workers.list()
        await worker.start()
        await worker.stop()
    assert len(tries) == 2


async def test_it_is_left_where_the_worker_fails_to_start_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    story: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Mainspring) -> AsyncIterator[None]:
        story.append("open")
        yield
        story.append("closed")

    app = Mainspring(URL, lifespan=lifespan)
    app.task(nothing)
    async with app:
        worker = app.worker()

        async def refuse(*args: object, **more: object) -> None:
            raise RuntimeError("planned")

        monkeypatch.setattr(worker, "show", refuse)
        with pytest.raises(RuntimeError, match="planned"):
            await worker.start()
    assert story == ["open", "closed"]


async def test_what_it_yields_must_be_a_mapping() -> None:
    @asynccontextmanager
    async def lifespan(app: Mainspring) -> AsyncIterator[Any]:
        yield ["a list"]

    app = Mainspring(URL, lifespan=lifespan)
    app.task(nothing)
    async with app:
        with pytest.raises(DefinitionError, match=r"yielded \['a list'\]"):
            await app.worker().start()


async def test_an_error_at_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def lifespan(app: Mainspring) -> AsyncIterator[None]:
        yield
        raise OSError("cannot close")

    app = Mainspring(URL, lifespan=lifespan)
    app.task(nothing)
    with caplog.at_level(logging.ERROR, "mainspring"):
        async with app, app.worker():
            pass
    [failed] = events(caplog, "lifespan.failed")
    assert failed.exc_info is not None
    assert str(failed.exc_info[1]) == "cannot close"


async def test_one_that_breaks_while_it_is_open_ends_its_worker() -> None:
    class Broken(Exception): ...

    async def break_now(now: asyncio.Event) -> None:
        await now.wait()
        raise Broken

    @asynccontextmanager
    async def lifespan(app: Mainspring) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(break_now(now))
            yield

    now = asyncio.Event()
    app = Mainspring(URL, lifespan=lifespan)
    app.task(nothing)
    async with app:
        worker = app.worker()
        await worker.start()
        now.set()
        with pytest.raises(ExceptionGroup) as failure:
            await asyncio.wait_for(worker.join(), WAIT)
        assert failure.group_contains(Broken)


@pytest.mark.slow
async def test_one_that_breaks_while_its_worker_starts_ends_the_start() -> None:
    @asynccontextmanager
    async def lifespan(app: Mainspring) -> AsyncIterator[None]:
        async def connect() -> None:
            raise ConnectionError("no broker")

        async with asyncio.TaskGroup() as group:
            group.create_task(connect())
            yield

    app = Mainspring(URL, lifespan=lifespan)

    @app.task
    async def idle() -> None: ...

    async with app:
        with pytest.raises(ExceptionGroup) as raised:
            await app.worker().start()
        assert raised.group_contains(ConnectionError, match="no broker")


@pytest.mark.slow
async def test_one_that_hangs_at_the_end_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    free = asyncio.Event()

    @asynccontextmanager
    async def lifespan(app: Mainspring) -> AsyncIterator[None]:
        yield
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                pass  # it will not end

    app = Mainspring(URL, lifespan=lifespan)
    app.task(nothing)
    with caplog.at_level(logging.ERROR, "mainspring"):
        async with app:
            worker = app.worker()
            await worker.start()
            await asyncio.wait_for(worker.stop(grace=0), WAIT)
    assert events(caplog, "lifespan.stuck")
    free.set()


@pytest.mark.slow
async def test_one_that_hangs_ends_by_its_cancellation() -> None:
    story: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Mainspring) -> AsyncIterator[None]:
        yield
        try:
            await asyncio.Event().wait()
        finally:
            story.append("cancelled")

    app = Mainspring(URL, lifespan=lifespan)
    app.task(nothing)
    async with app:
        worker = app.worker()
        await worker.start()
        worker.hurry()
        await asyncio.wait_for(worker.stop(), WAIT)
    assert story == ["cancelled"]


async def test_it_is_entered_and_left_in_one_task() -> None:
    tasks: list[object] = []

    @asynccontextmanager
    async def lifespan(app: Mainspring) -> AsyncIterator[None]:
        tasks.append(asyncio.current_task())
        yield
        tasks.append(asyncio.current_task())

    app = Mainspring(URL, lifespan=lifespan)
    app.task(nothing)
    async with app:
        worker = app.worker()
        await asyncio.create_task(worker.start())
        await asyncio.create_task(worker.stop())
    assert tasks[0] is tasks[1]


async def coroutine(app: Mainspring) -> None: ...


@pytest.mark.parametrize("wrong", ["text", coroutine, lambda: None])
async def test_what_cannot_be_one_is_refused(wrong: Callable[..., Any]) -> None:
    with pytest.raises(DefinitionError, match="bad lifespan"):
        Mainspring(URL, lifespan=wrong)


async def nothing() -> None: ...


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.__dict__.get("event") == name]
