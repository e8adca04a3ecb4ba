"""One server of each kind for a whole test process: to start one for every test would take too long.

Tests keep apart by a namespace of their own, and never flush. Who hurts a server starts one for himself.
`MAINSPRING_TEST_REDIS_URL` names a server that runs already; it is taken for the kind that it is. So does
`MAINSPRING_TEST_MONGODB_URL`, for a replica set; a database in it is not used.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import pytest

from tests.servers.binaries import REDIS_KINDS, needs
from tests.servers.cluster import RedisCluster
from tests.servers.mongo import Client, MongoServer, lasting_client, with_database
from tests.servers.redis import RedisServer, client, execute

MONGO_URL = "MAINSPRING_TEST_MONGODB_URL"


class Shared(Protocol):
    """A server that others use too: it may be talked to, but neither ended nor flushed."""

    @property
    def url(self) -> str: ...

    def command(self, *words: Any) -> Any: ...


@dataclass(frozen=True)
class Outside:
    """A server that the tests did not start."""

    url: str

    def command(self, *words: Any) -> Any:
        with client(self.url, decode_responses=True) as connection:
            return execute(connection, *words)


class SharedMongo(Protocol):
    """A MongoDB that others use too: each has a database of its own, and hurts nothing else."""

    @property
    def url(self) -> str: ...

    def url_of(self, database: str) -> str: ...

    @property
    def client(self) -> Client: ...


@dataclass(frozen=True)
class OutsideMongo:
    """A replica set, or a sharded cluster, that the tests did not start."""

    url: str

    def url_of(self, database: str) -> str:
        return with_database(self.url, database)

    @property
    def client(self) -> Client:
        return lasting_client(self.url)


@cache
def shared(kind: str) -> Shared:
    """The server of this kind that the tests of this process share. Raises `MissingServer`."""
    url = os.environ.get("MAINSPRING_TEST_REDIS_URL")
    if url and kind == _kind_of(url):
        return Outside(url)
    return RedisServer.started(kind)


@cache
def shared_cluster() -> RedisCluster:
    """The cluster that the tests of this process share. Raises `MissingServer`."""
    return RedisCluster.started("valkey8")


@cache
def shared_mongo() -> SharedMongo:
    """The MongoDB that the tests of this process share: a set of one member. Raises `MissingServer`."""
    url = os.environ.get(MONGO_URL)
    return OutsideMongo(url) if url else MongoServer.started()


def needs_mongo() -> list[pytest.MarkDecorator]:
    """The marks of a test on the shared MongoDB. Slow: its server alone takes seconds to start."""
    return [pytest.mark.slow, *([] if os.environ.get(MONGO_URL) else needs("mongo6"))]


@cache
def _kind_of(url: str) -> str | None:
    """Which of the kinds answers there."""
    found = Outside(url).command("INFO", "server")
    product = "valkey" if found.get("server_name") == "valkey" else "redis"
    major, minor = str(found.get("valkey_version") or found["redis_version"]).split(".")[:2]
    fitting = (kind for kind in REDIS_KINDS.values() if kind.program.startswith(product))
    return next((kind.name for kind in fitting if kind.fits((int(major), int(minor)))), None)
