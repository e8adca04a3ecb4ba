"""Where the jobs of a kill test lie: each kind of store, fresh for one test, and looked over at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import namespaces
from tests.servers.binaries import needs
from tests.servers.mongo import MongoServer
from tests.servers.redis import RedisServer
from tests.servers.shared import shared_cluster
from tests.stores.redis.audit import audit


@dataclass(frozen=True)
class Place:
    """A store for one test."""

    url: str
    check: Callable[[], object] = lambda: None
    """Fails where what is stored does not fit together; for when nobody works."""
    server: RedisServer | None = None


@contextmanager
def in_file(folder: Path) -> Iterator[Place]:
    yield Place(f"sqlite:///{folder / 'chaos.db'}")


def on_server(kind: str) -> Callable[[Path], AbstractContextManager[Place]]:
    @contextmanager
    def place(folder: Path) -> Iterator[Place]:
        with RedisServer.started(kind, appendonly="yes", appendfsync="everysec") as server:
            yield Place(server.url, lambda: audit(server.url), server)

    return place


@contextmanager
def on_mongo(folder: Path) -> Iterator[Place]:
    with MongoServer.started() as server:
        yield Place(server.url_of("chaos"))


@contextmanager
def in_cluster(folder: Path) -> Iterator[Place]:
    cluster, name = shared_cluster(), namespaces.name_for(folder)
    node = cluster.owner(f"{{{name}}}")
    yield Place(f"{cluster.url}?namespace={name}", lambda: audit(node.url, name))
    namespaces.drop(node.url, name)


PLACES: dict[str, tuple[Callable[[Path], AbstractContextManager[Place]], str | None]] = {
    "sqlite": (in_file, None),
    "redis7": (on_server("redis7"), "redis7"),
    "valkey8": (on_server("valkey8"), "valkey8"),
    "cluster": (in_cluster, "valkey8"),
    "mongo": (on_mongo, "mongo6"),
}
"""By name: how to make it, and the kind of server that it needs."""


def places(*names: str) -> pytest.MarkDecorator:
    """The mark of a test that runs in each of these; a test without it runs in a file."""
    params = [pytest.param(name, marks=needs(kind) if (kind := PLACES[name][1]) else []) for name in names]
    return pytest.mark.parametrize("place", params, indirect=True)


EVERYWHERE = places(*PLACES)
IN_FILE_AND_SERVER = places("sqlite", "redis7")
ON_SERVERS = places("redis7", "cluster", "mongo")
