"""A document that somebody has edited by hand, and that is no job any more: it stops nothing but itself."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.core.ids import new_id
from mainspring.stores.base import Query
from tests.factory import LEASE, NOW, make_job
from tests.servers.mongo import MongoServer
from tests.servers.shared import needs_mongo
from tests.stores.mongo.rig import claim, store_at, until

pytestmark = [pytest.mark.slow, *needs_mongo()]

BROKEN: dict[str, Any] = {
    "attempts": "two", "claims": "two", "version": "two", "seq": "two", "created_at": "yesterday", "runs": 7,
}  # fmt: skip


def jobs_at(server: MongoServer, url: str) -> Any:
    return server.client[url.partition("?")[0].rpartition("/")[2]]["mainspring_jobs"]


def told(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [getattr(r, "fields", {})["job_id"] for r in caplog.records if getattr(r, "event", "") == "job.unreadable"]


@pytest.mark.parametrize("field", BROKEN)
async def test_a_worker_runs_all_jobs_but_the_one_that_cannot_be_read(
    hurt_server: MongoServer, hurt_url: str, caplog: pytest.LogCaptureFixture, field: str
) -> None:
    app = Mainspring(hurt_url)
    ran: list[int] = []

    @app.task
    async def work(n: int) -> None:
        ran.append(n)

    jobs = [await work.enqueue(n) for n in range(6)]
    documents = jobs_at(hurt_server, hurt_url)
    documents.update_one({"_id": jobs[2].id}, {"$set": {field: BROKEN[field]}})
    with caplog.at_level(logging.WARNING, "mainspring"):
        async with app.worker(poll=0.1):
            await until(lambda: len(ran) == 5, "the others to run")
            await work.enqueue(6)
            await until(lambda: len(ran) == 6, "a later one to run")
    assert sorted(ran) == [0, 1, 3, 4, 5, 6]
    assert told(caplog) == [jobs[2].id], "once"
    await app.close()


async def test_a_claim_goes_on_behind_it_and_takes_it_when_it_is_mended(
    hurt_server: MongoServer, hurt_url: str
) -> None:
    documents = jobs_at(hurt_server, hurt_url)
    later = NOW + 2 * LEASE
    async with store_at(hurt_url) as store:
        await store.add([make_job(id) for id in ("a", "b", "c")])
        documents.update_one({"_id": "a"}, {"$set": {"attempts": "two"}})
        assert [job.id for job in await claim(store, limit=1)] == ["b"]
        assert [job.id for job in await claim(store, limit=1, now=later)] == ["b"], "its lease has ended"
        assert [job.id for job in await claim(store, limit=1, now=later)] == ["c"]
        documents.update_one({"_id": "a"}, {"$set": {"attempts": 0}})

        async def goes_on() -> bool:
            return [(job.id, job.claims) for job in await claim(store, now=later)] == [("a", 2)]

        await until(goes_on, "the mended row to be claimed; it was taken once before it was known")


async def test_a_page_shows_the_others(
    hurt_server: MongoServer, hurt_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, broken, last = ids = [new_id() for _ in range(3)]
    async with store_at(hurt_url) as store:
        await store.add([make_job(id) for id in ids])
        jobs_at(hurt_server, hurt_url).update_one({"_id": broken}, {"$set": {"attempts": "two"}})
        with caplog.at_level(logging.WARNING, "mainspring"):
            pages = [await store.find(Query(oldest_first=True)) for _ in range(2)]
    assert [[job.id for job in page.jobs] for page in pages] == [[first, last]] * 2
    assert told(caplog) == [broken], "once"
