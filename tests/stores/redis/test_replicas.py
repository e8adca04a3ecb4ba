"""`?replicas=`: a call answers when the replicas have what it wrote, or says that they have not."""

from __future__ import annotations

import pytest

from mainspring.errors import StoreUnavailable
from mainspring.stores import open_store
from tests.factory import NOW, make_job
from tests.servers.redis import RedisServer
from tests.servers.waiting import until


async def test_the_replica_has_what_was_added() -> None:
    with RedisServer.started() as master, RedisServer.started() as replica:
        replica.command("REPLICAOF", "127.0.0.1", master.port)
        until(lambda: replica.info("replication")["master_link_status"] == "up", "the replica is in step")
        store = open_store(f"{master.url}?replicas=1&namespace=r")
        await store.open()
        master.command("SCRIPT", "FLUSH")  # the first call loads the script
        for id in "ab":
            await store.add([make_job(id)])
            assert replica.command("EXISTS", f"{{r}}:job:{id}") == 1
        await store.close()


async def test_a_missing_replica_is_named_and_the_master_has_it() -> None:
    with RedisServer.started() as master:
        store = open_store(f"{master.url}?replicas=2&namespace=r&timeout=1s", time=lambda: NOW)
        await store.open()
        with pytest.raises(StoreUnavailable, match="0 of 2 have it"):
            await store.add([make_job("a")])
        [row] = await store.get(["a"])
        assert row is not None
        await store.close()
