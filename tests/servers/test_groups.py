"""Cluster and sentinels: real ones, which serve, and replace what dies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.exceptions import MovedError

from tests.servers.binaries import REDIS_KINDS, needs
from tests.servers.cluster import SLOTS, RedisCluster, info, slot_of
from tests.servers.redis import RedisServer
from tests.servers.sentinel import RedisSentinel
from tests.servers.waiting import until

pytestmark = [pytest.mark.slow, *needs("valkey8")]

KEY = "key:{a}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster.started() as cluster:
        yield cluster


def test_a_cluster_serves_every_slot_on_three_nodes(cluster: RedisCluster) -> None:
    for node in cluster.masters:
        found = info(node)
        assert found["cluster_state"] == "ok"
        assert (found["cluster_slots_ok"], found["cluster_size"]) == (str(SLOTS), "3")
    assert len({cluster.owner(key).port for key in "abc"}) == 3


def test_the_node_of_a_key_is_the_only_one_that_takes_it(cluster: RedisCluster) -> None:
    assert cluster.command(KEY, "SET", KEY, "1")
    other = next(node for node in cluster.masters if node is not cluster.owner(KEY))
    with pytest.raises(MovedError):
        other.command("GET", KEY)


@pytest.mark.parametrize("key", ["", "a", "{a}", "x{a}y", "{}a", "{a", "a}", "a{b}{c}", "{jobs}:due"])
@pytest.mark.slow
def test_the_slot_of_a_key_is_the_servers(cluster: RedisCluster, key: str) -> None:
    assert slot_of(key) == cluster.masters[0].command("CLUSTER", "KEYSLOT", key)


def test_a_slot_moves_with_its_keys(cluster: RedisCluster) -> None:
    cluster.command("{m}", "SET", "{m}", "1")
    source = cluster.owner("{m}")
    target = next(node for node in cluster.masters if node is not source)
    cluster.move("{m}", target)
    assert cluster.owner("{m}") is target
    assert target.command("GET", "{m}") == "1"


@pytest.mark.slow
def test_a_replica_takes_over_for_a_dead_node() -> None:
    with RedisCluster.started(replicas=True, timeout=1_000) as cluster:
        cluster.command(KEY, "SET", KEY, "1")
        lost = cluster.owner(KEY)
        until(lambda: _in_step(lost), "the replica to have what its master has")
        successor = cluster.fail_over(KEY)
        assert successor in cluster.replicas
        assert successor.command("GET", KEY) == "1"
        lost.start()
        cluster.wait_ready()
        assert lost.info("replication")["role"] == "slave"


EVERY_KIND = [pytest.param(kind, marks=needs(kind)) for kind in REDIS_KINDS]


@pytest.mark.slow
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_the_replica_takes_over_without_what_it_was_not_told(kind: str) -> None:
    with RedisSentinel.started(kind) as group:
        group.master.command("SET", "told", "1")
        group.master.command("WAIT", 1, 5_000)
        group.isolate()
        group.master.command("SET", "lost", "1")
        old = group.master
        assert group.fail_over() is not old
        assert group.master.command("MGET", "told", "lost") == ["1", None]
        assert all(sentinel.master_port() == group.master.port for sentinel in group.sentinels)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param("redis7", marks=needs("redis7"))])
def test_a_frozen_master_comes_back_as_a_replica(kind: str) -> None:
    with RedisSentinel.started(kind) as group:
        group.fail_over(freeze=True)
        group.replica.thaw()
        until(lambda: _role(group.replica) == "slave", "the sentinels to tell it")


def _in_step(master: RedisServer) -> bool:
    told = master.info("replication")
    return bool(told["connected_slaves"]) and told["slave0"]["offset"] == told["master_repl_offset"]


def _role(server: RedisServer) -> str:
    try:
        return str(server.info("replication")["role"])
    except redis.ConnectionError:  # a change of its role ends the connections of its clients
        return ""
