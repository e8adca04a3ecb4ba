"""From the errors of SQLite to those of the store contract: what happened, and what to do next."""

from __future__ import annotations

import os
import sqlite3

from mainspring.core.duration import humanize
from mainspring.errors import StoreError, StoreFull, StoreReadOnly, StoreUnavailable, StoreUnusable
from mainspring.stores.sqlite.settings import Settings


def busy(error: BaseException) -> bool:
    """Whether somebody else holds a lock, so that the same transaction may do in a moment."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def interrupted(error: BaseException) -> bool:
    return _code(error) == sqlite3.SQLITE_INTERRUPT


def _code(error: BaseException) -> int:
    # Errors that Python itself raises (a closed connection, a wrong thread) carry no code.
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def translate(error: sqlite3.Error, settings: Settings) -> StoreError:
    """The store's error for an error of SQLite."""
    path = settings.path or ":memory:"
    code = _code(error)
    if busy(error):
        waited = humanize(round(settings.patience * 1_000))
        return StoreUnavailable(
            f"{path}: the database is locked by another process for longer than {waited}. "
            "Try again; if it lasts, look for a long transaction, or raise ?busy_timeout=."
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"{path}: no space left ({error}). Nothing was written. Free some space on that disk.")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return _read_only(path, error)
    if code == sqlite3.SQLITE_CANTOPEN:
        return _cannot_open(path, error)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or str(error).startswith("no such "):
        return StoreUnusable(
            f"{path}: not a database of Mainspring, or a damaged one ({error}). "
            "Restore it from a backup, or name another file."
        )
    if code == sqlite3.SQLITE_IOERR:
        return StoreUnavailable(f"{path}: the disk failed ({error}). Look at the system's log, then try again.")
    return StoreError(f"{path}: SQLite refused a statement ({error}).")


def _read_only(path: str, error: sqlite3.Error) -> StoreError:
    return StoreReadOnly(
        f"{path}: cannot be written ({error}). "
        "Expected write permission on the file and its folder, for the write-ahead log lies beside the file."
    )


def _cannot_open(path: str, error: sqlite3.Error) -> StoreError:
    folder = os.path.dirname(path)
    try:
        os.stat(folder)
    except FileNotFoundError:
        return StoreUnusable(f"{path}: the folder {folder} does not exist. Create it, or correct the URL.")
    except OSError:
        pass  # Hidden from us: that is told below.
    if os.path.isdir(path):
        return StoreUnusable(f"{path}: is a folder. Expected a file; correct the URL.")
    return _read_only(path, error)
