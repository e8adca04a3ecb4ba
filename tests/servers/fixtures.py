"""The servers as fixtures, shared by the tests of a process: `redis_server` is every kind of Redis in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import databases
from tests.servers.binaries import REDIS_KINDS, needs
from tests.servers.shared import Shared, SharedMongo, needs_mongo, shared, shared_mongo

EVERY_KIND = [pytest.param(kind, marks=needs(kind)) for kind in REDIS_KINDS]


@pytest.fixture(scope="session", params=EVERY_KIND)
def redis_server(request: pytest.FixtureRequest) -> Shared:
    """A shared server of each kind; `@pytest.mark.parametrize("redis_server", ["redis7"], indirect=True)` picks."""
    return shared(request.param)


@pytest.fixture(scope="session", params=[pytest.param("mongo6", marks=needs_mongo())])
def mongo_server() -> SharedMongo:
    """The shared MongoDB; a test takes a database of its own on it, `databases.name_for(tmp_path)`."""
    return shared_mongo()


@pytest.fixture
def mongo_database(mongo_server: SharedMongo, tmp_path: Path) -> Iterator[str]:
    """The name of a database for one test, removed after it."""
    name = databases.name_for(tmp_path)
    yield name
    databases.drop(mongo_server.url, name)
