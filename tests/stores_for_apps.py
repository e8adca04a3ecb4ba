"""The stores that tests of whole apps run on. SQLite for the quick ones; Redis 7 and the cluster for the slow ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import namespaces
from tests.servers.binaries import needs
from tests.servers.shared import shared, shared_cluster

SLOW_STORES = [
    pytest.param("redis", marks=[*needs("redis7"), pytest.mark.slow]),
    pytest.param("cluster", marks=[*needs("valkey8"), pytest.mark.slow]),
]


@contextmanager
def store_url(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty store for one test."""
    if kind == "memory":
        yield "sqlite://:memory:"
    elif kind == "file":
        yield f"sqlite:///{folder}/jobs.db"
    else:
        namespace = namespaces.name_for(folder)
        server = shared("redis7") if kind == "redis" else shared_cluster()
        yield f"{server.url}?namespace={namespace}"
        owner = server.url if kind == "redis" else shared_cluster().owner(f"{{{namespace}}}").url
        namespaces.drop(owner, namespace)
