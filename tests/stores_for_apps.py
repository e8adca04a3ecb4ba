"""The stores that tests of whole apps run on: SQLite for the quick ones; Redis, a cluster and MongoDB for the slow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import databases, namespaces
from tests.servers.binaries import needs
from tests.servers.shared import needs_mongo, shared, shared_cluster, shared_mongo

SLOW_STORES = [
    pytest.param("redis", marks=[*needs("redis7"), pytest.mark.slow]),
    pytest.param("cluster", marks=[*needs("valkey8"), pytest.mark.slow]),
    pytest.param("mongo", marks=needs_mongo()),
]


@contextmanager
def store_url(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty store for one test."""
    if kind == "memory":
        yield "sqlite://:memory:"
    elif kind == "file":
        yield f"sqlite:///{folder}/jobs.db"
    elif kind == "mongo":
        database = databases.name_for(folder)
        yield shared_mongo().url_of(database)
        databases.drop(shared_mongo().url, database)
    else:
        namespace = namespaces.name_for(folder)
        server = shared("redis7") if kind == "redis" else shared_cluster()
        yield f"{server.url}?namespace={namespace}"
        owner = server.url if kind == "redis" else shared_cluster().owner(f"{{{namespace}}}").url
        namespaces.drop(owner, namespace)
