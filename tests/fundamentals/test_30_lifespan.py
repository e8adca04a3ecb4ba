"""What a worker needs as long as it lives is opened by a lifespan before its first job, and closed after its last."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mainspring import Context, Mainspring

steps: list[str] = []


@asynccontextmanager
async def lifespan(app: Mainspring) -> AsyncIterator[dict[str, Any]]:
    steps.append("open the pool")
    yield {"pool": "a pool of connections"}
    steps.append("close the pool")


app = Mainspring("sqlite://:memory:", lifespan=lifespan)


@app.task
async def query(ctx: Context, sql: str) -> str:
    return f"{sql} by {ctx.state['pool']}"


async def test_handlers_find_what_was_opened() -> None:
    async with app, app.worker():
        job = await query.enqueue("SELECT 1")
        assert await job.result(timeout=10) == "SELECT 1 by a pool of connections"
    assert steps == ["open the pool", "close the pool"]
