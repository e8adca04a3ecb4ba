"""Locks: one holder at a time, a fence that grows, and nothing that a late owner could break."""

from __future__ import annotations

import asyncio

import pytest

from mainspring import DefinitionError, LockHeld, LockLost, Mainspring
from mainspring.stores import open_store
from mainspring.testing import FakeClock
from tests.system.watched import watched


async def test_one_holds_it_and_nobody_else(app: Mainspring) -> None:
    async with app.locks.lock("report", ttl="30s") as lock:
        assert await app.locks.is_held("report")
        assert await app.locks.holder("report") == lock.owner
        with pytest.raises(LockHeld, match=f"lock 'report' is held by {lock.owner}"):
            await app.locks.lock("report").acquire()
        async with app.locks.lock("other"):
            pass
    assert not await app.locks.is_held("report")
    assert await app.locks.holder("report") is None


async def test_the_fence_grows_from_holder_to_holder(app: Mainspring, clock: FakeClock) -> None:
    fences = []
    for gap in ("0s", "0s", "1h", "2d"):
        async with app.locks.lock("report") as lock:
            fences.append(lock.fence)
            await lock.extend()
            await lock.extend()
        await clock.advance(gap)
        await (await app.connect()).store.purge(clock.now(), 100)
    assert fences == sorted(set(fences))


async def test_the_yes_or_no_way(app: Mainspring, clock: FakeClock) -> None:
    locks = app.locks
    assert await locks.acquire("job", "me", ttl=30)
    assert not await locks.acquire("job", "you", ttl=30)
    assert await locks.acquire("job", "me", ttl=60), "mine already"
    assert not await locks.extend("job", "you")
    assert not await locks.release("job", "you")
    assert await locks.is_held("job", "me")
    assert not await locks.is_held("job", "you")
    await clock.advance("59s")
    assert await locks.extend("job", "me", ttl=10)
    await clock.advance("10s")
    assert not await locks.is_held("job")
    assert not await locks.extend("job", "me")
    assert not await locks.release("job", "me")
    assert await locks.acquire("job", "you")
    assert await locks.release("job", "you")
    assert not await locks.release("job", "you")


async def test_a_late_release_leaves_the_new_owners_lock(app: Mainspring, clock: FakeClock) -> None:
    late = app.locks.lock("report", ttl="30s")
    old_fence = await late.acquire()
    await clock.advance("31s")
    async with app.locks.lock("report", ttl="30s") as new:
        assert new.fence > old_fence
        assert await late.release() is False
        assert await app.locks.holder("report") == new.owner
        with pytest.raises(LockLost):
            await late.extend()
        assert await app.locks.holder("report") == new.owner


async def test_a_lock_that_was_lost_says_so_at_the_end_of_its_block(app: Mainspring, clock: FakeClock) -> None:
    async def overslept() -> None:
        async with app.locks.lock("report", ttl="30s"):
            await clock.advance("31s")
            assert await app.locks.acquire("report", "somebody")

    with pytest.raises(LockLost, match="lock 'report' was lost"):
        await overslept()
    assert await app.locks.holder("report") == "somebody"


async def test_an_error_in_the_block_is_not_hidden_by_a_lost_lock(app: Mainspring, clock: FakeClock) -> None:
    async def fails() -> None:
        async with app.locks.lock("report", ttl="30s"):
            await clock.advance("31s")
            raise KeyError

    with pytest.raises(KeyError):
        await fails()


async def test_waiting_for_a_lock(app: Mainspring) -> None:
    holder = app.locks.lock("report")
    await holder.acquire()
    next_one = app.locks.lock("report", wait="10s")
    waiting = asyncio.ensure_future(next_one.acquire())
    for _ in range(5):
        await asyncio.sleep(0)
    await holder.release()
    assert await waiting > holder.fence
    with pytest.raises(LockHeld):
        await app.locks.lock("report", wait="50ms").acquire()
    with pytest.raises(LockHeld, match="this very object"):
        await next_one.acquire()
    assert await next_one.release()


async def test_a_held_lock_is_renewed_in_the_background(clock: FakeClock) -> None:
    app = Mainspring("sqlite://:memory:", clock=clock)
    async with app.locks.lock("report", ttl="30ms") as lock:
        for _ in range(5):
            await clock.advance("20ms")
            record = await _renewed(app, clock.now() + 30)
        assert record.version > lock.fence
        assert await app.locks.holder("report") == lock.owner
    await app.close()


async def test_twenty_at_once_one_after_the_other(app: Mainspring) -> None:
    inside = 0
    fences: list[int] = []

    async def work() -> None:
        nonlocal inside
        async with app.locks.lock("report", wait="30s") as lock:
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            fences.append(lock.fence)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(20)))
    assert len(fences) == 20
    assert fences == sorted(set(fences))


async def test_a_lock_whose_answer_was_lost_is_ours(clock: FakeClock) -> None:
    store, watch = watched(open_store("sqlite://:memory:", clock.now))
    app = Mainspring(store, clock=clock)
    watch.lose_answers["write"] = 1
    async with app.locks.lock("report") as lock:
        record = await (await app.connect()).store.read("lease", "report")
        assert record is not None
        assert (record.version, record.value["owner"]) == (lock.fence, lock.owner)
    await app.close()


@pytest.mark.parametrize("name", ["", "x" * 201, 5])
def test_bad_names(name: str) -> None:
    with pytest.raises(DefinitionError, match="bad lock name"):
        Mainspring("sqlite://:memory:").locks.lock(name)


@pytest.mark.parametrize("ttl", [0, -1, "soon", None])
def test_bad_ttl(ttl: float) -> None:
    with pytest.raises(DefinitionError, match="bad ttl"):
        Mainspring("sqlite://:memory:").locks.lock("x", ttl=ttl)


async def _renewed(app: Mainspring, until: int):  # type: ignore[no-untyped-def]
    """The lease, once it lasts until then."""
    client = await app.connect()
    async with asyncio.timeout(60):
        while True:
            record = await client.store.read("lease", "report")
            if record is not None and record.due_at is not None and record.due_at >= until:
                return record
            await asyncio.sleep(0)
