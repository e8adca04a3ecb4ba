"""A fresh store on a file, and what tests of SQLite need beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mainspring.stores.sqlite import SQLiteStore
from mainspring.stores.sqlite.connect import open_in_memory
from tests.conformance.bench import Bench
from tests.factory import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
async def store(path: Path, clock: FakeClock) -> AsyncGenerator[SQLiteStore, None]:
    store = SQLiteStore(f"sqlite:///{path}?busy_timeout=200ms", time=clock)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def bench(store: SQLiteStore, clock: FakeClock) -> Bench:
    return Bench(store, clock)


@pytest.fixture
def other(path: Path, store: SQLiteStore) -> Iterator[sqlite3.Connection]:
    """Somebody else's connection to the file, which commits by itself."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        yield connection


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """A database without a store around it."""
    with closing(open_in_memory()) as connection:
        yield connection
