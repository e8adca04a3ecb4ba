"""Running a callback in a transaction, and again where it lost against another writer: `with_transaction`.

Knows no database: what a transaction is, and what losing means, is said in the store contract.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from mainspring.core.clock import Clock
from mainspring.core.duration import Duration, milliseconds
from mainspring.errors import StoreUnavailable
from mainspring.events import emit

T = TypeVar("T")

TIMEOUT = 120
"""Seconds after which nothing is run again, as PyMongo has it."""
FIRST_DELAY = 0.005
LONGEST_DELAY = 0.5


async def run_in_transaction(
    transaction: Callable[[], AbstractAsyncContextManager[Any]],
    callback: Callable[[Any], Awaitable[T]],
    clock: Clock,
    timeout: Duration = TIMEOUT,
    landed: Callable[[], Awaitable[bool]] | None = None,
) -> T:
    """Await `callback(session)` in a new transaction and commit; answer its value.

    It is run again as long as `StoreUnavailable` says that nothing was committed, up to `timeout`; the last one is
    raised. `landed` is asked before a run whose callback had ended: whether it was committed after all.
    """
    give_up = clock.monotonic() + milliseconds(timeout, "timeout")
    delay = FIRST_DELAY
    while True:
        ended: list[T] = []
        try:
            async with transaction() as session:
                ended.append(await callback(session))
            return ended[0]
        except StoreUnavailable as error:
            if ended and landed is not None and await landed():
                return ended[0]
            if clock.monotonic() >= give_up:
                raise
            emit("transaction.again", logging.DEBUG, error=str(error))
        await asyncio.sleep(delay * random.uniform(0.5, 1))
        delay = min(delay * 2, LONGEST_DELAY)
