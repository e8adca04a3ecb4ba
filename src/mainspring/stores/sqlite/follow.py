"""Following the events: a generator that registers a follower, and reads what was written since.

A follower that dies without a word is forgotten after 30 s, and nobody writes events for it any longer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from functools import partial

from mainspring.core.ids import new_id
from mainspring.errors import StoreError
from mainspring.stores.base import BATCH_ROWS, Event
from mainspring.stores.sqlite import events
from mainspring.stores.sqlite.database import Database

PERIOD = 0.025
"""Seconds between two looks at the file for the events of other processes."""
ALIVE = 2.0
"""Seconds of silence after which an empty batch says that it is alive."""
RENEWAL = 10.0
"""Seconds between two renewals of the follower, who lives 30 s without."""


async def follow(database: Database) -> AsyncGenerator[list[Event], None]:
    """Batches of events from the first step on, which answers an empty batch at once: the follower is known now."""
    name = new_id()
    loop = asyncio.get_running_loop()
    last = await database.write(partial(events.follow, name=name))
    try:
        renew_at = loop.time() + RENEWAL
        yield []
        while True:
            last, batch = await _next(database, last)
            yield batch
            if loop.time() >= renew_at:
                await database.write(partial(events.follow, name=name))
                renew_at = loop.time() + RENEWAL
    finally:
        # A store that was closed first, or is locked: the record expires.
        with contextlib.suppress(StoreError):
            await database.write(partial(events.unfollow, name=name))


async def _next(database: Database, last: int) -> tuple[int, list[Event]]:
    """The next events after number `last`, or none after a while."""
    loop = asyncio.get_running_loop()
    end = loop.time() + ALIVE
    version = None
    while True:
        with database.hub.waiting([events.PUBLISHED]) as waiter:
            before, version = version, database.version()
            if version != before or not database.others_write:
                last, batch = await database.read(partial(events.since, last=last, limit=BATCH_ROWS))
                if batch:
                    return last, batch
            left = end - loop.time()
            if left <= 0:
                return last, []
            if await waiter.sleep(min(left, PERIOD if database.others_write else left)):
                version = None
