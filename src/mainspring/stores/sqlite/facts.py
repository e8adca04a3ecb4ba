"""What is known of a database file and of the disk it lies on. Facts only: nothing is judged."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from mainspring.stores.base import Fact
from mainspring.stores.sqlite.database import Database
from mainspring.stores.sqlite.schema import META
from mainspring.stores.sqlite.settings import Settings

SYNCHRONOUS = ("off", "normal", "full", "extra")
MOUNTS = Path("/proc/self/mountinfo")


async def gather(database: Database, settings: Settings) -> list[Fact]:
    """All facts."""
    facts = [Fact("store", "sqlite"), Fact("library", sqlite3.sqlite_version), *await database.read(_pragmas)]
    if settings.path is None:
        return [*facts, Fact("path", ":memory:")]
    return facts + _file(settings.path) + [Fact("watched", int(database.watched))]


def _pragmas(connection: sqlite3.Connection) -> list[Fact]:
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    (schema,) = connection.execute(f"SELECT value FROM {META} WHERE name = 'schema'").fetchone()
    return [Fact("journal-mode", mode), Fact("synchronous", SYNCHRONOUS[synchronous]), Fact("schema", schema)]


def _file(path: str) -> list[Fact]:
    folder = os.path.dirname(path)
    writable = os.access(path, os.W_OK) and os.access(folder, os.W_OK)
    return [
        Fact("path", path),
        Fact("writable", int(writable)),
        _size("size", path),
        _size("log-size", f"{path}-wal"),
        Fact("free", shutil.disk_usage(folder).free),
        _file_system(path),
    ]


def _size(name: str, path: str) -> Fact:
    try:
        return Fact(name, os.stat(path).st_size)
    except OSError as error:
        return Fact(name, None, str(error))


def _file_system(path: str) -> Fact:
    """The type of the file system, as Linux tells it."""
    try:
        mounted = dict(_mount(line) for line in MOUNTS.read_text().splitlines())
    except OSError as error:
        return Fact("file-system", None, str(error))
    real = Path(os.path.realpath(path))
    found = next((mounted[str(folder)] for folder in real.parents if str(folder) in mounted), None)
    return Fact("file-system", found, "" if found else f"{MOUNTS} does not tell")


def _mount(line: str) -> tuple[str, str]:
    """Where something is mounted, and its type. Later lines lie over earlier ones."""
    place, _, rest = line.partition(" - ")
    return place.split(" ")[4].encode().decode("unicode_escape"), rest.split(" ")[0]
