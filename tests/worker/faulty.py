"""A store that fails on request: before a call takes effect, or after it did and before its answer came."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal

from mainspring.errors import StoreUnavailable
from mainspring.stores.base import Event, Store

When = Literal["before", "after"]
CALLS = sorted(Store.__abstractmethods__ - {"clone", "subscribe", "followed", "transaction"})


class Plan:
    """What is to fail, and what was called. Shared by all clones of one store."""

    def __init__(self) -> None:
        self.failures: dict[str, list[When]] = {}
        self.down = False
        self.calls: Counter[str] = Counter()

    def fail(self, name: str, when: When, times: int = 1) -> None:
        self.failures.setdefault(name, []).extend([when] * times)

    def next(self, name: str) -> When | None:
        self.calls[name] += 1
        if self.down and name not in ("open", "close", "wait"):
            return "before"
        waiting = self.failures.get(name)
        return waiting.pop(0) if waiting else None


class _Faulty:
    """Passes everything on to `inner`, but for what `plan` says."""

    def __init__(self, inner: Store, plan: Plan) -> None:
        self.inner = inner
        self.plan = plan
        self.url = inner.url

    def clone(self) -> Store:
        return faulty(self.inner.clone(), self.plan)

    @property
    def followed(self) -> bool:
        return self.inner.followed

    def subscribe(self) -> AsyncGenerator[list[Event], None]:
        return self.inner.subscribe()

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        return self._transaction(self.inner.transaction())

    @asynccontextmanager
    async def _transaction(self, inner: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
        failure = self.plan.next("transaction")
        if failure == "before":
            raise StoreUnavailable("transaction: planned to lose against another writer")
        async with inner as session:
            yield session
        if failure == "after":
            raise StoreUnavailable("transaction: planned to lose the answer of its commit")

    async def call(self, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        failure = self.plan.next(name)
        if failure == "before":
            raise StoreUnavailable(f"{name}: planned to fail before it took effect")
        answer = await getattr(self.inner, name)(*args, **kwargs)
        if failure == "after":
            raise StoreUnavailable(f"{name}: planned to lose its answer")
        return answer


def _passing(name: str) -> Any:
    async def passed(self: _Faulty, *args: Any, **kwargs: Any) -> Any:
        return await self.call(name, args, kwargs)

    return passed


FaultyStore: Any = type("FaultyStore", (_Faulty, Store), {name: _passing(name) for name in CALLS})


def faulty(inner: Store, plan: Plan) -> Store:
    """`inner`, failing where `plan` says."""
    store: Store = FaultyStore(inner, plan)
    return store
