"""What a type checker must see of what stands around handlers. Checked by tests/system/test_typing.py; never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, assert_type

from mainspring import AppEvent, Context, Depends, Injected, JobHandle, Mainspring, Request

app = Mainspring("sqlite://:memory:")


# -- dependencies --------------------------------------------------------------------------------------------------


class Session:
    async def save(self, text: str) -> int:
        return len(text)


def get_url() -> str:
    return "db://real"


async def get_session(url: Annotated[str, Depends(get_url)]) -> AsyncIterator[Session]:
    yield Session()


def get_clock(ctx: Context) -> Iterator[float]:
    yield 1.0


Db = Annotated[Session, Depends(get_session)]


@app.task
async def store(ctx: Context, text: str, db: Db = Injected, clock: Annotated[float, Depends(get_clock)] = 0.0) -> int:
    assert_type(db, Session)
    assert_type(clock, float)
    return await db.save(text)


@app.task(queue="emails")
async def by_default(text: str, db: Session = Depends(get_session, use_cache=False)) -> int:  # noqa: B008
    return await db.save(text)


@app.task
async def without_default(text: str, db: Db) -> int:
    """A type checker asks for it in `enqueue`; `= Injected` is for that."""
    return await db.save(text)


async def right_dependencies() -> None:
    assert_type(await store.enqueue("a"), JobHandle[int])
    assert_type(by_default.job(text="a"), Request[int])
    app.dependency_overrides[get_session] = Session
    with app.override({get_url: lambda: "db://test"}):
        pass


async def wrong_dependencies() -> None:
    await store.enqueue(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.enqueue()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await without_default.enqueue("a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Depends()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Depends(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Depends(get_url, cache=False)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    app.dependency_overrides["get_url"] = get_url  # type: ignore[index]  # pyright: ignore[reportArgumentType]
    app.override({get_url: "db://test"})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]


# -- middleware ----------------------------------------------------------------------------------------------------


@app.middleware
async def timing(call_next: Callable[[Context], Awaitable[Any]], ctx: Context) -> Any:
    return await call_next(ctx)


@app.middleware
async def counting(call_next: Callable[[Context], Awaitable[Any]], ctx: Context) -> dict[str, int]:
    await call_next(ctx)
    return {"runs": 1}


def right_middleware() -> None:
    app.middleware(timing)


def wrong_middleware(call_next: Callable[[Context], Awaitable[Any]], ctx: Context) -> None:
    async def of_one(ctx: Context) -> None: ...

    async def of_another_context(call_next: Callable[[Context], Awaitable[Any]], ctx: int) -> None: ...

    app.middleware(of_one)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    app.middleware(of_another_context)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    app.middleware(wrong_middleware)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    app.middleware("timing")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


# -- listeners -----------------------------------------------------------------------------------------------------


@app.on("job.dead")
async def alarm(event: AppEvent) -> None:
    assert_type(event.job_id, str)
    assert_type(event.task, str)
    assert_type(event.at, int)


@app.on("run.failed")
def count(event: AppEvent) -> int:
    return event.at


def right_listeners() -> None:
    assert_type(app.on("job.ended", count), Callable[[], None])
    app.on("run.retrying", lambda event: print(event.attempt))


def wrong_listeners() -> None:
    def of_two(event: AppEvent, more: int) -> None: ...

    app.on("job.deed")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.on("job.deed", count)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.on("job.dead", of_two)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.on("job.dead", 5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.on()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


# -- lifespan ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def lifespan(app: Mainspring) -> AsyncGenerator[Mapping[str, Any], None]:
    yield {"session": Session()}


@asynccontextmanager
async def lifespan_of_nothing(app: Mainspring) -> AsyncGenerator[None, None]:
    yield


async def no_lifespan(app: Mainspring) -> None: ...


shop = Mainspring("sqlite://:memory:", lifespan=lifespan)
Mainspring("sqlite://:memory:", lifespan=lifespan_of_nothing)


@shop.task
async def sell(ctx: Context) -> None:
    assert_type(ctx.state, Mapping[str, Any])


def wrong_lifespans() -> None:
    Mainspring("sqlite://:memory:", lifespan=no_lifespan)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Mainspring("sqlite://:memory:", lifespan=lifespan(shop))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Mainspring("sqlite://:memory:", lifespan={"session": Session()})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- processes and names -------------------------------------------------------------------------------------------


@app.task(cpu=True, aliases=["compute", "reckon"])
def calculate(ctx: Context, n: int) -> int:
    return n * n


async def right_options() -> None:
    assert_type(await calculate.enqueue(5), JobHandle[int])
    assert_type(calculate.aliases, tuple[str, ...])
    async with app.worker(cpu_processes=2, cpu_max_jobs=None, cpu_max_memory="500MB"):
        pass


def wrong_options() -> None:
    app.task(cpu="yes")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.task(aliases=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.worker(cpu_processes="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.worker(cpu_max_memory=0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
