"""The stores that the suite judges. A further store joins by adding a `Subject` to `SUBJECTS`, and that is all.

What a store can do beyond the contract is said here, so that tests ask for it instead of skipping.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mainspring.stores import open_store
from mainspring.stores.base import Store
from tests.conformance.model import ModelStore
from tests.servers import databases, namespaces
from tests.servers.binaries import needs
from tests.servers.mongo import lasting_client
from tests.servers.shared import needs_mongo, shared, shared_cluster, shared_mongo
from tests.stores.redis.audit import audit

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
    drop: Callable[[Path], None] = lambda folder: None
    """Removes what the store of that folder has left outside of the folder."""
    audit: Callable[[Path], object] = lambda folder: None
    """Fails where what is stored does not fit together."""
    marks: list[pytest.MarkDecorator] = field(default_factory=list)
    """What its tests need: a server, for example."""


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


# -- servers: a namespace for each folder ------------------------------------------------------------------------------


def _on_server(name: str, kind: str) -> Subject:
    def make(folder: Path, clock: Clock) -> Store:
        return open_store(f"{shared(kind).url}?namespace={namespaces.name_for(folder)}", time=clock)

    def snapshot(store: Store, folder: Path) -> Callable[[], None]:
        return namespaces.copy(shared(kind).url, namespaces.name_for(folder))

    def drop(folder: Path) -> None:
        namespaces.drop(shared(kind).url, namespaces.name_for(folder))

    def audited(folder: Path) -> object:
        return audit(shared(kind).url, namespaces.name_for(folder))

    return Subject(name, make, snapshot, drop=drop, audit=audited, marks=needs(kind))


def _in_cluster() -> Subject:
    def make(folder: Path, clock: Clock) -> Store:
        return open_store(f"{shared_cluster().url}?namespace={namespaces.name_for(folder)}", time=clock)

    def snapshot(store: Store, folder: Path) -> Callable[[], None]:
        return namespaces.copy(node(folder), namespaces.name_for(folder))

    def drop(folder: Path) -> None:
        namespaces.drop(node(folder), namespaces.name_for(folder))

    def audited(folder: Path) -> object:
        return audit(node(folder), namespaces.name_for(folder))

    def node(folder: Path) -> str:
        return shared_cluster().owner(f"{{{namespaces.name_for(folder)}}}").url

    return Subject("cluster", make, snapshot, drop=drop, audit=audited, marks=needs("valkey8"))


# -- MongoDB: a database for each folder -------------------------------------------------------------------------------


def _mongo_store(folder: Path, clock: Clock) -> Store:
    return open_store(shared_mongo().url_of(databases.name_for(folder)), time=clock)


def _snapshot_database(store: Store, folder: Path) -> Callable[[], None]:
    return databases.copy(shared_mongo().url, databases.name_for(folder))


def _drop_database(folder: Path) -> None:
    databases.drop(shared_mongo().url, databases.name_for(folder))


@contextmanager
def _session(folder: Path) -> Iterator[Any]:
    with lasting_client(shared_mongo().url).start_session() as session, session.start_transaction():
        yield session


MONGO = Subject(
    "mongo", _mongo_store, snapshot=_snapshot_database, transaction=_session, drop=_drop_database, marks=needs_mongo()
)

SERVERS = REDIS7, VALKEY8, REDIS62 = tuple(_on_server(kind, kind) for kind in ("redis7", "valkey8", "redis62"))
CLUSTER = _in_cluster()
SUBJECTS = (MODEL, MEMORY, FILE, *SERVERS, CLUSTER, MONGO)
SLOW = (REDIS7, REDIS62, CLUSTER, MONGO)
"""Left to the slow tests: 11 seconds each on two cores, for what Valkey has mostly shown; MongoDB 100."""


def _marks(subject: Subject) -> list[pytest.MarkDecorator]:
    return [*subject.marks, pytest.mark.slow] if subject in SLOW else list(subject.marks)


EVERY = [pytest.param(subject, id=subject.name, marks=_marks(subject)) for subject in SUBJECTS]
on_real_stores = pytest.mark.parametrize(
    "subject", [each for each in EVERY if each.values[0] is not MODEL], indirect=True
)
"""For tests of load, which would only show that dicts are slow."""
having_transactions = pytest.mark.parametrize(
    "subject", [p for s, p in zip(SUBJECTS, EVERY, strict=True) if s.transaction]
)
without_transactions = pytest.mark.parametrize(
    "subject", [p for s, p in zip(SUBJECTS, EVERY, strict=True) if not s.transaction]
)
