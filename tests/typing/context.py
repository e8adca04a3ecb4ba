"""What a type checker must see of a handler's context. Checked by tests/system/test_typing.py; never run."""

from __future__ import annotations

from datetime import datetime
from typing import Any, assert_type

from mainspring import Context, Job, JobHandle, Mainspring

app = Mainspring("sqlite://:memory:")


@app.task
async def other(n: int) -> str:
    return "x" * n


@app.task
async def right(ctx: Context) -> None:
    assert_type(ctx.job, Job)
    assert_type(ctx.job_id, str)
    assert_type(ctx.task, str)
    assert_type(ctx.queue, str)
    assert_type(ctx.attempt, int)
    assert_type(ctx.fence, int)
    assert_type(ctx.scheduled_at, datetime)
    assert_type(ctx.started_at, datetime)
    assert_type(ctx.worker_id, str)
    assert_type(ctx.meta, dict[str, str])
    assert_type(ctx.cancelled, bool)
    ctx.progress(40)
    await ctx.progress(40.5, {"step": "building"})
    ctx.log("text", level="warning")
    await ctx.log(5)
    assert_type(await ctx.enqueue(other, 5), JobHandle[str])
    assert_type(await ctx.enqueue(other.options(delay=5).job(n=5)), JobHandle[str])
    assert_type(await ctx.enqueue("other", {"n": 5}, delay=5), JobHandle[Any])
    async with ctx.lock("name", ttl="10s", wait=5) as lock:
        assert_type(lock.fence, int)
        assert_type(lock.lost, bool)
    async with ctx.transaction() as session:
        await ctx.mark_completed({"n": 1}, session=session)
    await ctx.throttle("5m", "they asked for it", scope="local")


async def text_of(session: Any) -> str:
    return str(session)


@app.task
async def in_transaction(ctx: Context) -> str:
    text = await ctx.with_transaction(text_of, timeout="5s")
    assert_type(text, str)
    return text


@app.task
def in_thread(ctx: Context) -> str:
    job = ctx.sync(other.enqueue, 5)
    assert_type(job, JobHandle[str])
    assert_type(ctx.sync(job.result), str)
    assert_type(ctx.sync(ctx.enqueue, other, 5), JobHandle[str])
    return ctx.sync(job.result, timeout=5)


@app.task
async def wrong(ctx: Context) -> None:
    ctx.job_id = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    ctx.progress("40%")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ctx.log("text", level=30)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ctx.enqueue(other, "5")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await ctx.enqueue(other)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await ctx.enqueue("other", 5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await ctx.enqueue("other", {}, dealy=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    ctx.lock(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ctx.lock("name", timeout=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await ctx.throttle()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await ctx.with_transaction(text_of, timeout=object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    number: int = await ctx.with_transaction(text_of)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    ctx.sync(other.enqueue, str(number))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ctx.no_such_thing()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
