"""The place of a run: one mongod, and what it counts. Stands, drivers, rounds and tables are those of `peers`."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any, NamedTuple, Self

from benchmarks.mongo.server import started
from benchmarks.peers.bench import Usage
from benchmarks.processes import cpu_seconds

DATABASE = "bench"
OWN = ("admin", "config", "local")
LOOK = 15.0
"""Seconds for which the server alone is looked at: the election timer and the monitors of clients come every 10."""


class Rates(NamedTuple):
    """What a server does in a second."""

    requests: float
    operations: float
    cpu: float
    """In percent of a core."""


class MongoBench:
    """Holds the server. Use it as a context manager."""

    def __init__(self, medium: str) -> None:
        self.server = started(medium)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()

    @property
    def version(self) -> str:
        return f"MongoDB {self.server.command('buildInfo')['version']}"

    def url(self, far: bool) -> str:
        assert not far, "there is no proxy before this server"
        return self.server.url_of(DATABASE)

    def flush(self) -> None:
        for name in self.server.client.list_database_names():
            if name not in OWN:
                self.server.client.drop_database(name)

    def usage(self) -> Usage:
        """As its own counters: an operation is an inserted document, a statement that updates or deletes (however many
        documents it changes), or any other command; a request is one message of a client."""
        status = self.server.command("serverStatus")
        counters: dict[str, Any] = status["opcounters"]
        operations = sum(value for name, value in counters.items() if isinstance(value, int))
        size = int(self.server.command("dbStats", database=DATABASE)["dataSize"])
        requests = int(status["network"]["numRequests"])
        return Usage(operations, requests, cpu_seconds([self.server.pid]), size)

    def rates(self, seconds: float) -> Rates:
        before, begun = self.usage(), time.monotonic()
        time.sleep(seconds)
        after, taken = self.usage(), time.monotonic() - begun
        return Rates(
            (after.requests - before.requests) / taken,
            (after.commands - before.commands) / taken,
            (after.cpu - before.cpu) / taken * 100,
        )

    @cached_property
    def alone(self) -> Rates:
        """What the server and this harness do while nobody else is there."""
        return self.rates(LOOK)
