"""A transaction of the caller's own on a connection of its own: what `Store.transaction` gives for a file.

It runs in the thread of the event loop, as the caller's statements do. `BEGIN IMMEDIATE` takes the write lock at once,
so that nothing in the block can lose against another writer; and while it is open nobody else writes, the heartbeat of
a worker included.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mainspring.core.duration import humanize
from mainspring.errors import DefinitionError, StoreUnavailable
from mainspring.stores.sqlite.connect import connect
from mainspring.stores.sqlite.failures import busy, translate
from mainspring.stores.sqlite.settings import Settings

FIRST_PAUSE = 0.0005
LONGEST_PAUSE = 0.005
"""Seconds between two tries for a lock that somebody else has."""


@asynccontextmanager
async def session(settings: Settings, turn: asyncio.Lock) -> AsyncIterator[sqlite3.Connection]:
    """An open transaction. Commits at the end of the block; an exception rolls it back.

    `turn` is held meanwhile: those of one event loop go one after the other, without looking for the lock all the time.
    """
    give_up = time.monotonic() + settings.patience
    await _take_turn(turn, settings)
    try:
        connection = _connect(settings)
        try:
            await _begin(connection, settings, give_up)
            async with _ended(connection, settings):
                yield connection
        finally:
            connection.close()
    finally:
        turn.release()


async def _take_turn(turn: asyncio.Lock, settings: Settings) -> None:
    try:
        async with asyncio.timeout(settings.patience):
            await turn.acquire()
    except TimeoutError as e:
        raise StoreUnavailable(
            f"{settings.path}: another transaction of this event loop holds the lock for longer than "
            f"{humanize(round(settings.patience * 1_000))}. Keep them short, and do not open one inside another."
        ) from e


@asynccontextmanager
async def _ended(connection: sqlite3.Connection, settings: Settings) -> AsyncIterator[None]:
    try:
        yield
        _commit(connection, settings)
    except sqlite3.OperationalError as e:
        if not busy(e):
            raise
        raise StoreUnavailable(f"{settings.path}: the database is locked by another writer. Run it again.") from e
    finally:
        # Before it is closed: a cursor that the caller has kept would keep the connection, and with it the lock.
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _connect(settings: Settings) -> sqlite3.Connection:
    try:
        return connect(settings)
    except sqlite3.Error as e:
        raise translate(e, settings) from e


async def _begin(connection: sqlite3.Connection, settings: Settings, give_up: float) -> None:
    """Take the write lock, without holding up the event loop while another has it."""
    pause = FIRST_PAUSE
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.Error as e:
            if not busy(e) or time.monotonic() + pause > give_up:
                raise translate(e, settings) from e
        await asyncio.sleep(pause * random.uniform(0.5, 1))
        pause = min(pause * 1.5, LONGEST_PAUSE)


def _commit(connection: sqlite3.Connection, settings: Settings) -> None:
    if not connection.in_transaction:
        raise DefinitionError(
            "the transaction was ended inside its block, by a commit or a rollback (`with connection:` does so too), "
            "or by SQLite after an error. Leave that to the end of the block; raise an exception to roll back."
        )
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as e:
        raise translate(e, settings) from e
