"""A real master with a replica, and three sentinels that watch them."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from tests.servers.redis import RedisServer
from tests.servers.waiting import until

NAME = "mymaster"
SENTINELS = 3
QUORUM = 2


class Sentinel(RedisServer):
    """One sentinel. What it must watch is in its configuration file, which it rewrites itself."""

    def __init__(self, kind: str, watched: RedisServer) -> None:
        super().__init__(kind, "--sentinel")
        monitor = f"monitor {NAME} 127.0.0.1 {watched.port} {QUORUM}"
        rules = ("down-after-milliseconds {} 500", "failover-timeout {} 2000", "parallel-syncs {} 1")
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}"]
        lines += [f"sentinel {rule}" for rule in (monitor, *(rule.format(NAME) for rule in rules))]
        self.configuration.write_text("\n".join(lines) + "\n")

    def knows(self) -> bool:
        """Whether it has found the replica and the other sentinels, and all of them are well."""
        fields = self.command("SENTINEL", "MASTER", NAME)
        found = dict(zip(fields[::2], fields[1::2], strict=True))
        return (found["flags"], found["num-slaves"], found["num-other-sentinels"]) == ("master", "1", "2")

    def master_port(self) -> int:
        return int(self.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1])


class RedisSentinel:
    """`master` and `replica` under three sentinels; a dead master is replaced in about two seconds."""

    def __init__(self, kind: str = "redis7", **options: str) -> None:
        given: dict[str, Any] = {"repl_diskless_sync_delay": "0"} | options
        self.kind = kind
        self.master = RedisServer(kind, **given)
        self.replica = RedisServer(kind, **given, replicaof=f"127.0.0.1 {self.master.port}")
        self.sentinels: list[Sentinel] = []

    @classmethod
    def started(cls, kind: str = "redis7", **options: str) -> Self:
        """With a replica that is in step, and sentinels that know each other."""
        group = cls(kind, **options)
        try:
            return group._start()
        except BaseException:
            group.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{each.port}' for each in self.sentinels)}/{NAME}/0"

    def isolate(self) -> None:
        """From here on the replica gets nothing: what the master writes now is lost by the next `fail_over`.

        That must follow within seconds: after 8 s the sentinels would put the replica right again.
        """
        self.replica.command("REPLICAOF", "NO", "ONE")

    def fail_over(self, freeze: bool = False) -> RedisServer:
        """Kill the master, or freeze it, and wait for its successor, which is answered and is `master` from then on.

        A frozen one believes, when it thaws, that it is still the master: the sentinels tell it otherwise 10 s later.
        """
        self.master.freeze() if freeze else self.master.kill()
        self.master, self.replica = self.replica, self.master
        until(self._promoted, "the sentinels to promote the replica")
        return self.master

    def close(self) -> None:
        for server in (*self.sentinels, self.master, self.replica):
            server.close()

    def _start(self) -> Self:
        self.master.start()
        self.replica.start()
        until(lambda: self.replica.info("replication")["master_link_status"] == "up", "the replica to be in step")
        for _ in range(SENTINELS):
            self.sentinels.append(Sentinel(self.kind, self.master))
            self.sentinels[-1].start()
        until(lambda: all(each.knows() for each in self.sentinels), "the sentinels to know each other")
        return self

    def _promoted(self) -> bool:
        told = all(each.master_port() == self.master.port for each in self.sentinels)
        return told and self.master.info("replication")["role"] == "master"
