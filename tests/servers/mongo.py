"""A real mongod under test, with a synchronous client of its own: a replica set of one member, or a standalone.

Its data lies in memory where the machine has a place for that (/dev/shm): it outlives a SIGKILL of the server there as
well as on a disk, which is all that tests ask for, and a majority write need not wait for a disk. Measured one after
another: 1.16 ms in memory, 1.33 ms on a quick disk, whose fsync takes 0.16 ms; elsewhere that takes 5 to 10.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.servers import memory
from tests.servers.process import ServerProcess
from tests.servers.waiting import until

Client = MongoClient[dict[str, Any]]

JOURNAL = "log=(file_max=16MB)"
"""Three files are laid out at the start: 48 MB in memory instead of 300 MB."""
OPLOG = 512
"""MB. By default it may fill a twentieth of the disk, which is memory here."""
PARAMETERS = {
    "diagnosticDataCollectionEnabled": False,  # it writes a file every second, whatever the tests do
    "enableTestCommands": True,  # for `fail`; the time of a write is the same
    "shutdownTimeoutMillisForSignaledShutdown": 500,  # how long `stop` waits for those who use it; else 15 s
}
SETTINGS = {"electionTimeoutMillis": 500}


def client(url: str, **options: Any) -> Client:
    """A synchronous client that tries nothing twice. Its threads end half a second after it is closed."""
    own: dict[str, Any] = {"retryReads": False, "retryWrites": False, "w": "majority", "tz_aware": True}
    own |= {"serverSelectionTimeoutMS": 5_000, "socketTimeoutMS": 10_000, "serverMonitoringMode": "poll"}
    return MongoClient(url, **own | options)


@cache
def lasting_client(url: str) -> Client:
    """One client of that server for the whole test process, which nobody closes before its end."""
    made = client(url)
    atexit.register(made.close)
    return made


def with_database(url: str, database: str) -> str:
    """The URL of a server with another database in it."""
    where, _, query = url.partition("?")
    scheme, _, rest = where.partition("://")
    hosts = rest.partition("/")[0]
    return f"{scheme}://{hosts}/{database}" + (f"?{query}" if query else "")


class MongoServer(ServerProcess):
    """One mongod, which answers nobody but this machine. `start` begins it again in the same folder, on the same port.

    A replica set of one member has sessions, transactions and change streams; a standalone has none of them. Any
    `setParameter` is an option: `MongoServer.started(transactionLifetimeLimitSeconds=2)`.
    A set has a name of its own, so that a client never takes a server for another one that had its port before.
    """

    def __init__(
        self,
        kind: str = "mongo6",
        *,
        replica_set: bool | str = True,
        cache: float = 0.25,
        **parameters: Any,
    ) -> None:
        """`replica_set` may be the name of a set of several members; `cache` is in GB, at least 0.25."""
        super().__init__(kind)
        self.set_name = replica_set if isinstance(replica_set, str) else f"set-{self.port}" if replica_set else ""
        self._formed = False
        self._clients: dict[str, Client] = {}
        self._write(cache, PARAMETERS | parameters)

    @classmethod
    def started(
        cls, kind: str = "mongo6", *, replica_set: bool | str = True, cache: float = 0.25, **parameters: Any
    ) -> Self:
        """A server that takes writes already."""
        server = cls(kind, replica_set=replica_set, cache=cache, **parameters)
        try:
            return server.start()
        except BaseException:
            server.close()
            raise

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"mongodb://{self.address}/" + (f"?replicaSet={self.set_name}" if self.set_name else "")

    def url_of(self, database: str) -> str:
        """The URL of a store in that database."""
        return with_database(self.url, database)

    @property
    def client(self) -> Client:
        """Speaks to this very server, whatever its role is. A new one after each end of the server."""
        return self._client_for("tests")

    def command(self, name: str, value: Any = 1, database: str = "admin", **arguments: Any) -> dict[str, Any]:
        """Send one command, and answer its reply."""
        # Not by `client`: a connection from before the server was in its set takes it to have no sessions, for ever.
        return dict(self._client_for("commands")[database].command(name, value, **arguments))

    def start(self) -> Self:
        """Start it, and wait until it takes writes: about a second for a new one, of which mongod's storage has 0.7."""
        self.answering()
        if self.set_name and not self._formed:
            members = [{"_id": 0, "host": self.address}]
            self.command("replSetInitiate", {"_id": self.set_name, "members": members, "settings": SETTINGS})
            self._formed = True
        until(self.is_primary, f"{self.kind} on port {self.port} to take writes")
        return self

    def answering(self) -> Self:
        """Start it, and wait until it answers, in whatever role: as a member that has not been given a set yet, too."""
        self.launch()
        self.wait_listening()
        return self

    def wait_listening(self) -> None:
        until(self._listens, f"an answer of {self.kind} on port {self.port}")

    def hello(self) -> dict[str, Any]:
        return self.command("hello")

    def is_primary(self) -> bool:
        """Whether it takes writes now. One that does not run, or is frozen, does not."""
        if not self.running or self.frozen:
            return False
        try:
            return bool(self.hello()["isWritablePrimary"])
        except PyMongoError:
            return False

    @contextlib.contextmanager
    def fail(self, *commands: str, times: int | str = "alwaysOn", **how: Any) -> Iterator[None]:
        """Within the block these commands fail: the next so many `times`, or each.

        How is said with the options of the fail point `failCommand`: `errorCode=`, `errorLabels=[...]`,
        `closeConnection=True`, `blockConnection=True` with `blockTimeMS=`: the command has not run;
        `writeConcernError={...}`: it has. `appName=` picks the clients of that name.
        """
        mode = {"times": times} if isinstance(times, int) else times
        self.command("configureFailPoint", "failCommand", mode=mode, data={"failCommands": [*commands], **how})
        try:
            yield
        finally:
            self.command("configureFailPoint", "failCommand", mode="off")

    def close(self) -> None:
        super().close()
        memory.release(self.folder)

    # -- the process ---------------------------------------------------------------------------------------------------

    def _make_folder(self) -> Path:
        return memory.new_folder(self.kind) or super()._make_folder()

    def _command_line(self) -> list[str]:
        return ["--config", str(self.configuration), *self.arguments]

    def _write(self, cache: float, parameters: dict[str, Any]) -> None:
        data = self.folder / "data"
        data.mkdir()
        options: dict[str, Any] = {
            "net": {"port": self.port, "bindIp": "127.0.0.1", "unixDomainSocket": {"enabled": False}},
            "storage": {
                "dbPath": str(data),
                "wiredTiger": {"engineConfig": {"cacheSizeGB": cache, "configString": JOURNAL}},
            },
            "systemLog": {"quiet": True},
            "setParameter": parameters,
        }
        if self.set_name:
            options["replication"] = {"replSetName": self.set_name, "oplogSizeMB": OPLOG}
        self.configuration.write_text(json.dumps(options, indent=2))  # its YAML takes JSON

    def _listens(self) -> bool:
        if not self.running:
            raise AssertionError(f"{self.kind} on port {self.port} has ended at its start:\n{self.log()[-2_000:]}")
        # Asked without a client, which would wait for half a second after the first refusal.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _end(self, number: int) -> None:
        while self._clients:
            self._clients.popitem()[1].close()
        super()._end(number)

    def _client_for(self, use: str) -> Client:
        if use not in self._clients:
            self._clients[use] = client(f"mongodb://{self.address}/?directConnection=true")
        return self._clients[use]
