"""Dependencies: parameters that a worker fills in, once a run, and cleans up after it. They are no input."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest

from mainspring import (
    Context,
    DefinitionError,
    Depends,
    Injected,
    InputError,
    JobFailed,
    Mainspring,
    Snooze,
)
from mainspring.worker.middleware import CallNext

WAIT = 60


class Session:
    """Something that is opened and closed."""

    def __init__(self) -> None:
        self.story: list[str] = []


SESSION = Session()


async def get_session() -> AsyncIterator[Session]:
    SESSION.story.append("open")
    try:
        yield SESSION
    except BaseException as error:
        SESSION.story.append(f"saw {type(error).__name__}")
        raise
    finally:
        SESSION.story.append("closed")


Db = Annotated[Session, Depends(get_session)]


@pytest.fixture
async def app() -> AsyncIterator[Mainspring]:
    SESSION.story = []
    app = Mainspring("sqlite://:memory:")
    yield app
    await app.close()


def plain() -> str:
    return threading.current_thread().name


async def coroutine() -> str:
    return threading.current_thread().name


def generator() -> Iterator[str]:
    yield threading.current_thread().name


async def async_generator() -> AsyncIterator[str]:
    yield threading.current_thread().name


@pytest.mark.parametrize(
    ("provider", "in_thread"), [(plain, True), (coroutine, False), (generator, True), (async_generator, False)]
)
async def test_a_provider_is_any_of_four_kinds(app: Mainspring, provider: Callable[..., Any], in_thread: bool) -> None:
    @app.task
    async def in_loop(where: str = Depends(provider)) -> str:
        return where

    @app.task
    def threaded(where: str = Depends(provider)) -> str:
        return where

    async with app.worker():
        for task in (in_loop, threaded):
            where = await (await task.enqueue()).result(timeout=WAIT)
            assert where.startswith("mainspring-handler") is in_thread


async def test_it_is_open_while_the_handler_runs_and_closed_when_it_has_ended(app: Mainspring) -> None:
    @app.task
    async def work(n: int, db: Db = Injected) -> int:
        db.story.append("handled")
        return n

    async with app.worker():
        assert await (await work.enqueue(n=7)).result(timeout=WAIT) == 7
    assert SESSION.story == ["open", "handled", "closed"]


@pytest.mark.parametrize("raised", [ValueError("bad"), Snooze("1h", "later")])
async def test_it_sees_what_the_handler_raises(app: Mainspring, raised: Exception) -> None:
    ended = asyncio.Event()

    @app.middleware
    async def tell(call_next: CallNext, ctx: Context) -> Any:
        try:
            return await call_next(ctx)
        finally:
            ended.set()

    @app.task
    def work(db: Db = Injected) -> None:
        raise raised

    async with app.worker():
        await work.enqueue()
        await asyncio.wait_for(ended.wait(), WAIT)
    assert SESSION.story == ["open", f"saw {type(raised).__name__}", "closed"]


async def test_it_is_cleaned_up_after_a_cancelled_handler(app: Mainspring) -> None:
    @app.task(timeout=0.05, retries=0)
    async def hang(db: Db = Injected) -> None:
        await asyncio.Event().wait()

    async with app.worker():
        with pytest.raises(JobFailed, match="timed out"):
            await (await hang.enqueue()).result(timeout=WAIT)
    assert SESSION.story == ["open", "saw CancelledError", "closed"]


async def test_one_value_a_run_whoever_asks(app: Mainspring) -> None:
    made: list[object] = []

    def make() -> int:
        made.append(object())
        return len(made)

    def above(n: Annotated[int, Depends(make)]) -> int:
        return n

    @app.task
    async def shared(one: int = Depends(make), two: int = Depends(above)) -> list[int]:
        return [one, two]

    @app.task
    async def own(one: int = Depends(make), two: int = Depends(make, use_cache=False)) -> list[int]:
        return [one, two]

    async with app.worker(concurrency=1):
        assert await (await shared.enqueue()).result(timeout=WAIT) == [1, 1]
        assert await (await shared.enqueue()).result(timeout=WAIT) == [2, 2]
        assert await (await own.enqueue()).result(timeout=WAIT) == [3, 4]


async def test_nested_ones_end_in_the_other_order_and_get_the_context(app: Mainspring) -> None:
    story: list[str] = []

    async def inner(ctx: Context) -> AsyncIterator[str]:
        yield ctx.task
        story.append("inner")

    def outer(name: Annotated[str, Depends(inner)]) -> Iterator[str]:
        yield f"of {name}"
        story.append("outer")

    @app.task
    def work(what: Annotated[str, Depends(outer)] = Injected, ctx: Context | None = None) -> str:
        assert ctx is not None
        assert ctx is Context.current()
        return what

    async with app.worker():
        assert await (await work.enqueue()).result(timeout=WAIT) == "of work"
    assert story == ["outer", "inner"]


async def test_it_may_be_a_class_a_method_or_a_callable_object(app: Mainspring) -> None:
    class Settings:
        def __init__(self, ctx: Context) -> None:
            self.name = ctx.queue

        def method(self) -> str:
            return "method"

        async def __call__(self) -> str:
            return "called"

    class Fixed(Settings):
        def __init__(self) -> None:
            self.name = "fixed"

    fixed = Fixed()

    @app.task
    async def work(
        made: Annotated[Settings, Depends(Settings)] = Injected,
        method: Annotated[str, Depends(fixed.method)] = Injected,
        called: Annotated[str, Depends(fixed)] = Injected,
    ) -> list[str]:
        return [made.name, method, called]

    async with app.worker():
        assert await (await work.enqueue()).result(timeout=WAIT) == ["default", "method", "called"]


async def test_an_error_of_a_provider_is_the_failure_of_the_run_and_what_is_open_is_closed(app: Mainspring) -> None:
    def broken(db: Db) -> None:
        raise ConnectionError("no network")

    @app.task(retries=0)
    async def work(nothing: Annotated[None, Depends(broken)] = Injected) -> None: ...

    async with app.worker():
        with pytest.raises(JobFailed, match="ConnectionError: no network"):
            await (await work.enqueue()).result(timeout=WAIT)
    assert SESSION.story == ["open", "saw ConnectionError", "closed"]


async def test_a_clean_up_that_fails_after_success_is_the_failure_of_the_run(app: Mainspring) -> None:
    async def commit(db: Db) -> AsyncIterator[None]:
        yield
        raise OSError("commit failed")

    @app.task(retries=0)
    async def work(nothing: Annotated[None, Depends(commit)] = Injected) -> str:
        return "done"

    async with app.worker():
        with pytest.raises(JobFailed, match="OSError: commit failed"):
            await (await work.enqueue()).result(timeout=WAIT)
    assert SESSION.story == ["open", "saw OSError", "closed"]


async def test_a_clean_up_cannot_change_a_failure(app: Mainspring, caplog: pytest.LogCaptureFixture) -> None:
    async def breaks() -> AsyncIterator[None]:
        try:
            yield
        finally:
            raise OSError("clean-up failed")

    def swallows() -> Iterator[None]:
        try:
            yield
        except ValueError:
            pass

    @app.task(retries=0)
    async def work(
        one: Annotated[None, Depends(breaks)] = Injected, two: Annotated[None, Depends(swallows)] = Injected
    ) -> None:
        raise ValueError("the handler's own")

    with caplog.at_level(logging.WARNING, "mainspring"):
        async with app.worker():
            with pytest.raises(JobFailed, match="ValueError: the handler's own"):
                await (await work.enqueue()).result(timeout=WAIT)
    [logged] = [r for r in caplog.records if r.__dict__.get("event") == "dependency.clean_up"]
    assert logged.exc_info is not None
    assert str(logged.exc_info[1]) == "clean-up failed"


async def test_a_run_that_is_asked_to_stop_during_a_plain_provider_ends_before_its_handler(app: Mainspring) -> None:
    called: list[str] = []

    def slow(ctx: Context) -> Iterator[None]:
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        try:
            yield
        finally:
            called.append("cleaned up")

    async def later() -> None:
        await asyncio.Event().wait()
        called.append("later")

    @app.task(timeout=0.05, retries=0)
    def work(one: None = Depends(slow), two: None = Depends(later)) -> None:
        called.append("handler")

    async with app.worker(grace=30):
        with pytest.raises(JobFailed, match="timed out"):
            await (await work.enqueue()).result(timeout=WAIT)
    assert called == ["cleaned up"]


# -- no input ----------------------------------------------------------------------------------------------------------


async def test_it_is_no_input_for_anybody(app: Mainspring) -> None:
    @app.task(unique=True)
    async def work(n: int = 0, db: Db = Injected) -> None: ...

    async with app:
        request = work.job(1)
        assert request.input == '{"n":1}'
        assert set(work.snapshot()["parameters"]) == {"n"}
        assert (await work.enqueue(1)).id == (await app.enqueue("work", {"n": 1})).id
        for wrong in ({"db": 1}, {"n": 1, "db": None}):
            with pytest.raises(InputError, match="db is filled in by the worker"):
                await app.enqueue("work", wrong)
    app.every("1h", input={"n": 2})(work)
    with pytest.raises(DefinitionError, match="db is filled in by the worker"):
        app.every("1h", name="other", input={"db": 2})(work)


async def test_not_even_where_every_name_is_taken(app: Mainspring) -> None:
    @app.task
    async def work(db: Db, **more: int) -> list[str]:
        return [type(db).__name__, *more]

    async with app.worker():
        with pytest.raises(InputError, match="db is filled in by the worker"):
            await work.enqueue(db=1)  # type: ignore[arg-type]
        assert await (await work.enqueue(a=1)).result(timeout=WAIT) == ["Session", "a"]  # type: ignore[call-arg]


async def test_by_place_only_will_do(app: Mainspring) -> None:
    @app.task
    async def work(db: Db, n: int, /) -> int:
        db.story.append(str(n))
        return n

    async with app.worker():
        assert await app.enqueue("work", {"n": 3})
        assert await (await work.enqueue(4)).result(timeout=WAIT) == 4  # type: ignore[call-arg,arg-type]


async def test_a_task_is_called_as_a_function_with_what_it_needs(app: Mainspring) -> None:
    @app.task
    def work(n: int, db: Db = Injected) -> str:
        return f"{n} {db.story}"

    assert work(1, Session()) == "1 []"
    with pytest.raises(AttributeError, match="story of a dependency that was not given"):
        work(1)


# -- overrides ---------------------------------------------------------------------------------------------------------


async def test_providers_can_be_replaced_for_a_while(app: Mainspring) -> None:
    def get_url() -> str:
        return "real"

    def get_client(url: str = Depends(get_url)) -> str:
        return f"client of {url}"

    def get_fake(ctx: Context) -> Iterator[str]:
        yield f"fake of {ctx.task}"

    @app.task
    async def work(client: str = Depends(get_client)) -> str:
        return client

    async def result() -> str:
        return await (await work.enqueue()).result(timeout=WAIT)

    async with app.worker():
        with app.override({get_url: lambda: "fake"}):
            assert await result() == "client of fake"
            with app.override({get_client: get_fake}):
                assert await result() == "fake of work"
            assert await result() == "client of fake"
        assert await result() == "client of real"
        app.dependency_overrides[get_client] = get_fake
        assert await result() == "fake of work"
        app.dependency_overrides.clear()
        assert await result() == "client of real"


async def test_an_override_may_use_what_it_replaces(app: Mainspring) -> None:
    def get_url() -> str:
        return "real"

    def louder(url: Annotated[str, Depends(get_url)]) -> str:
        return url.upper()

    @app.task
    async def work(url: str = Depends(get_url)) -> str:
        return url

    async with app.worker():
        with app.override({get_url: louder}):
            assert await (await work.enqueue()).result(timeout=WAIT) == "REAL"


async def test_an_override_that_cannot_be_called_is_refused_and_nothing_stays(app: Mainspring) -> None:
    def needs(n: int) -> int:
        return n

    with (
        pytest.raises(DefinitionError, match="nobody fills in n"),
        app.override({plain: lambda: "x", coroutine: needs}),
    ):
        pass
    assert not app.dependency_overrides
    with pytest.raises(DefinitionError, match="bad override"):
        app.dependency_overrides[plain] = "text"  # type: ignore[assignment]
