"""Locks: leases that one owner holds for a time, with a fence that grows from holder to holder.

A lease is a record: `due_at` is when it ends, `value` says whose it is, since when and under which fence: the version
that the taking made. A released one stays for a day, so that its version goes on growing. Every change is a swap on
that version, so a late owner changes nothing.
"""

from __future__ import annotations

import asyncio
import builtins
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mainspring.audit import Audit
from mainspring.core.clock import Clock
from mainspring.core.duration import Duration, humanize, milliseconds
from mainspring.core.ids import new_token
from mainspring.core.naming import check_count, check_reason
from mainspring.core.policy import DAY
from mainspring.core.records import LEASE, Record
from mainspring.errors import DefinitionError, LockHeld, LockLost, StoreUnavailable
from mainspring.stores.base import BATCH_ROWS, Store

LOOK = 0.25
"""Seconds between two looks at a lock that is waited for, at most."""
NAME_LIMIT = 200

Connect = Callable[[], Awaitable[Store]]
"""Gives the open store of the running event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockInfo:
    """A lock that is held. Times in ms on the store's clock."""

    name: str
    owner: str
    since: int
    until: int
    """When it ends, unless its owner extends it."""
    fence: int | None
    """Grows from holder to holder. None: taken by a version that did not write it down."""


@dataclass(frozen=True, slots=True)
class LockPage:
    """Some locks, to iterate over, and where the next ones are."""

    locks: tuple[LockInfo, ...]
    cursor: str | None
    """None: there are no more."""

    def __iter__(self) -> Iterator[LockInfo]:
        return iter(self.locks)

    def __len__(self) -> int:
        return len(self.locks)


class Locks:
    """Locks across all processes of a store. `lock` is the usual way; `acquire`, `extend`, `release` say yes or no, and
    `get`, `list`, `force_release` are for operators."""

    def __init__(self, connect: Connect, clock: Clock, audit: Audit) -> None:
        self._connect = connect
        self._clock = clock
        self._audit = audit

    def lock(self, name: str, ttl: Duration = 30, wait: Duration | None = None, owner: str | None = None) -> Lock:
        """A lock to be held by `async with`, renewed while it is. `wait`: how long to wait for it; default: not at all.

        Raises `DefinitionError` for a bad name or ttl.
        """
        return Lock(self, name, ttl, wait, owner or new_token())

    async def acquire(self, name: str, owner: str, ttl: Duration = 30) -> bool:
        """Take the lock for `ttl`. True too where `owner` holds it already: then it is extended."""
        return await self.take(name, owner, _ttl(ttl)) is not None

    async def extend(self, name: str, owner: str, ttl: Duration = 30) -> bool:
        """Hold it for `ttl` from now. False: `owner` does not hold it."""
        return await self.prolong(name, owner, _ttl(ttl))

    async def release(self, name: str, owner: str) -> bool:
        """Give it back. False: `owner` does not hold it (any more)."""
        return await self._swap(name, owner, None)

    async def holder(self, name: str) -> str | None:
        """Who holds the lock now."""
        store = await self._connect()
        return _holder(await store.read(LEASE, _name(name)), self._clock.now())

    async def is_held(self, name: str, owner: str | None = None) -> bool:
        """Whether anybody, or `owner`, holds the lock now."""
        holder = await self.holder(name)
        return holder is not None if owner is None else holder == owner

    # -- for operators ---------------------------------------------------------------------------------------------

    async def get(self, name: str) -> LockInfo | None:
        """Whose the lock is, since when, until when, and its fence. None: nobody holds it."""
        store = await self._connect()
        return _info(await store.read(LEASE, _name(name)), self._clock.now())

    async def list(self, *, limit: int = 100, cursor: str | None = None) -> LockPage:
        """A page of up to `limit` (500 at most) locks that are held, by name.

        `page.cursor` is the `cursor` of the next page; None: this was the last. Raises `DefinitionError`.
        """
        check_count(limit, "limit", 1, BATCH_ROWS)
        store = await self._connect()
        now = self._clock.now()
        found: builtins.list[LockInfo] = []
        while True:
            leases = await store.scan(LEASE, after=cursor, limit=BATCH_ROWS)
            held = [info for lease in leases if (info := _info(lease, now)) is not None]
            found += held[: limit + 1 - len(found)]
            if len(found) > limit:
                return LockPage(tuple(found[:limit]), found[limit - 1].name)
            if len(leases) < BATCH_ROWS:
                return LockPage(tuple(found), None)
            cursor = leases[-1].name

    async def force_release(self, name: str, reason: str = "") -> bool:
        """Take the lock away from whoever holds it. False: nobody does.

        Its holder learns of it at the next renewal, a third of its ttl later at most, and goes on until then: only the
        fence keeps it from a resource meanwhile. Recorded in the audit trail.
        """
        store = await self._connect()
        async with self._audit.act("locks.force_release", _name(name), reason=check_reason(reason)) as act:
            while True:
                now = self._clock.now()
                lease = await store.read(LEASE, name)
                holder = _holder(lease, now)
                if lease is None or holder is None:
                    return False
                if await _write(store, _ended(lease, now)):
                    act.changed, act.detail = 1, {"owner": holder}
                    return True

    # -- what a `Lock` is made of ------------------------------------------------------------------------------------

    async def take(self, name: str, owner: str, ttl: int) -> int | None:
        """Take the lock; answers the fence. None: somebody else holds it."""
        store = await self._connect()
        while True:
            now = self._clock.now()
            old = await store.read(LEASE, _name(name)) or Record(kind=LEASE, name=name)
            holder = _holder(old, now)
            if holder is not None and holder != owner:
                return None
            since = old.value.get("since", now) if holder == owner else now
            # As the contract has it: the first version is the time of birth, each later one adds one.
            value = {"owner": owner, "since": since, "fence": old.version + 1 if old.version else now}
            lease = old.evolve(written_at=now, due_at=now + ttl, expires_at=now + ttl + DAY, value=value)
            try:
                [new] = await store.write([lease])
            except StoreUnavailable:
                landed = await store.read(LEASE, name)
                if landed is None or _holder(landed, now) != owner:
                    raise
                return landed.version
            if new is not None:
                return new.version

    async def prolong(self, name: str, owner: str, ttl: int) -> bool:
        """Hold a held lock for `ttl` ms from now. False: `owner` does not hold it."""
        return await self._swap(name, owner, ttl)

    async def _swap(self, name: str, owner: str, ttl: int | None) -> bool:
        """Move the end of a lease that `owner` holds; None: end it now."""
        store = await self._connect()
        while True:
            now = self._clock.now()
            lease = await store.read(LEASE, _name(name))
            if lease is None or _holder(lease, now) != owner:
                return False
            new = _ended(lease, now) if ttl is None else lease.evolve(due_at=now + ttl, expires_at=now + ttl + DAY)
            if await _write(store, new):
                return True


class Lock:
    """One lock, held between `async with`'s ends, renewed in the background each third of its `ttl`.

    `fence` grows from holder to holder: hand it to a resource that refuses writers with an older one. `lost` turns true
    where the lock could not be kept; leaving the block then raises `LockLost`.
    """

    def __init__(self, locks: Locks, name: str, ttl: Duration, wait: Duration | None, owner: str) -> None:
        self._locks = locks
        self._ttl = _ttl(ttl)
        self._wait = 0 if wait is None else milliseconds(wait, "wait")
        self._renewal: asyncio.Task[None] | None = None
        self._kept = 0.0
        self.name: str = _name(name)
        self.owner: str = owner
        self.fence: int = 0
        self.lost: bool = False

    async def acquire(self) -> int:
        """Take the lock, waiting as long as was said; answers the fence. Raises `LockHeld`."""
        if self._renewal is not None:
            raise LockHeld(f"lock {self.name!r} is held by this very object. Make another one to wait for it.")
        loop = asyncio.get_running_loop()
        end = loop.time() + self._wait / 1000
        while True:
            asked = loop.time()
            fence = await self._locks.take(self.name, self.owner, self._ttl)
            if fence is not None:
                break
            left = end - loop.time()
            if left <= 0:
                holder = await self._locks.holder(self.name)
                waited = f" after a wait of {humanize(self._wait)}" if self._wait else ""
                raise LockHeld(f"lock {self.name!r} is held by {holder}{waited}. Wait (longer): wait=...")
            await asyncio.sleep(min(left, random.uniform(LOOK / 5, LOOK)))
        self.fence, self.lost, self._kept = fence, False, asked + self._ttl / 1000
        self._renewal = asyncio.create_task(self._renew(), name=f"mainspring-lock {self.name}")
        return fence

    async def extend(self) -> None:
        """Hold it for another `ttl` from now. Raises `LockLost`."""
        asked = asyncio.get_running_loop().time()
        if self.lost or not await self._locks.prolong(self.name, self.owner, self._ttl):
            self.lost = True
            raise LockLost(self._story())
        self._kept = asked + self._ttl / 1000

    async def release(self) -> bool:
        """Give it back. False: it was lost before; the new holder's lock stays."""
        renewal, self._renewal = self._renewal, None
        if renewal is not None:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
        return await self._locks.release(self.name, self.owner)

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        released = await self.release()
        if error is None and (self.lost or not released):
            raise LockLost(self._story())

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.lost:
            await asyncio.sleep(self._ttl / 3000)
            try:
                await self.extend()
            except LockLost:
                return
            except StoreUnavailable:
                self.lost = loop.time() >= self._kept

    def _story(self) -> str:
        return (
            f"lock {self.name!r} was lost: it expired, or somebody took it over. "
            f"What was done under it may not have been alone; use lock.fence ({self.fence}), or a longer ttl."
        )


async def _write(store: Store, lease: Record) -> bool:
    [new] = await store.write([lease])
    return new is not None


def _ended(lease: Record, now: int) -> Record:
    return lease.evolve(due_at=now, expires_at=now + DAY, value={})


def _info(lease: Record | None, now: int) -> LockInfo | None:
    owner = _holder(lease, now)
    if lease is None or lease.due_at is None or owner is None:
        return None
    since, fence = lease.value.get("since", lease.written_at), lease.value.get("fence")
    return LockInfo(name=lease.name, owner=owner, since=since, until=lease.due_at, fence=fence)


def _holder(lease: Record | None, now: int) -> str | None:
    if lease is None or lease.due_at is None or lease.due_at <= now:
        return None
    owner = lease.value.get("owner")
    return owner if isinstance(owner, str) else None


def _name(name: str) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= NAME_LIMIT:
        raise DefinitionError(f"bad lock name: {name!r}. Expected text of 1 to {NAME_LIMIT} characters.")
    return name


def _ttl(ttl: Duration) -> int:
    amount = milliseconds(ttl, "ttl")
    if amount < 10:
        raise DefinitionError(f"bad ttl: {ttl!r}. Expected 10 ms or more.")
    return amount
