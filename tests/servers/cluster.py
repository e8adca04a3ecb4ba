"""A real cluster: three masters, and a replica for each where a test needs a failover."""

from __future__ import annotations

import binascii
from types import TracebackType
from typing import Any, Self

from tests.servers.process import free_port
from tests.servers.redis import RedisServer
from tests.servers.waiting import PATIENCE, until

SLOTS = 16_384
MASTERS = 3
Range = tuple[int, int]


def slot_of(key: str) -> int:
    """The slot of a key: of its hash tag, if it has one."""
    _, opened, rest = key.partition("{")
    tag, closed, _ = rest.partition("}")
    hashed = tag if opened and closed and tag else key
    return binascii.crc_hqx(hashed.encode(), 0) % SLOTS


class RedisCluster:
    """Three masters with a third of the slots each; ready after about two seconds.

    `timeout` is the cluster-node-timeout in ms: a dead master is replaced by its replica some two of them later.
    """

    def __init__(self, kind: str = "valkey8", *, replicas: bool = False, timeout: int = 2_000, **options: str) -> None:
        self.masters: list[RedisServer] = []
        self.replicas: list[RedisServer] = []
        self._replicated = replicas
        self._kind = kind
        self._options: dict[str, Any] = options | {"cluster_enabled": "yes", "cluster_node_timeout": str(timeout)}
        self._options |= {"cluster_replica_validity_factor": "0", "repl_diskless_sync_delay": "0"}

    @classmethod
    def started(cls, kind: str = "valkey8", *, replicas: bool = False, timeout: int = 2_000, **options: str) -> Self:
        """A cluster in which every slot is served, and every replica is in step."""
        cluster = cls(kind, replicas=replicas, timeout=timeout, **options)
        try:
            return cluster._start()
        except BaseException:
            cluster.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def nodes(self) -> list[RedisServer]:
        return self.masters + self.replicas

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.masters)

    def owner(self, key: str) -> RedisServer:
        """The node that serves the slot of this key now, as a living node sees it."""
        slot = slot_of(key)
        asked = next(node for node in self.nodes if node.running)
        for first, last, (_, port, *_), *_ in asked.command("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody serves slot {slot}")

    def command(self, key: str, *words: Any) -> Any:
        """Send one command to the node of that key."""
        return self.owner(key).command(*words)

    def wait_ready(self, seconds: float = PATIENCE) -> None:
        """Until every living node knows all others, and that all slots are served."""
        living = [node for node in self.nodes if node.running]
        until(lambda: all(map(self._ready, living)), "every node to know the whole cluster", seconds)

    def fail_over(self, key: str) -> RedisServer:
        """Kill the master of that key's slot; answers the replica that has taken its place."""
        lost = self.owner(key)
        lost.kill()
        until(lambda: self._taken_over(key, lost), "a replica to take over")
        return self.owner(key)

    def move(self, key: str, to: RedisServer) -> None:
        """Give the slot of that key, with its keys, to another master: clients are redirected with ASK, then MOVED."""
        slot, source = slot_of(key), self.owner(key)
        to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", id_of(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", id_of(to))
        while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.command("MIGRATE", "127.0.0.1", to.port, "", 0, 5_000, "KEYS", *keys)
        for node in (to, source, *(other for other in self.masters if other not in (to, source))):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", id_of(to))

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    # -- making it -----------------------------------------------------------------------------------------------------

    def _start(self) -> Self:
        for number in range(MASTERS):
            self.masters.append(self._node())
            self.masters[-1].command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            self.masters[-1].command("CLUSTER", "ADDSLOTSRANGE", *share(number))
        if self._replicated:
            self.replicas = [self._node() for _ in self.masters]
        for node in self.nodes[1:]:
            self._meet(self.masters[0], node)
        self.wait_ready()
        for master, replica in zip(self.masters, self.replicas, strict=False):
            replica.command("CLUSTER", "REPLICATE", id_of(master))
        until(lambda: all(map(in_step, self.replicas)), "the replicas to be in step")
        return self

    def _node(self) -> RedisServer:
        return RedisServer.started(self._kind, **self._options, cluster_port=str(free_port()))

    def _meet(self, one: RedisServer, other: RedisServer) -> None:
        bus = int(other.command("CONFIG", "GET", "cluster-port")[1])
        one.command("CLUSTER", "MEET", "127.0.0.1", other.port, bus)

    def _ready(self, node: RedisServer) -> bool:
        found = info(node)
        known = int(found["cluster_known_nodes"])
        return found["cluster_state"] == "ok" and known == len(self.nodes)

    def _taken_over(self, key: str, lost: RedisServer) -> bool:
        living = [node for node in self.nodes if node.running]
        return self.owner(key) is not lost and all(info(node)["cluster_state"] == "ok" for node in living)


def share(number: int) -> Range:
    """The first and the last slot of a master."""
    return SLOTS * number // MASTERS, SLOTS * (number + 1) // MASTERS - 1


def id_of(node: RedisServer) -> str:
    found: str = node.command("CLUSTER", "MYID")
    return found


def info(node: RedisServer) -> dict[str, str]:
    lines: str = node.command("CLUSTER", "INFO")
    return dict(line.split(":", 1) for line in lines.splitlines())


def in_step(replica: RedisServer) -> bool:
    return replica.info("replication").get("master_link_status") == "up"
