"""What a type checker must see of the testing kit. Checked by tests/system/test_typing.py; never run."""

from __future__ import annotations

from typing import assert_type

from mainspring import Mainspring
from mainspring.testing import Drained, Enqueued, FakeClock, Kit, Outages, kit, subset

app = Mainspring("sqlite://:memory:")


@app.task
async def send(to: str) -> int:
    return len(to)


async def right() -> None:
    async with kit(app) as k:
        assert_type(k, Kit)
        assert_type(k.clock, FakeClock)
        assert_type(k.store, Outages)
        assert_type(k.app, Mainspring)
        await send.enqueue("a")
        assert_type(await k.assert_enqueued(send, to="a", count=1, queue="default", within="1s"), Enqueued)
        await k.assert_enqueued("send", meta=subset({"tenant": "acme"}))
        await k.refute_enqueued(send, to="b")
        assert_type(await k.all_enqueued(), list[Enqueued])
        drained = await k.drain(queue="default", raise_errors=True)
        assert_type(drained, Drained)
        assert_type(drained.completed, int)
        assert_type(await k.advance("1d"), Drained)
        k.inline = True
        with k.store.down():
            pass
        k.store.fail_next(2, operation="add")
        await k.assert_no_failures(ignoring=[send])


def right_in_synchronous_code() -> None:
    with kit(app, inline=True, raise_errors=True) as k:
        k.sync.assert_enqueued(send, to="a")


async def right_clock() -> None:
    clock = FakeClock()
    assert_type(clock.now(), int)
    await clock.advance("1d")
    Mainspring("sqlite://:memory:", clock=clock)


async def wrong() -> None:
    kit()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    kit("app")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    kit(app, inlined=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    async with kit(app) as k:
        await k.assert_enqueued(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await k.assert_enqueued(send, count="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await k.drain(queues=["default"])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        await k.advance()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        await k.advance(object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        k.inline = "yes"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        k.store.fail_next("add")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        k.no_such_tool()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    FakeClock("2030-01-01")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await FakeClock().advance()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
