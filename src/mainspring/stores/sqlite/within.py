"""Writing in the caller's own open transaction: what it adds exists when it commits, and never if it rolls back.

Runs in the caller's thread, on the caller's connection, and never commits or rolls back what is the caller's.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mainspring.errors import DefinitionError, StoreUnavailable
from mainspring.stores.sqlite.channel import T, Work
from mainspring.stores.sqlite.failures import busy, translate
from mainspring.stores.sqlite.settings import Settings

_SAVEPOINT = "mainspring_within"


def run_within(within: Any, settings: Settings, work: Work[T]) -> T:
    """Let `work` write in the transaction of `within`, a `sqlite3.Connection` to the same file.

    Where Python has not begun one yet, it is begun as Python would. Raises `DefinitionError` for any other object.
    """
    try:
        _check(within, settings)
        with _our_settings(within), _savepoint(within):
            return work(within)
    except sqlite3.ProgrammingError as e:
        raise DefinitionError(
            f"within: the connection cannot be used here ({e}). Expected an open connection of the calling thread."
        ) from e
    except sqlite3.OperationalError as e:
        if not busy(e):
            raise translate(e, settings) from e
        raise StoreUnavailable(
            f"{settings.path}: the database is locked by another writer, or has changed since your transaction began. "
            "Roll back and try again; BEGIN IMMEDIATE takes the lock at once."
        ) from e
    except sqlite3.Error as e:
        raise translate(e, settings) from e


def _check(within: Any, settings: Settings) -> None:
    if not isinstance(within, sqlite3.Connection):
        raise DefinitionError(
            f"within: {type(within).__name__} is not a transaction of this store. Expected a sqlite3.Connection."
        )
    if settings.path is None:
        raise DefinitionError("within: a store in memory has no other connections. Use a file: sqlite:///name.db.")
    files = {row[1]: row[2] for row in _cursor(within).execute("PRAGMA database_list")}
    file = os.fsdecode(files.get("main", files.get(b"main")) or "")
    if not file or not os.path.samefile(file, settings.path):
        raise DefinitionError(
            f"within: the connection is open on {file or ':memory:'!r}. Expected the store's file {settings.path!r}."
        )
    if not within.in_transaction and not _begins_by_itself(within):
        raise DefinitionError(
            "within: the connection commits each statement by itself, and no transaction is open. Execute BEGIN first."
        )


def _begins_by_itself(connection: sqlite3.Connection) -> bool:
    # From 3.12 on there is `autocommit`: -1 says that isolation_level rules, as it always did before.
    if getattr(connection, "autocommit", -1) != -1:
        return False
    return connection.isolation_level is not None


def _cursor(connection: sqlite3.Connection) -> sqlite3.Cursor:
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor


@contextmanager
def _our_settings(connection: sqlite3.Connection) -> Iterator[None]:
    """Rows as tuples and text as str, whatever the caller likes."""
    rows, text = connection.row_factory, connection.text_factory
    connection.row_factory, connection.text_factory = None, str
    try:
        yield
    finally:
        connection.row_factory, connection.text_factory = rows, text


@contextmanager
def _savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    """Undo our statements alone where one of them fails."""
    began = not connection.in_transaction
    if began:
        connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"SAVEPOINT {_SAVEPOINT}")
    try:
        yield
    except BaseException:
        # A full disk may have ended the whole transaction already.
        if connection.in_transaction:
            connection.execute(f"ROLLBACK TO {_SAVEPOINT}")
            connection.execute(f"RELEASE {_SAVEPOINT}")
        if began and connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute(f"RELEASE {_SAVEPOINT}")
