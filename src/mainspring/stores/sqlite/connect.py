"""Opening connections: the settings that every one has, and what is checked before the first write."""

from __future__ import annotations

import sqlite3

from mainspring.errors import StoreUnusable
from mainspring.stores.sqlite.find import CASEFOLD
from mainspring.stores.sqlite.schema import inspect, migrate
from mainspring.stores.sqlite.settings import Settings

CACHE_KB = 8_000
PREPARED = 256
"""Statements kept prepared per connection; a bulk statement is one per size of its chunks."""
WAL_PAGES = 4_000
"""Pages in the log before a commit copies them back (16 MB), with two fsyncs. On a disk that others use, too, a job
took 305 us through add, claim and save at 1,000 pages, and 209 us at 4,000."""
WAL_BYTES = 64_000_000
"""What a log that grew under a long reader is cut back to."""


def open_for_writing(settings: Settings) -> sqlite3.Connection:
    connection = connect(settings)
    try:
        inspect(connection, settings.shared)  # First: a file of something else is not to be changed in any way.
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            _begin_log(connection, settings)
        migrate(connection, settings.shared)
    except BaseException:
        connection.close()
        raise
    return connection


def _begin_log(connection: sqlite3.Connection, settings: Settings) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreUnusable(
            f"{settings.path}: SQLite keeps no write-ahead log there, only {mode!r}. "
            "Expected a file system of this machine, not one over a network; name another file."
        )


def connect(settings: Settings) -> sqlite3.Connection:
    assert settings.path is not None
    connection = sqlite3.connect(
        settings.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=PREPARED
    )
    try:
        connection.execute(f"PRAGMA synchronous = {settings.synchronous}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def open_in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, cached_statements=PREPARED)
    _prepare(connection)
    migrate(connection)
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA temp_store = memory")
    connection.create_function(CASEFOLD, 1, _casefold, deterministic=True)


def _casefold(text: str | None) -> str | None:
    return None if text is None else text.casefold()
