"""What type checkers see of middleware, listeners, lifespans and dependencies."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, assert_type

from mainspring import AppEvent, Context, Depends, Injected, JobHandle, Mainspring


class Session: ...


async def get_session() -> AsyncIterator[Session]:
    yield Session()


def get_name() -> Iterator[str]:
    yield "name"


Db = Annotated[Session, Depends(get_session)]


@asynccontextmanager
async def lifespan(app: Mainspring) -> AsyncGenerator[dict[str, int], None]:
    yield {"pool": 1}


@asynccontextmanager
async def silent(app: Mainspring) -> AsyncGenerator[None, None]:
    yield


async def no_lifespan(app: Mainspring) -> None: ...


app = Mainspring("sqlite://:memory:", lifespan=lifespan)
other = Mainspring("sqlite://:memory:", lifespan=silent)
wrong = Mainspring("sqlite://:memory:", lifespan=no_lifespan)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@app.middleware
async def timing(call_next: Callable[[Context], Awaitable[Any]], ctx: Context) -> Any:
    return await call_next(ctx)


@app.middleware  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportUntypedFunctionDecorator]
def not_async(call_next: Callable[[Context], Awaitable[Any]], ctx: Context) -> int:
    return 1


@app.task
async def by_annotation(n: int, db: Db = Injected) -> str:
    return ""


@app.task
def by_default(n: int, db: Session = Depends(get_session), name: str = Depends(get_name)) -> str:  # noqa: B008
    return ""


async def uses(ctx: Context) -> None:
    assert_type(await by_annotation.enqueue(1), JobHandle[str])
    assert_type(await by_default.enqueue(n=1), JobHandle[str])
    await by_annotation.enqueue("one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(ctx.state, Mapping[str, Any])
    assert_type(Context.current(), Context | None)


def hear(event: AppEvent) -> None: ...


async def hear_it(event: AppEvent) -> None: ...


assert_type(app.on("job.dead", hear), Callable[[], None])
app.on("job.dead", hear_it)
app.on("job.died", hear)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
app.on("job.dead", 1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


@app.on("run.failed")
async def decorated(event: AppEvent) -> None: ...


async def still_a_function(event: AppEvent) -> None:
    await decorated(event)


with app.override({get_session: lambda: Session()}):
    app.dependency_overrides[get_name] = lambda: "other"
