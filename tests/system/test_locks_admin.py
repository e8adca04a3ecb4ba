"""Locks as operators see them: whose they are, which are held, and how one is taken away."""

from __future__ import annotations

import pytest

from mainspring import DefinitionError, LockLost, Mainspring
from mainspring.core.records import LEASE
from mainspring.testing import FakeClock


async def test_who_holds_a_lock_since_when_until_when(app: Mainspring, clock: FakeClock) -> None:
    assert await app.locks.get("report") is None
    async with app.locks.lock("report", ttl="30s", owner="me") as lock:
        since = clock.now()
        await clock.advance("20s")
        await lock.extend()
        await clock.advance("5s")
        info = await app.locks.get("report")
        assert info is not None
        assert (info.name, info.owner, info.since, info.until) == ("report", "me", since, since + 50_000)
        assert info.fence == lock.fence
    assert await app.locks.get("report") is None


async def test_a_lock_that_its_owner_takes_again_is_held_since_the_first_time(
    app: Mainspring, clock: FakeClock
) -> None:
    since = clock.now()
    await app.locks.acquire("report", "me")
    first = await app.locks.get("report")
    await clock.advance("10s")
    await app.locks.acquire("report", "me")
    again = await app.locks.get("report")
    assert first is not None
    assert again is not None
    assert (again.since, again.until) == (since, clock.now() + 30_000)
    assert (again.fence or 0) > (first.fence or 0)
    await clock.advance("31s")
    await app.locks.acquire("report", "me")
    new = await app.locks.get("report")
    assert new is not None
    assert new.since == clock.now()


async def test_the_fence_that_is_shown_is_the_one_of_the_taking(app: Mainspring, clock: FakeClock) -> None:
    """Not the version of the record, which grows with each renewal."""
    for n in range(3):
        fence = await app.locks.take("report", f"owner-{n}", 30_000)
        assert await app.locks.extend("report", f"owner-{n}")
        info = await app.locks.get("report")
        record = await (await app.connect()).store.read(LEASE, "report")
        assert info is not None
        assert record is not None
        assert info.fence == fence == record.version - 1
        await app.locks.release("report", f"owner-{n}")


async def test_locks_that_are_held_are_listed_by_name(app: Mainspring, clock: FakeClock) -> None:
    for n in range(8):
        await app.locks.acquire(f"lock-{n}", "me", ttl="1m" if n % 2 else "10s")
    await app.locks.release("lock-1", "me")
    await clock.advance("10s")

    assert [lock.name for lock in await app.locks.list()] == ["lock-3", "lock-5", "lock-7"]
    page = await app.locks.list(limit=2)
    assert [lock.name for lock in page] == ["lock-3", "lock-5"]
    rest = await app.locks.list(limit=2, cursor=page.cursor)
    assert ([lock.name for lock in rest], rest.cursor) == (["lock-7"], None)
    assert (await app.locks.list(limit=3)).cursor is None
    with pytest.raises(DefinitionError, match="bad limit"):
        await app.locks.list(limit=0)


async def test_a_lock_is_found_behind_five_hundred_that_are_over(app: Mainspring, clock: FakeClock) -> None:
    for n in range(510):
        await app.locks.acquire(f"a-{n:03}", "me", ttl="1s")
    await clock.advance("2s")
    await app.locks.acquire("b", "me")
    page = await app.locks.list(limit=1)
    assert ([lock.name for lock in page], page.cursor) == (["b"], None)


async def test_a_lock_is_taken_away(app: Mainspring, clock: FakeClock) -> None:
    lock = app.locks.lock("report", owner="stuck")
    old_fence = await lock.acquire()
    assert await app.locks.force_release("report", "its host is gone")
    assert await app.locks.holder("report") is None
    assert not await app.locks.extend("report", "stuck")
    fence = await app.locks.take("report", "next", 30_000)
    assert fence is not None
    assert fence > old_fence
    with pytest.raises(LockLost):
        await lock.extend()
    assert not await lock.release()
    assert await app.locks.holder("report") == "next"

    [entry] = await app.audit.list()
    assert (entry.action, entry.target, entry.reason) == ("locks.force_release", "report", "its host is gone")
    assert (entry.changed, entry.detail) == (1, {"owner": "stuck"})


async def test_a_lock_that_nobody_holds_cannot_be_taken_away(app: Mainspring) -> None:
    assert not await app.locks.force_release("report")
    await app.locks.acquire("report", "me")
    await app.locks.release("report", "me")
    assert not await app.locks.force_release("report")
    with pytest.raises(DefinitionError, match="bad lock name"):
        await app.locks.force_release("")
