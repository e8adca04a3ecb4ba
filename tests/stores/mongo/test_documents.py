"""Jobs as people find them with other tools: native types, no blobs; and nothing is lost on the way there and back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from mainspring import Context, Mainspring
from mainspring.core.codec import encode_json
from mainspring.errors import InputError
from mainspring.stores import open_store
from mainspring.stores.base import LogLine
from tests.factory import NOW, make_job
from tests.servers.shared import SharedMongo
from tests.stores.mongo.rig import claim, settled, store_at
from tests.stores.mongo.test_payload import VALUES

pytestmark = pytest.mark.slow  # seconds in all, and others show the essentials quickly

Database = Any


@pytest.fixture
def url(mongo_server: SharedMongo, mongo_database: str) -> str:
    return mongo_server.url_of(mongo_database)


@pytest.fixture
def database(mongo_server: SharedMongo, mongo_database: str) -> Database:
    """As somebody sees it who has a client of PyMongo's, and nothing of ours."""
    return mongo_server.client[mongo_database]


class Order(BaseModel):
    at: datetime
    day: date
    amount: Decimal
    id: UUID
    tags: dict[str, Any]


ORDER = Order(
    at=datetime(2026, 2, 3, 4, 5, 6, 123_457, UTC),
    day=date(2026, 2, 3),
    amount=Decimal("12.30"),
    id=UUID("0192f3c4-0000-7000-8000-000000000001"),
    tags={"$set": 1, "a.b": [2**63 - 1, 0.1]},
)


async def test_a_waiting_job_can_be_read(url: str, database: Database) -> None:
    async with Mainspring(url) as app:

        @app.task(queue="emails", priority=75)
        async def send(to: str, lines: list[str]) -> None: ...

        job = await send.options(idempotency_key="welcome-7", meta={"tenant": "acme"}, delay="5m").enqueue(
            to="ada@example.org", lines=["a", "b"]
        )
    row = database["mainspring_jobs"].find_one({"input.to": "ada@example.org"})
    assert (row["_id"], row["task"], row["queue"], row["state"]) == (job.id, "send", "emails", "waiting")
    assert row["input"] == {"to": "ada@example.org", "lines": ["a", "b"]}
    assert (row["priority"], row["key"], row["meta"]) == (75, "welcome-7", {"tenant": "acme"})
    assert timedelta(minutes=4) < row["due_at"] - row["created_at"] < timedelta(minutes=6)


async def test_a_job_that_has_failed_tells_why_and_its_runs(url: str, database: Database) -> None:
    async with Mainspring(url) as app:

        @app.task(retries=0)
        async def send(ctx: Context, to: str) -> None:
            ctx.log(f"sending to {to}")
            raise ValueError("no such address")

        async with app.worker():
            job = await send.enqueue(to="nobody")
            with pytest.raises(Exception, match="no such address"):
                await job.result(timeout=60)
    row = database["mainspring_jobs"].find_one({"state": "dead", "error.type": "ValueError"})
    assert (row["error"]["message"], row["reason"], row["attempts"]) == ("no such address", "exhausted", 1)
    [run] = row["runs"]
    assert (run["outcome"], run["attempt"], run["claim"]) == ("failed", 1, 1)
    for moment in (row["created_at"], row["finished_at"], row["expires_at"], run["started_at"], run["ended_at"]):
        assert isinstance(moment, datetime)
    line = database["mainspring_logs"].find_one({"job": row["_id"]})
    assert line["text"] == "sending to nobody"
    assert isinstance(line["at"], datetime)


async def test_nothing_in_the_database_is_a_blob(url: str, database: Database) -> None:
    async with Mainspring(url) as app:

        @app.task
        async def order(ctx: Context, order: Order) -> Order:
            ctx.log("seen")
            await ctx.progress(50, {"done": 1})
            return order

        async with app.worker():
            job = await order.options(idempotency_key="k").enqueue(ORDER)
            assert await job.result(timeout=60) == ORDER
        await app.queues.pause("emails", reason="later")
    found = [row for name in database.list_collection_names() for row in database[name].find()]
    assert len(found) > 5
    assert not [value for row in found for value in leaves(row) if isinstance(value, bytes)]
    [row] = database["mainspring_jobs"].find()
    times = [name for name in row if name.endswith("_at") and not isinstance(row[name], datetime)]
    assert not times, "times are dates"


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    else:
        yield value


def nested(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = {"in": value}
    return value


ODD: list[Any] = [
    {"$set": {"a.b": 1}, "": None, "a\0b": "c\0d"},
    nested(190),
    [2**63 - 1, -(2**63), 10**18, 2**53 + 1, 0],
    [0.1, -0.0, 1.0, 1e300, 5e-324, 123456789.123456789],
    {"json": "[1]"},
    {"$oid": "0192f3c40000700080000000", "$date": "2026-01-01"},
    "🎉 \u2028 \x7f",
    [[], {}, "", None, False],
]


async def through(url: str) -> list[Any]:
    """What handlers are given and what their callers get, of values that are odd in some way."""
    seen: dict[int, Any] = {}
    async with Mainspring(url) as app:

        @app.task
        async def echo(n: int, value: Any) -> Any:
            seen[n] = value
            return value

        @app.task
        async def order(order: Order) -> Order:
            seen[-1] = order
            return order

        async with app.worker():
            jobs = await app.enqueue_many([echo.job(n, value) for n, value in enumerate(ODD)])
            results: list[Any] = [await job.result(timeout=60) for job in jobs]
            results.append(await (await order.enqueue(ORDER)).result(timeout=60))
    return [repr(value) for value in (*(seen[n] for n in sorted(seen)), *results)]


async def test_inputs_and_results_are_what_they_are_on_sqlite(url: str) -> None:
    assert await through(url) == await through("sqlite://:memory:")


@pytest.mark.slow
@given(values=st.lists(VALUES, min_size=1, max_size=20))
@settings(suppress_health_check=list(HealthCheck))
def test_any_input_and_result_is_the_text_that_sqlite_gives(url: str, values: list[Any]) -> None:
    assert asyncio.run(there_and_back(url, values)) == asyncio.run(there_and_back("sqlite://:memory:", values))


async def there_and_back(url: str, values: list[Any]) -> list[tuple[str | None, str | None]]:
    """The texts of inputs and results after an add, a claim, a save and a read."""
    ids = [f"job-{n}" for n in range(len(values))]
    store = open_store(url, time=lambda: NOW)
    await store.open()
    try:
        await store.add([make_job(id, input=encode_json({"v": v})) for id, v in zip(ids, values, strict=True)])
        taken = await claim(store)
        inputs = {job.id: job.input for job in taken}
        await store.save([settled(job).evolve(result=encode_json(values[ids.index(job.id)])) for job in taken])
        found = {job.id: job.result for job in await store.get(ids) if job is not None}
        await store.save([job.evolve(expires_at=0) for job in await store.get(ids) if job is not None])
    finally:
        await store.close()
    return [(inputs[id], found[id]) for id in ids]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
async def test_an_integer_beyond_64_bits_is_refused_at_once(url: str, database: Database, number: int) -> None:
    async with Mainspring(url) as app:

        @app.task
        async def count(value: Any) -> None: ...

        with pytest.raises(InputError, match="beyond 64 bits"):
            await count.enqueue({"deep": [number]})
    assert database["mainspring_jobs"].count_documents({}) == 0


# -- logs --------------------------------------------------------------------------------------------------------------


async def test_a_job_that_is_born_again_begins_with_an_empty_log(url: str, database: Database) -> None:
    async with store_at(url) as store:
        await store.add([make_job("key")])
        await store.append([LogLine("key", 1, NOW, "info", "old")], keep=10)
        database["mainspring_jobs"].delete_one({"_id": "key"})  # by hand: its lines are left behind
        await store.add([make_job("key")])
        assert await store.tail("key") == []
        await store.append([LogLine("key", 1, NOW, "info", "new")], keep=10)
        assert [line.text for line in await store.tail("key")] == ["new"]


async def test_writers_of_one_log_lose_none_of_each_others_lines(url: str) -> None:
    async with store_at(url) as one, store_at(url) as other:
        await one.add([make_job("talked-of")])
        texts = [f"{n}" for n in range(60)]
        lines = [LogLine("talked-of", 1, NOW, "info", text) for text in texts]
        await asyncio.gather(
            *(
                store.append(lines[n : n + 6], keep=100)
                for n, store in zip(range(0, 60, 6), [one, other] * 5, strict=True)
            )
        )
        found = await one.tail("talked-of")
    assert sorted(line.text for line in found) == sorted(texts)
    assert [line.seq for line in found] == list(range(1, 61))
