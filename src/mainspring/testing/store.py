"""A store that can be down, slow, or lose its answers, for tests of what a program does then.

It stands before a real one, and decides nothing else. What it does wrong is said to its `Outages`, which all clones
share, in whatever event loop or thread they live.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, Literal, NamedTuple

from mainspring.core.duration import Duration, milliseconds
from mainspring.errors import DefinitionError, StoreUnavailable
from mainspring.stores.base import Event, Store

OPERATIONS = tuple(sorted(Store.__abstractmethods__ - {"clone", "subscribe", "followed"}))
"""The calls of a store, as `fail_next` and its like name them: add, claim, save, get, ..."""
WORK_WHEN_DOWN = ("close", "wait")
"""Letting go always works; a sleep for a hint ends by itself."""

When = Literal["before", "after"]


class Failure(NamedTuple):
    """What goes wrong with one call: before it takes effect, or after it has, when its answer is lost."""

    when: When
    error: Exception | None = None


class Outages:
    """What goes wrong with the store of a test, and what it was asked for. `kit.store`; safe from any thread."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        """How often each operation was called."""
        self._lock = threading.Lock()
        self.is_down: bool = False
        self._failures: dict[str, deque[Failure]] = {}
        self._delays: dict[str, float] = {}
        self._hangs: list[Hang] = []
        self._listeners: list[Callable[[], object]] = []

    # -- what can go wrong -----------------------------------------------------------------------------------------

    def down(self) -> AbstractContextManager[None]:
        """From now on every call raises `StoreUnavailable`, until `up()`, or for a block: `with kit.store.down():`."""
        self.is_down = True
        return _Until(self.up)

    def up(self) -> None:
        """The store answers again, and nothing more is planned to fail. Twice is once."""
        with self._lock:
            self.is_down = False
            self._failures.clear()
        for listener in list(self._listeners):
            listener()

    def fail_next(self, times: int = 1, *, operation: str = "add", error: Exception | None = None) -> None:
        """The next calls of `operation` fail, and nothing happens in the store. An enqueue is an "add".

        `error`: what they raise; default: `StoreUnavailable`. Raises `DefinitionError` for an unknown operation.
        """
        self._plan(times, operation, Failure("before", error))

    def lose_answers(self, times: int = 1, *, operation: str = "add") -> None:
        """The next calls of `operation` take effect, and raise `StoreUnavailable` all the same: their answer is lost.

        Raises `DefinitionError` for an unknown operation.
        """
        self._plan(times, operation, Failure("after"))

    def planned(self, operation: str) -> int:
        """How many of the next calls are to fail, or to lose their answers."""
        return len(self._failures.get(_known(operation), ()))

    @contextmanager
    def slow(self, duration: Duration, *, operation: str | None = None) -> Iterator[None]:
        """For a block, each call (of `operation`) takes this long, of real time. Raises `DefinitionError`."""
        names = OPERATIONS if operation is None else (_known(operation),)
        before, seconds = dict(self._delays), milliseconds(duration, "slow") / 1000
        self._delays = before | dict.fromkeys(names, seconds)
        try:
            yield
        finally:
            self._delays = before

    @contextmanager
    def hang(self, operation: str = "add") -> Iterator[Hang]:
        """For a block, calls of `operation` wait, before they take effect, for its end or for `release()`.

        So a test can look at what a program does meanwhile, and nobody sleeps. Raises `DefinitionError`.
        """
        hang = Hang(_known(operation))
        self._hangs.append(hang)
        try:
            yield hang
        finally:
            self._hangs.remove(hang)
            hang.release()

    def listen(self, listener: Callable[[], object]) -> None:
        """Call `listener` when the store is up again. It must not block."""
        self._listeners.append(listener)

    # -- what the store asks ---------------------------------------------------------------------------------------

    async def _before(self, operation: str) -> Failure | None:
        """Before a call takes effect. Answers what is to go wrong after it has; raises what goes wrong now."""
        with self._lock:
            self.calls[operation] += 1
            waiting = self._failures.get(operation)
            failure = waiting.popleft() if waiting else None
        for hang in [hang for hang in self._hangs if hang.operation == operation]:
            await hang._wait()
        if seconds := self._delays.get(operation):
            await asyncio.sleep(seconds)
        if self.is_down and operation not in WORK_WHEN_DOWN:
            raise StoreUnavailable(f"{operation}: the store is down, because the test says so. Nothing was done.")
        if failure is not None and failure.when == "before":
            raise failure.error or StoreUnavailable(f"{operation} fails, because the test says so. Nothing was done.")
        return failure

    def _after(self, operation: str, failure: Failure | None) -> None:
        """After a call has taken effect: raises where its answer is to be lost."""
        if failure is not None:
            raise StoreUnavailable(f"{operation}: its answer is lost, because the test says so. It was done.")

    def _plan(self, times: int, operation: str, failure: Failure) -> None:
        with self._lock:
            self._failures.setdefault(_known(operation), deque()).extend([failure] * times)


class Hang:
    """Calls that wait until the test lets them go on."""

    def __init__(self, operation: str) -> None:
        self.operation = operation
        self._lock = threading.Lock()
        self._reached: Future[None] = Future()
        self._held: list[Future[None]] = []
        self._released = False

    async def reached(self) -> None:
        """Wait until a call hangs."""
        await asyncio.shield(asyncio.wrap_future(self._reached))

    def release(self) -> None:
        """Let them go on, and those that come later."""
        with self._lock:
            self._released = True
            held, self._held = self._held, []
        for future in held:
            if not future.done():
                future.set_result(None)

    async def _wait(self) -> None:
        """A call is here."""
        future: Future[None] = Future()
        with self._lock:
            if self._released:
                return
            self._held.append(future)
            if not self._reached.done():
                self._reached.set_result(None)
        await asyncio.wrap_future(future)


class _Until(AbstractContextManager[None]):
    """Something that has begun already, and ends with a block, if there is one."""

    def __init__(self, end: Callable[[], object]) -> None:
        self._end = end

    def __exit__(self, *error: object) -> None:
        self._end()


class _Unreliable:
    """Passes everything on to `inner`, but for what `outages` says."""

    def __init__(self, inner: Store, outages: Outages) -> None:
        self.inner = inner
        self.outages = outages
        self.url = inner.url

    def clone(self) -> Store:
        return unreliable(self.inner.clone(), self.outages)

    @property
    def followed(self) -> bool:
        return self.inner.followed

    def subscribe(self) -> AsyncGenerator[list[Event], None]:
        return self.inner.subscribe()

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        return self._transaction(self.inner.transaction())

    @asynccontextmanager
    async def _transaction(self, inner: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
        failure = await self.outages._before("transaction")
        async with inner as session:
            yield session
        self.outages._after("transaction", failure)

    async def call(self, operation: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        failure = await self.outages._before(operation)
        answer = await getattr(self.inner, operation)(*args, **kwargs)
        self.outages._after(operation, failure)
        return answer


def _passing(operation: str) -> Any:
    async def passed(self: _Unreliable, *args: Any, **kwargs: Any) -> Any:
        return await self.call(operation, args, kwargs)

    return passed


_calls = {name: _passing(name) for name in OPERATIONS if name != "transaction"}
_UnreliableStore: Any = type("UnreliableStore", (_Unreliable, Store), _calls)


def unreliable(store: Store, outages: Outages) -> Store:
    """`store`, failing where `outages` says, and in whatever is cloned from it."""
    made: Store = _UnreliableStore(store, outages)
    return made


def _known(operation: str) -> str:
    if operation not in OPERATIONS:
        raise DefinitionError(f"unknown operation: {operation!r}. Expected one of {', '.join(OPERATIONS)}.")
    return operation
