"""What a type checker must see of stored jobs. Checked by tests/system/test_typing.py; never run."""

from __future__ import annotations

from typing import Any, assert_type

from mainspring import Job, JobEvent, JobHandle, Mainspring, Request, State

app = Mainspring("sqlite://:memory:")


@app.task
async def count(text: str) -> int:
    return len(text)


@app.task
async def say(text: str) -> str:
    return text


def takes_text(handle: JobHandle[str]) -> None: ...


async def right(handle: JobHandle[int]) -> None:
    assert_type(await handle.result(), int)
    assert_type(await handle.result(timeout="10s"), int)
    assert_type(await handle.status(), str)
    assert_type(await handle.cancel("why"), bool)
    assert_type(await handle.get(), Job)
    assert_type((await handle.get()).state, State)
    assert_type((await handle.get()).input, str | None)
    assert_type(handle.id, str)
    assert_type(handle.created, bool)
    async for event in handle.events():
        assert_type(event, JobEvent)
        assert_type(event.data, dict[str, Any])
    wider: JobHandle[object] = handle
    takes_text(await say.enqueue("a"))
    wider_call: Request[object] = count.job("a")
    await app.enqueue(wider_call)
    await wider.status()


async def by_id() -> None:
    assert_type(app.job("id"), JobHandle[Any])
    assert_type(app.job("id", count), JobHandle[int])
    assert_type(await app.get("id"), Job)
    assert_type(await app.status("id"), str)
    assert_type(await app.cancel("id", "why"), bool)
    assert_type(await app.ended("id", timeout=5), Job)


async def wrong(handle: JobHandle[int]) -> None:
    await handle.result(5, 6)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await handle.result(timeout=[5])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await handle.cancel(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    handle.events("progress")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    takes_text(handle)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    takes_text(app.job("id", count))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.job(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.job("id", "count")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await app.get(handle)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    takes_text(await handle.result())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
