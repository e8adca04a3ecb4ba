"""Middleware stands around every run: for what all tasks have in common, as tracing, tenants, or a stop watch."""

from collections.abc import Awaitable, Callable
from typing import Any

from mainspring import Context, Mainspring

app = Mainspring("sqlite://:memory:")
seen: list[str] = []


@app.middleware
async def as_tenant(call_next: Callable[[Context], Awaitable[Any]], ctx: Context) -> Any:
    seen.append(f"{ctx.task} for {ctx.meta['tenant']}")
    result = await call_next(ctx)
    seen.append(f"{ctx.task} answered {result}")
    return result


@app.task
async def add(a: int, b: int) -> int:
    return a + b


async def test_middleware_stands_around_the_handler() -> None:
    async with app, app.worker():
        job = await add.options(meta={"tenant": "north"}).enqueue(2, 3)
        assert await job.result(timeout=10) == 5
    assert seen == ["add for north", "add answered 5"]
