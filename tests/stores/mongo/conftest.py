"""For the tests of the MongoDB store: servers to be hurt, and an ear for what the event loop would only log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import databases
from tests.servers.mongo import MongoServer
from tests.servers.shared import SharedMongo, needs_mongo
from tests.stores.unsaid import nothing_is_left_unsaid, what_is_there_is_not_searched

__all__ = ["hurt_server", "hurt_url", "nothing_is_left_unsaid", "what_is_there_is_not_searched"]


@pytest.fixture(scope="session")
def hurt_server() -> Iterator[MongoServer]:
    """A replica set of one member that tests may let fail, freeze and configure; they leave it as it was."""
    with MongoServer.started() as server:
        yield server


@pytest.fixture
def hurt_url(hurt_server: MongoServer, tmp_path: Path) -> Iterator[str]:
    """The URL of a database of the test's own on it."""
    name = databases.name_for(tmp_path)
    yield hurt_server.url_of(name)
    hurt_server.client.drop_database(name)


@pytest.fixture
def url(mongo_server: SharedMongo, mongo_database: str) -> str:
    """The URL of a database of the test's own on a server that tests leave alone."""
    return mongo_server.url_of(mongo_database)


@pytest.fixture
def database(mongo_server: SharedMongo, mongo_database: str) -> Any:
    """The same database, as PyMongo has it."""
    return mongo_server.client[mongo_database]


HERE = Path(__file__).parent
SLOW = {"test_failover", "test_faults", "test_blocked", "test_caps", "test_mark_completed", "test_within",
        "test_plans", "test_payload"}  # fmt: skip
"""Modules that start servers of their own or wait for seconds."""
ON_SERVERS = SLOW | {"test_within"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent != HERE:
            continue
        if item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)
        if item.path.stem in ON_SERVERS:
            for mark in needs_mongo():
                item.add_marker(mark)
