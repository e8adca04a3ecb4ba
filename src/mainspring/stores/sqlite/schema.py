"""The tables, and how a database file comes to have them.

The version of the schema stands in a table of ours, for the numbers in the file's head (`user_version`) are the
application's where it keeps its own tables in the same file. For the same reason all names carry a prefix. A change of
the tables is a new entry of `MIGRATIONS`; the entries before it never change.

Every index costs a write per transition, so each is partial and serves a named query: a row lies in exactly one of
waiting, running and resting. With all rows in full indexes an add was 1.6 times as slow.
"""

from __future__ import annotations

import sqlite3

from mainspring.errors import StoreUnusable
from mainspring.stores.sqlite.transaction import transaction

APPLICATION = 0x4D535052
"""MSPR. Marks a file that we made for ourselves, so that `file` and its like can tell what it is."""
OLDEST_SQLITE = (3, 35, 0)
"""`INSERT ... RETURNING` and `UPDATE ... FROM` are not in older ones."""

META = "mainspring_meta"

_FIRST = (
    # The version of the schema, in the row of that name. Its presence says that the other tables are ours.
    f"CREATE TABLE {META} (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    # seq grows with each insert: the order of creation, and the cursor of `find`.
    """
    CREATE TABLE mainspring_jobs (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        task TEXT NOT NULL,
        queue TEXT NOT NULL,
        state TEXT NOT NULL,
        priority INTEGER NOT NULL,
        due_at INTEGER NOT NULL,
        version INTEGER NOT NULL,
        token TEXT NOT NULL,
        claims INTEGER NOT NULL,
        settled INTEGER NOT NULL,
        worker TEXT NOT NULL,
        started_at INTEGER,
        last_worker TEXT NOT NULL,
        last_started_at INTEGER,
        expires_at INTEGER,
        origin TEXT NOT NULL,
        keyed INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        progress TEXT,
        body TEXT NOT NULL
    )""",
    # claim: lanes of a queue by priority, and the due jobs of a lane in order.
    """
    CREATE INDEX mainspring_waiting ON mainspring_jobs (queue, priority, task, due_at, id)
    WHERE state = 'waiting'""",
    # claim: lapsed leases, live jobs per task and per queue; find: by worker. Never larger than what runs.
    """
    CREATE INDEX mainspring_running ON mainspring_jobs (task, queue, due_at)
    WHERE state = 'running'""",
    # find: the dead, the failed, the paused, the completed; within a state by seq.
    """
    CREATE INDEX mainspring_resting ON mainspring_jobs (state)
    WHERE state <> 'waiting' AND state <> 'running'""",
    # purge. No job that is alive has this time.
    "CREATE INDEX mainspring_expiring ON mainspring_jobs (expires_at) WHERE expires_at IS NOT NULL",
    # Apart from the jobs, so that a transition never rewrites 256 KB of input.
    "CREATE TABLE mainspring_payloads (seq INTEGER PRIMARY KEY, input TEXT, result TEXT)",
    """
    CREATE TABLE mainspring_counts (
        queue TEXT NOT NULL, task TEXT NOT NULL, origin TEXT NOT NULL, keyed INTEGER NOT NULL, state TEXT NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (queue, task, origin, keyed, state)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE mainspring_logs (
        job INTEGER NOT NULL, seq INTEGER NOT NULL,
        claim INTEGER NOT NULL, at INTEGER NOT NULL, level TEXT NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (job, seq)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE mainspring_records (
        kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, written_at INTEGER NOT NULL,
        due_at INTEGER, expires_at INTEGER, value TEXT NOT NULL,
        PRIMARY KEY (kind, name)
    ) WITHOUT ROWID""",
    "CREATE INDEX mainspring_records_due ON mainspring_records (kind, due_at, name) WHERE due_at IS NOT NULL",
    "CREATE INDEX mainspring_records_expiring ON mainspring_records (expires_at) WHERE expires_at IS NOT NULL",
    # n changes with each wake of the name; waiters compare.
    "CREATE TABLE mainspring_hints (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID",
    # AUTOINCREMENT: a number is never used twice, though trimming may empty the table.
    """
    CREATE TABLE mainspring_events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, written_at INTEGER NOT NULL, event TEXT NOT NULL
    )""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST,)
"""The statements that lead to version 1, 2, ..."""
VERSION = len(MIGRATIONS)
NAMES = {words.split()[2] for statements in MIGRATIONS for words in statements if "CREATE " in words}
"""Of all tables and indexes."""


def migrate(connection: sqlite3.Connection, shared: bool = False) -> None:
    """Bring the database to `VERSION`. Safe when several processes do it at once. Raises as `inspect` does."""
    if inspect(connection, shared) == VERSION:
        return
    with transaction(connection, "BEGIN IMMEDIATE"):
        # Read again under the lock: another process may have been first.
        version = _version(connection, shared)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"INSERT OR REPLACE INTO {META} (name, value) VALUES ('schema', ?)", (VERSION,))
        if version == 0 and not shared:
            connection.execute(f"PRAGMA application_id = {APPLICATION}")


def inspect(connection: sqlite3.Connection, shared: bool) -> int:
    """The version of the schema, 0 where there is none yet. Changes nothing.

    Raises `StoreUnusable` for a database of something else (unless `shared`), from the future, or without its tables.
    """
    _check_library()
    with transaction(connection, "BEGIN"):
        return _version(connection, shared)


def _version(connection: sqlite3.Connection, shared: bool) -> int:
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if names.isdisjoint(NAMES):
        _check_free(connection, shared)
        return 0
    version = _stored_version(connection) if META in names else None
    if version is None:
        raise _damaged(connection, [META])
    if version > VERSION:
        raise StoreUnusable(
            f"{_file(connection)}: has schema {version}, and this version of Mainspring knows up to {VERSION}. "
            "Upgrade Mainspring, or name another file."
        )
    if version == VERSION and (missing := sorted(NAMES - names)):
        raise _damaged(connection, missing)
    return version


def _stored_version(connection: sqlite3.Connection) -> int | None:
    row = connection.execute(f"SELECT value FROM {META} WHERE name = 'schema'").fetchone()
    return None if row is None else int(row[0])


def _check_free(connection: sqlite3.Connection, shared: bool) -> None:
    """Raise `StoreUnusable` where a file without our tables is not to get them."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application == APPLICATION:
        raise _damaged(connection, ["all tables"])
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' LIMIT 5")]
    if shared or not (application or version or tables):
        return
    what = f"tables {', '.join(tables)}" if tables else f"application id {application}, user version {version}"
    raise StoreUnusable(
        f"{_file(connection)}: belongs to something else ({what}). "
        "Expected an empty or new file, or one with Mainspring's tables. If it is your application's own, and is to "
        "hold them beside its tables, say so in the URL with ?shared=true; otherwise name another file."
    )


def _damaged(connection: sqlite3.Connection, missing: list[str]) -> StoreUnusable:
    return StoreUnusable(
        f"{_file(connection)}: is damaged, {', '.join(missing)} missing. "
        "Restore it from a backup, or name another file."
    )


def _check_library() -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreUnusable(
            f"this Python has SQLite {sqlite3.sqlite_version}. Expected {'.'.join(map(str, OLDEST_SQLITE))} or newer; "
            "use a newer build of Python."
        )


def _file(connection: sqlite3.Connection) -> str:
    return connection.execute("PRAGMA database_list").fetchone()[2] or ":memory:"
