"""The stores that the suite judges. A further store joins by adding a `Subject` to `SUBJECTS`, and that is all.

What a store can do beyond the contract is said here, so that tests ask for it instead of skipping.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mainspring.stores import open_store
from mainspring.stores.base import Store
from tests.conformance.model import ModelStore

Clock = Callable[[], int]


@dataclass(frozen=True)
class Subject:
    """A store under test."""

    name: str
    make: Callable[[Path, Clock], Store]
    """A fresh store in a folder of its own, not opened yet."""
    snapshot: Callable[[Store, Path], Callable[[], None]] | None = None
    """Copies the data of that store, in that folder; what it answers puts the copy back, under the open store."""
    transaction: Callable[[Path], AbstractContextManager[Any]] | None = None
    """A caller's own open transaction, for `within`; it commits at the end of the block, an exception rolls it back."""


def _file(folder: Path) -> Path:
    return folder / "jobs.db"


def _snapshot_file(store: Store, folder: Path) -> Callable[[], None]:
    copy = sqlite3.connect(":memory:")
    with closing(sqlite3.connect(_file(folder))) as live:
        live.backup(copy)

    def restore() -> None:
        with closing(sqlite3.connect(_file(folder))) as live:
            copy.backup(live)
        copy.close()

    return restore


@contextmanager
def _transaction(folder: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(_file(folder), isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _snapshot_model(store: Store, folder: Path) -> Callable[[], None]:
    assert isinstance(store, ModelStore)
    rows = dict(store.data.rows)

    def restore() -> None:
        store.data.rows = rows

    return restore


MODEL = Subject("model", lambda folder, clock: ModelStore(clock), snapshot=_snapshot_model)
MEMORY = Subject("memory", lambda folder, clock: open_store("sqlite://:memory:", time=clock))
FILE = Subject(
    "sqlite",
    lambda folder, clock: open_store(f"sqlite:///{_file(folder)}", time=clock),
    snapshot=_snapshot_file,
    transaction=_transaction,
)
SUBJECTS = (MODEL, MEMORY, FILE)

on_real_stores = pytest.mark.parametrize("subject", [s for s in SUBJECTS if s is not MODEL], ids=lambda s: s.name)
"""For tests of load, which would only show that dicts are slow."""
