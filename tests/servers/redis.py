"""A real Redis or Valkey server under test, with a small synchronous client of its own."""

from __future__ import annotations

from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, ResponseError
from redis.retry import Retry

from tests.servers.certificates import Certificates
from tests.servers.process import ServerProcess, free_port
from tests.servers.waiting import until

MEMORY_ONLY = {"save": '""', "appendonly": "no"}


def client(url: str, **options: Any) -> redis.Redis:
    """A synchronous client that tries nothing twice."""
    return redis.Redis.from_url(url, **{"retry": Retry(NoBackoff(), 0), "protocol": 2, "socket_timeout": 10} | options)


def execute(connection: redis.Redis, *words: Any) -> Any:
    """One command through redis-py, which leaves this method without types."""
    return connection.execute_command(*words)  # type: ignore[no-untyped-call]


class RedisServer(ServerProcess):
    """A server of one kind. Options are those of the configuration file, with `_` for `-`: `maxmemory_policy="..."`.

    It keeps nothing on disk unless the options say so; `appendonly="yes", appendfsync="always"` loses nothing.
    `start` begins it again in the same folder, on the same port.
    """

    def __init__(self, kind: str = "redis7", *arguments: str, tls: bool = False, **options: str) -> None:
        super().__init__(kind, *arguments)
        self.certificates = Certificates(self.folder) if tls else None
        self.tls_port = free_port() if tls else 0
        self._client: redis.Redis | None = None
        self._write(MEMORY_ONLY | self._own_options() | {name.replace("_", "-"): v for name, v in options.items()})

    @classmethod
    def started(cls, kind: str = "redis7", *, tls: bool = False, **options: str) -> Self:
        """A server that answers already."""
        server = cls(kind, tls=tls, **options)
        try:
            return server.start()
        except BaseException:
            server.close()
            raise

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.folder / 'socket'}"

    @property
    def tls_url(self) -> str:
        """Needs `ssl_ca_certs` = `certificates.authority`."""
        assert self.certificates is not None, "started without tls=True"
        return f"rediss://127.0.0.1:{self.tls_port}/0"

    def start(self) -> Self:
        """Start it, and wait until it answers PING with PONG: a server that still loads its data does not."""
        self.launch()
        until(self._answers, f"an answer of {self.kind} on port {self.port}")
        return self

    def command(self, *words: Any) -> Any:
        """Send one command and answer its reply, text as `str`."""
        if self._client is None:
            self._client = client(self.url, decode_responses=True)
        return execute(self._client, *words)

    def info(self, section: str = "everything") -> dict[str, Any]:
        found: dict[str, Any] = self.command("INFO", section)
        return found

    def flush(self) -> None:
        self.command("FLUSHALL")

    def _end(self, number: int) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        super()._end(number)

    def _answers(self) -> bool:
        if not self.running:
            raise AssertionError(f"{self.kind} on port {self.port} has ended at its start:\n{self.log()[-2_000:]}")
        try:
            return bool(self.command("PING"))
        except (ConnectionError, ResponseError):
            return False

    def _own_options(self) -> dict[str, str]:
        own = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), "daemonize": "no"}
        own |= {"unixsocket": str(self.folder / "socket")}
        if self.kind != "redis62":
            own |= {"enable-debug-command": "yes"}
        if self.certificates is not None:
            own |= {"tls-port": str(self.tls_port), "tls-auth-clients": "no"} | self.certificates.options
        return own

    def _write(self, options: dict[str, str]) -> None:
        self.configuration.write_text("".join(f"{name} {value}\n" for name, value in options.items()))
