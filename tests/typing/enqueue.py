"""What a type checker must see of tasks. Checked by tests/system/test_typing.py; never run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

from mainspring import Context, JobHandle, Mainspring, Request, Task

app = Mainspring("sqlite://:memory:")


@dataclass
class Sent:
    id: str


@app.task
async def with_context(ctx: Context, to: str, copies: int = 1) -> Sent:
    return Sent(to * copies)


@app.task(queue="emails", priority=75, retries=3)
async def without_context(to: str, *, copies: int = 1) -> Sent:
    return Sent(to * copies)


@app.task(name="plain")
def plain(to: str) -> int:
    return len(to)


@app.task
def plain_with_context(ctx: Context, to: str) -> None:
    ctx.log(to)


async def right() -> None:
    assert_type(await with_context.enqueue("a@b.c", copies=2), JobHandle[Sent])
    assert_type(await with_context.enqueue(to="a@b.c"), JobHandle[Sent])
    assert_type(await without_context.enqueue(to="a@b.c"), JobHandle[Sent])
    assert_type(await without_context.options(delay="5m", priority=100).enqueue(to="a"), JobHandle[Sent])
    assert_type(await plain.enqueue("a"), JobHandle[int])
    assert_type(await plain_with_context.enqueue(to="a"), JobHandle[None])
    assert_type(without_context.job(to="a"), Request[Sent])
    assert_type(await (await plain.enqueue("a")).result(timeout=1), int)
    assert_type(await app.enqueue(plain, "a"), JobHandle[int])
    assert_type(await app.enqueue(plain.job("a")), JobHandle[int])
    assert_type(await app.enqueue("plain", {"to": "a"}, delay=5), JobHandle[Any])
    assert_type(await app.enqueue_many([plain.job("a"), plain.job("b")]), list[JobHandle[int]])
    assert_type(app.job("id", plain), JobHandle[int])


def right_in_synchronous_code() -> None:
    job = app.sync(with_context.enqueue, to="a@b.c")
    assert_type(job, JobHandle[Sent])
    assert_type(app.sync(job.result, timeout=5), Sent)


async def wrong() -> None:
    await with_context.enqueue(to=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await with_context.enqueue()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await with_context.enqueue(to="a", ctx=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await without_context.enqueue("a", 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await without_context.options(delay="5m").enqueue(too="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    without_context.options(dealy="5m")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    without_context.options(priority="high")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    without_context.job(to=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.sync(plain.enqueue, to=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.task(prioritee=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    takes_text_handle(await plain.enqueue("a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    takes_text_task(plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def takes_text_handle(handle: JobHandle[str]) -> None: ...


def takes_text_task(task: Task[..., str]) -> None: ...


async def of_several_tasks() -> None:
    handles: list[JobHandle[object]] = await app.enqueue_many([plain.job("a"), without_context.job("a")])
    handles.append(await plain.enqueue("a"))
    assert_type(await app.enqueue_many(plain.job(to) for to in "ab"), list[JobHandle[int]])


async def wrong_by_name() -> None:
    await app.enqueue("plain", 5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await app.enqueue("plain", {"to": "a"}, dealy=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await app.enqueue("plain", to="a")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await app.enqueue(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await app.enqueue(plain)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await app.enqueue(plain, 5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await app.enqueue(plain.job("a"), "a")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await app.enqueue_many([plain])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await app.enqueue_many(plain.job("a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await app.enqueue_many([plain.job("a")], delay=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
