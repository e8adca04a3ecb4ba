"""What a deployment says of itself; what it hides is said, too."""

from __future__ import annotations

import pytest

from mainspring.stores.base import Fact
from tests.servers.mongo import MongoServer
from tests.servers.shared import SharedMongo
from tests.stores.mongo.rig import store_at, with_options


async def facts(url: str, **options: object) -> dict[str, Fact]:
    async with store_at(with_options(url, **options) if options else url) as store:
        found = await store.facts()
    assert len({fact.name for fact in found}) == len(found), "each name once"
    return {fact.name: fact for fact in found}


async def test_a_set_of_one(mongo_server: SharedMongo, mongo_database: str) -> None:
    told = await facts(mongo_server.url_of(mongo_database))
    values = {name: fact.value for name, fact in told.items()}
    assert next(iter(values)) == "store"
    assert (values["mode"], values["members"], values["healthy-members"]) == ("replica set", 1, 1)
    assert (values["database"], values["prefix"], values["schema"]) == (mongo_database, "mainspring_", 1)
    assert (values["write-concern"], values["retry-writes"], values["majority-journal"]) == ("majority", 1, 1)
    assert (values["missing-indexes"], values["election-timeout-ms"]) == ("none", 500)
    assert 0 <= float(values["oplog-used"] or 0) <= 1
    assert float(values["write-ms"] or 0) > 0
    assert not [fact for fact in told.values() if fact.value is None]


@pytest.mark.parametrize(
    ("option", "fact", "value"),
    [
        ({"w": 1}, "write-concern", "1"),
        ({"w": "majority"}, "write-concern", "majority"),
        ({"journal": "true"}, "journal", "True"),
        ({"w": 1, "journal": "false"}, "journal", "False"),
        ({"retryWrites": "false"}, "retry-writes", 0),
        ({"prefix": "a_"}, "prefix", "a_"),
    ],
)
async def test_options_of_the_url_are_facts(
    mongo_server: SharedMongo, mongo_database: str, option: dict[str, object], fact: str, value: object
) -> None:
    assert (await facts(mongo_server.url_of(mongo_database), **option))[fact].value == value


@pytest.mark.slow
async def test_what_the_server_refuses_is_a_fact_without_value(hurt_server: MongoServer, hurt_url: str) -> None:
    with hurt_server.fail("replSetGetStatus", "dbStats", "listIndexes", errorCode=13, appName="mainspring"):
        told = await facts(hurt_url)
    hidden = {name for name, fact in told.items() if fact.value is None}
    assert hidden == {"healthy-members", "furthest-behind-seconds", "disk-free", "data-size", "index-size",
                      "missing-indexes"}  # fmt: skip
    assert all(told[name].why for name in hidden)
