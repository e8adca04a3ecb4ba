"""What a type checker must see of an app: its life, workers, transactions, locks. Checked by
tests/system/test_typing.py; never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

from mainspring import Job, JobHandle, Mainspring, Task
from mainspring.leases import Lock
from mainspring.testing import FakeClock
from mainspring.worker.worker import Worker

app = Mainspring("sqlite://:memory:")
with_clock = Mainspring("redis://localhost", clock=FakeClock())


@app.task
async def count(text: str) -> int:
    return len(text)


async def insert(session: Any) -> int:
    await app.enqueue_many([count.job("a")], session=session)
    await count.options(session=session).enqueue("a")
    return 1


async def right() -> None:
    async with app as opened:
        assert_type(opened, Mainspring)
    assert_type(app.url, str)
    assert_type(app.tasks, Mapping[str, Task[Any, Any]])
    assert_type(app.discover("myapp.tasks"), list[str])
    app.use_builtins(allow_private=True, only=["webhook"])
    assert_type(await app.with_transaction(insert, timeout=5), int)


async def right_workers() -> None:
    async with app.worker(concurrency=20, queues=["a"], tasks=["count"], grace="10s", lease=15, beat=5) as worker:
        assert_type(worker, Worker)
        assert_type(worker.id, str)
        assert_type(worker.processed, int)
        await worker.join()
    await app.run_worker(concurrency=5)


async def right_locks() -> None:
    assert_type(app.locks.lock("name", ttl="30s", wait="5s"), Lock)
    assert_type(await app.locks.acquire("name", "me", ttl=5), bool)
    assert_type(await app.locks.extend("name", "me"), bool)
    assert_type(await app.locks.release("name", "me"), bool)
    assert_type(await app.locks.holder("name"), str | None)
    async with app.locks.lock("name") as lock:
        assert_type(lock.fence, int)


def right_in_synchronous_code() -> None:
    job = app.sync(count.enqueue, text="a")
    assert_type(job, JobHandle[int])
    assert_type(app.sync(job.result, timeout=5), int)
    assert_type(app.sync(app.jobs.get, "id"), Job | None)
    app.sync.close()


async def wrong() -> None:
    Mainspring()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Mainspring(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Mainspring("sqlite://:memory:", clock=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.worker(20)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    app.worker(concurency=20)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    app.worker(concurrency="20")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.worker(queues="a", lease=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await app.run_worker(grace=object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.url = 5  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    app.discover(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.use_builtins(only="webhook", private=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    text: str = await app.with_transaction(insert)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    await app.locks.acquire("name")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    app.locks.lock("name", ttl=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.sync(count.enqueue, text=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.sync(count.enqueue)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    app.sync(app.jobs.get, text, "more")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
