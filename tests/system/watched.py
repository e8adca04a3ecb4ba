"""A store that counts its calls, and loses answers when told to: the call takes effect, and nobody learns of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, cast

from mainspring.errors import StoreUnavailable
from mainspring.stores.base import Store


class Watch:
    """What the clones of one watched store share."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.lose_answers: defaultdict[str, int] = defaultdict(int)
        """How many of the next answers of a method are lost, after it has taken effect."""
        self.down: defaultdict[str, int] = defaultdict(int)
        """How many of the next calls of a method do not reach the store."""
        self.before: dict[str, Callable[[Any], Any]] = {}
        """Called with the first argument before the method; for another process that is faster."""


class WatchedStore:
    """Not a `Store` by inheritance: whatever the contract has is passed on."""

    def __init__(self, store: Store, watch: Watch) -> None:
        self._store = store
        self._watch = watch
        self.url = store.url

    def clone(self) -> WatchedStore:
        return WatchedStore(self._store.clone(), self._watch)

    @property
    def followed(self) -> bool:
        return self._store.followed

    def subscribe(self) -> Any:
        self._watch.calls["subscribe"] += 1
        return self._store.subscribe()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            watch = self._watch
            watch.calls[name] += 1
            if watch.down[name]:
                watch.down[name] -= 1
                raise StoreUnavailable("down, says the test")
            if name in watch.before:
                await watch.before[name](args[0])
            answer = await method(*args, **kwargs)
            if watch.lose_answers[name]:
                watch.lose_answers[name] -= 1
                raise StoreUnavailable("the answer was lost, says the test")
            return answer

        return call


def watched(store: Store) -> tuple[Store, Watch]:
    """The store, watched, and its watch."""
    watch = Watch()
    return cast(Store, WatchedStore(store, watch)), watch
