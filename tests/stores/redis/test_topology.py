"""Finding the master: sentinels, nodes of a cluster, dead and silent ones among them, failovers and moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from mainspring.errors import StoreUnavailable, StoreUnusable
from mainspring.stores.redis.scripts import Script
from mainspring.stores.redis.settings import Settings, parse
from mainspring.stores.redis.topology import Topology, slot
from tests.servers.binaries import needs
from tests.servers.cluster import RedisCluster, slot_of
from tests.servers.process import free_port
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer
from tests.servers.sentinel import NAME, RedisSentinel
from tests.servers.shared import Shared
from tests.servers.waiting import until
from tests.stores.redis.wire import PROMPT, SHORT, link_to, refused

KEY = "{mainspring}"
COUNT = Script("count", "return redis.call('INCR', KEYS[1] .. ':count')")
LONG = 120.0
"""Seconds within which a failover must be over."""


@pytest.fixture(scope="module", params=[pytest.param("valkey8", marks=needs("valkey8")), "redis7"])
def cluster(request: pytest.FixtureRequest) -> Iterator[RedisCluster]:
    with RedisCluster.started(request.param) as found:
        yield found


@pytest.fixture(scope="module")
def group() -> Iterator[RedisSentinel]:
    with RedisSentinel.started() as found:
        yield found


async def found_by(url: str) -> tuple[int, Topology]:
    topology = Topology(parse(url))
    async with asyncio.timeout(PROMPT):
        return (await topology.resolve()).port, topology


def dead() -> str:
    return f"127.0.0.1:{free_port()}"


def test_slots_are_those_of_the_servers() -> None:
    for name in ("mainspring", "a", "shop:eu", "é", ""):
        assert name == "" or slot(name) == slot_of(f"{{{name}}}:job:1")
    assert slot("123456789") == 0x31C3, "the check value of the specification"


async def test_a_server_by_itself_is_where_the_url_says() -> None:
    settings: Settings = parse("redis://h:1")
    assert await Topology(settings).resolve() == settings.seeds[0]


# -- cluster ---------------------------------------------------------------------------------------------------------


async def test_every_node_knows_the_master_of_the_slot(cluster: RedisCluster) -> None:
    owner = cluster.owner(KEY).port
    for node in cluster.masters:
        port, topology = await found_by(f"redis+cluster://127.0.0.1:{node.port}")
        assert port == owner
        assert {seed.port for seed in topology.seeds} == {each.port for each in cluster.nodes}


async def test_all_namespaces_are_found(cluster: RedisCluster) -> None:
    for namespace in ("a", "b", "c", "shop:eu"):
        async with link_to(f"{cluster.url}?namespace={namespace}") as link:
            assert await link.call(COUNT) == 1
            assert await link.command("GETDEL", f"{{{namespace}}}:count") == b"1"


async def test_a_dead_seed_and_a_silent_one_cost_little(cluster: RedisCluster) -> None:
    with Proxy(cluster.masters[0].port) as proxy:
        proxy.black_hole()
        node = cluster.masters[0].port
        url = f"redis+cluster://127.0.0.1:{proxy.port},{dead()},127.0.0.1:{node}?connect_timeout=60s&timeout=60s"
        async with asyncio.timeout(PROMPT):
            port, topology = await found_by(url)
            assert port == cluster.owner(KEY).port
            assert topology.seeds[0].port == node, "who answered is asked first the next time"


async def test_no_seed_at_all() -> None:
    url = f"redis+cluster://{dead()},{dead()}{SHORT}"
    await refused(url, StoreUnavailable, "Nothing took effect")


async def test_a_server_that_is_no_node_of_a_cluster(redis_server: Shared) -> None:
    await refused(redis_server.url.replace("redis://", "redis+cluster://"), StoreUnusable, "no node of a cluster")


async def test_a_node_under_the_url_of_a_server_by_itself(cluster: RedisCluster) -> None:
    wrong = next(node for node in cluster.masters if node is not cluster.owner(KEY))
    async with link_to(wrong.url) as link:
        with pytest.raises(StoreUnusable, match=r"redis\+cluster://"):
            await link.call(COUNT)


async def test_a_slot_that_moves_is_followed(cluster: RedisCluster) -> None:
    name = "{moved}"
    async with link_to(cluster.url + "?namespace=moved") as link, asyncio.timeout(LONG):
        assert await link.call(COUNT) == 1
        source = cluster.owner(name)
        target = next(node for node in cluster.masters if node is not source)
        cluster.move(name, target)
        assert sorted(await asyncio.gather(*(link.call(COUNT) for _ in range(20)))) == list(range(2, 22))
        assert (await link.command("CONFIG", "GET", "port"))[1] == str(target.port).encode()


async def test_nothing_runs_on_half_of_a_namespace(cluster: RedisCluster) -> None:
    """While its slot is on the way from one node to another, calls wait: ASK is not followed."""
    name, number = "{halved}", slot_of("{halved}")
    async with link_to(cluster.url + "?namespace=halved") as link, asyncio.timeout(LONG):
        assert await link.call(COUNT) == 1
        source = cluster.owner(name)
        target = next(node for node in cluster.masters if node is not source)
        target.command("CLUSTER", "SETSLOT", number, "IMPORTING", source.command("CLUSTER", "MYID"))
        source.command("CLUSTER", "SETSLOT", number, "MIGRATING", target.command("CLUSTER", "MYID"))
        calls = [asyncio.create_task(link.call(COUNT)) for _ in range(5)]
        assert not (await asyncio.wait(calls, timeout=0.2, return_when=asyncio.FIRST_COMPLETED))[0]
        for node in (source, target):
            node.command("CLUSTER", "SETSLOT", number, "STABLE")
        assert sorted(await asyncio.gather(*calls)) == [2, 3, 4, 5, 6]


@pytest.mark.slow
async def test_a_cluster_that_lost_the_master_goes_on_with_its_replica() -> None:
    with RedisCluster.started(replicas=True, timeout=500) as cluster:
        async with link_to(cluster.url + "?timeout=30s") as link, asyncio.timeout(60):
            assert await link.call(COUNT) == 1
            lost = cluster.owner(KEY)
            await link.command("WAIT", 1, 5_000)
            lost.kill()
            await asyncio.gather(link.call(COUNT), return_exceptions=True)
            assert await link.call(COUNT) >= 2
            assert (await link.command("CONFIG", "GET", "port"))[1] != str(lost.port).encode()


# -- sentinel --------------------------------------------------------------------------------------------------------


async def test_every_sentinel_knows_the_master_and_the_others(group: RedisSentinel) -> None:
    for sentinel in group.sentinels:
        port, topology = await found_by(f"redis+sentinel://127.0.0.1:{sentinel.port}/{NAME}")
        assert port == group.master.port
        assert {seed.port for seed in topology.seeds} == {each.port for each in group.sentinels}


async def test_a_name_that_the_sentinels_do_not_know(group: RedisSentinel) -> None:
    url = group.url.replace(NAME, "other") + SHORT
    await refused(url, StoreUnavailable, "knows no master named 'other'")


async def test_a_sentinel_that_is_cut_off_and_names_a_dead_master_is_not_believed(group: RedisSentinel) -> None:
    with RedisServer("redis7", "--sentinel") as cut_off:
        monitor = f"sentinel monitor {NAME} {dead().replace(':', ' ')} 1"
        cut_off.configuration.write_text(f"port {cut_off.port}\ndir {cut_off.folder}\n{monitor}\n")
        cut_off.start()
        async with link_to(group.url.replace("://", f"://127.0.0.1:{cut_off.port},")) as link:
            assert (await link.command("CONFIG", "GET", "port"))[1] == str(group.master.port).encode()


async def test_a_sentinel_where_a_server_should_be(group: RedisSentinel) -> None:
    await refused(group.sentinels[0].url, StoreUnusable, r"redis\+sentinel://")


async def test_a_server_where_a_sentinel_should_be(redis_server: Shared) -> None:
    url = redis_server.url.replace("redis://", "redis+sentinel://").replace("/0", f"/{NAME}/0")
    await refused(url, StoreUnusable, "is no sentinel")


async def test_a_failover_is_followed() -> None:
    with RedisSentinel.started() as group:
        async with link_to(group.url + "?timeout=30s") as link, asyncio.timeout(60):
            assert await link.call(COUNT) == 1
            await link.command("WAIT", 1, 5_000)
            group.master.kill()
            await asyncio.gather(link.call(COUNT), return_exceptions=True)
            assert await link.call(COUNT) >= 2
            assert (await link.command("CONFIG", "GET", "port"))[1] == str(group.replica.port).encode()


async def test_the_sentinels_may_want_a_password_of_their_own() -> None:
    with RedisServer.started() as master, RedisServer("redis7", "--sentinel") as sentinel:
        master.command("CONFIG", "SET", "requirepass", "hunter1")
        rules = f"monitor {NAME} 127.0.0.1 {master.port} 1\nsentinel auth-pass {NAME} hunter1"
        lines = f"port {sentinel.port}\ndir {sentinel.folder}\nsentinel {rules}\nrequirepass hunter2\n"
        sentinel.configuration.write_text(lines)
        sentinel.launch()
        until(lambda: "monitor" in sentinel.log(), "the sentinel to have started")
        place = f"127.0.0.1:{sentinel.port}/{NAME}"
        async with link_to(f"redis+sentinel://:hunter1@{place}?sentinel_password=hunter2") as link:
            assert await link.command("PING") == b"PONG"
        said = await refused(f"redis+sentinel://:hunter1@{place}?sentinel_password=wrong", StoreUnusable, "WRONGPASS")
        assert "hunter" not in said
