"""Collections and indexes: made by whoever comes first, mended by the next, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.core.records import Record
from mainspring.errors import StoreReadOnly, StoreUnusable
from mainspring.stores import open_store
from mainspring.stores.base import Query, Store
from mainspring.stores.mongo.schema import CAPPED, INDEXES, SCHEMA
from tests.factory import NOW, make_job
from tests.servers.binaries import needs
from tests.servers.mongo import MongoServer, client
from tests.stores.mongo.rig import claim, store_at, with_options


def indexes(database: Any, name: str) -> set[str]:
    return set(database[f"mainspring_{name}"].index_information()) - {"_id_"}


async def is_refused(url: str, *said: str) -> None:
    store = open_store(url)
    with pytest.raises(StoreUnusable) as caught:
        await store.open()
    await store.close()
    assert not [text for text in said if text not in str(caught.value)], caught.value


async def test_ten_stores_that_open_at_once_make_one_schema(url: str, database: Any) -> None:
    stores = [open_store(url, time=lambda: NOW) for _ in range(10)]
    await asyncio.gather(*(store.open() for store in stores))
    try:
        await asyncio.gather(*(store.add([make_job(f"job-{n}")]) for n, store in enumerate(stores)))
        assert len(await claim(stores[0])) == 10
    finally:
        await asyncio.gather(*(store.close() for store in stores))
    assert database["mainspring_meta"].count_documents({}) == 1
    for name, wanted in INDEXES.items():
        assert indexes(database, name) == {model.document["name"] for model in wanted}
    for name in CAPPED:
        assert database[f"mainspring_{name}"].options()["capped"]


async def test_a_newer_schema_is_left_alone(url: str, database: Any) -> None:
    database["mainspring_meta"].insert_one({"_id": "schema", "version": SCHEMA + 1, "identity": "x"})
    await is_refused(url, f"schema {SCHEMA + 1}", "Install a newer Mainspring", "?prefix=")
    assert database.list_collection_names() == ["mainspring_meta"], "nothing was made"


@pytest.mark.parametrize("theirs", [{"_id": "schema"}, {"_id": "schema", "version": "2.1"}])
async def test_a_foreign_collection_is_left_alone(url: str, database: Any, theirs: dict[str, Any]) -> None:
    database["mainspring_meta"].insert_one(theirs)
    await is_refused(url, "mainspring_meta is not ours", "?prefix=")
    assert database.list_collection_names() == ["mainspring_meta"]
    async with store_at(with_options(url, prefix="jobs-")) as store:
        await store.add([make_job()])
        assert len(await claim(store)) == 1


async def test_two_prefixes_in_one_database_do_not_see_each_other(url: str) -> None:
    async with store_at(url) as one, store_at(with_options(url, prefix="other_")) as other:
        await one.add([make_job("same-id")])
        assert await other.get(["same-id"]) == [None]
        assert await claim(other) == []
        gate = Record(kind="gate", name="queue:default", written_at=NOW)
        await other.write([gate])
        assert len(await claim(one)) == 1, "a pause of the other one"
        assert await one.scan("gate") == []
        assert await other.count(Query()) == []


async def test_an_index_that_was_dropped_is_told_and_made_again(url: str, database: Any) -> None:
    async with store_at(url) as store:
        database["mainspring_jobs"].drop_index("claim")
        assert await missing(store) == "jobs.claim"
        async with store_at(url):
            assert await missing(store) == "none"


async def missing(store: Store) -> object:
    return next(fact.value for fact in await store.facts() if fact.name == "missing-indexes")


async def test_collections_that_were_dropped_are_made_again(url: str, database: Any) -> None:
    async with store_at(url) as store:
        await store.add([make_job()])
    for name in ("logs", "signals", "events", "lanes"):
        database.drop_collection(f"mainspring_{name}")
    async with store_at(url) as store:
        assert len(await claim(store, {"t": 1})) == 1
    assert database["mainspring_signals"].options()["capped"]
    assert indexes(database, "logs")


@pytest.mark.parametrize("members", ["9", "nosuchtag"])
async def test_members_to_wait_for_that_the_set_has_not_are_a_mistake_in_the_url(url: str, members: str) -> None:
    await is_refused(with_options(url, w=members), "w=", "Leave w= out for a majority")
    async with store_at(url):
        await is_refused(with_options(url, w=members), "w=", "Leave w= out for a majority")


# -- rights ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded() -> Iterator[MongoServer]:
    """A server that asks who one is: users `worker` (readWrite) and `reader` (read) of the database `shop`."""
    with MongoServer.started(replica_set=False) as server:
        users = {"worker": ("readWrite", "shop"), "reader": ("read", "shop"), "admin": ("root", "admin")}
        for name, (role, database) in users.items():
            server.command("createUser", name, database, pwd="hunter2", roles=[{"role": role, "db": database}])
        server.stop()
        server.arguments = ("--auth",)
        server.answering()
        yield server


guarding = [*needs("mongo6"), pytest.mark.slow]


@pytest.mark.parametrize("guarded", [pytest.param("mongo6", marks=guarding)], indirect=True)
class TestRights:
    async def test_a_user_is_looked_for_in_the_database_of_the_url(self, guarded: MongoServer) -> None:
        async with Mainspring(f"mongodb://worker:hunter2@{guarded.address}/shop") as app:

            @app.task(max_concurrency=2)
            async def double(n: int) -> int:
                return 2 * n

            async with app.worker():
                assert await (await double.enqueue(21)).result(timeout=60) == 42
        with client(f"mongodb://worker:hunter2@{guarded.address}/shop") as theirs:
            assert theirs["shop"]["default_tasks"].count_documents({}) == 1, "readWrite is enough for views"

    async def test_a_wrong_password_is_told_without_it(self, guarded: MongoServer) -> None:
        store = open_store(f"mongodb://worker:hunter3@{guarded.address}/shop")
        with pytest.raises(StoreUnusable, match="refused the login") as caught:
            await store.open()
        await store.close()
        assert "authSource" in str(caught.value)
        assert "hunter3" not in str(caught.value)

    async def test_a_user_who_may_only_read_is_told_what_is_missing(self, guarded: MongoServer) -> None:
        store = open_store(f"mongodb://reader:hunter2@{guarded.address}/shop?prefix=new_")
        with pytest.raises(StoreReadOnly, match="readWrite") as caught:
            await store.open()
        await store.close()
        said = str(caught.value)
        assert "the role readWrite on the database 'shop'" in said
        assert "execute command { create" in said
        assert not [part for part in ("hunter2", "lsid", "clusterTime", "dbAdmin") if part in said], said

    async def test_a_reader_may_look_at_what_others_made(self, guarded: MongoServer) -> None:
        async with Mainspring(f"mongodb://worker:hunter2@{guarded.address}/shop?prefix=b_") as app:

            @app.task
            async def work() -> None: ...

            await work.enqueue()
        store = open_store(f"mongodb://reader:hunter2@{guarded.address}/shop?prefix=b_")
        await store.open()
        try:
            assert len((await store.find(Query())).jobs) == 1
            with pytest.raises(StoreReadOnly):
                await store.add([make_job()])
        finally:
            await store.close()
