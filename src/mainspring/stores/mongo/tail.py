"""Reading a capped collection as it grows.

Not a change stream: that would make the server look through all that is written for every process that listens, and it
needs a replica set. A capped collection has its own bell: one request in `PATIENCE` seconds while nobody rings.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from pymongo import CursorType
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import PyMongoError

from mainspring.stores.mongo.link import Collection, Document, Link

PATIENCE = 20.0
"""Seconds for which the server waits before it answers that there is nothing."""
GRACE = 10.0
"""Seconds after which an answer that did not come will not come: the connection is dead, and nobody said so."""
AGAIN, LONGEST = 0.1, 5.0
"""Seconds between two attempts to open a cursor, at first and at most."""
OPENED: Document = {"about": "opened"}
"""Said when a cursor was opened: what follows is what is there, from the beginning on."""


async def tail(link: Link, name: str, fields: Document) -> AsyncGenerator[Document | None, None]:
    """`OPENED`, then the documents of a capped collection that have `fields`, from its beginning on; None where
    nothing came for a while. After a lost connection all that once more. Never ends by itself."""
    delay = AGAIN
    while True:
        try:
            async for document in _read(link[name], fields):
                delay = AGAIN
                yield document
        except (PyMongoError, TimeoutError):
            pass
        await asyncio.sleep(delay)
        delay = min(delay * 2, LONGEST)


async def _read(collection: Collection, fields: Document) -> AsyncGenerator[Document | None, None]:
    cursor = collection.find(fields, cursor_type=CursorType.TAILABLE_AWAIT, batch_size=1_000)
    cursor.max_await_time_ms(round(PATIENCE * 1_000))
    try:
        async with asyncio.timeout(GRACE):
            document = await _next(cursor)
        yield OPENED
        if document is not None:
            yield document
        while cursor.alive:
            async with asyncio.timeout(PATIENCE + GRACE):
                document = await _next(cursor)
            yield document
    finally:
        await cursor.close()


async def _next(cursor: AsyncCursor[Document]) -> Document | None:
    try:
        return await cursor.next()
    except StopAsyncIteration:  # for now
        return None
