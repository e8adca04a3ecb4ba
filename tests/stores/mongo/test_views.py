"""`<queue>_tasks`: a view per queue, for people with other tools."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.core.clock import wall_ms
from mainspring.core.job import Error, Job, State
from mainspring.stores.mongo.views import pipeline
from tests.factory import make_job
from tests.stores.mongo.rig import store_at, with_options

HOUR = 3_600_000


def views(database: Any) -> list[str]:
    return sorted(found["name"] for found in database.list_collections(filter={"type": "view"}))


async def enqueue_into(url: str, *queues: str) -> None:
    async with Mainspring(url) as app:
        for queue in queues:

            @app.task(name=f"send-{queue}", queue=queue)
            async def send(to: str) -> None: ...

            await send.enqueue(to="ada@example.org")


async def test_a_queue_has_its_view_when_the_first_enqueue_has_answered(url: str, database: Any) -> None:
    await enqueue_into(url, "emails", "reports.daily", "a-b_c")
    assert views(database) == ["a-b_c_tasks", "emails_tasks", "reports.daily_tasks"]
    [row] = database["emails_tasks"].find()
    assert (row["task"], row["status"], row["input"], row["attempts"]) == (
        "send-emails",
        "pending",
        {"to": "ada@example.org"},
        0,
    )
    assert not {"token", "rank", "seq", "version", "stamp"} & row.keys(), "what is of no use to people"


def of_every_kind(now: int) -> dict[str, Job]:
    def job(**fields: Any) -> Job:
        return make_job(queue="emails", **{"due": now - 1_000, "created_at": now - HOUR} | fields)

    error = Error(type="ValueError", message="no")
    return {
        "pending": job(),
        "scheduled": job(due=now + HOUR),
        "retrying": job(due=now + HOUR, attempts=1, error=error),
        "running": job(state=State.RUNNING, due=now + HOUR, claims=1, worker="w:1"),
        "paused": job(state=State.PAUSED),
        "completed": job(state=State.COMPLETED, attempts=1),
        "failed": job(state=State.FAILED, attempts=1, error=error),
        "dead": job(state=State.DEAD, attempts=1, error=error),
        "cancelled": job(state=State.CANCELLED),
    }


async def test_a_view_shows_the_status_that_people_know(url: str, database: Any) -> None:
    async with store_at(url) as store:
        jobs = of_every_kind(wall_ms())
        await store.add(list(jobs.values()))
        await store.add([make_job(queue="other")])
    shown = {row["_id"]: row["status"] for row in database["emails_tasks"].find()}
    assert shown == {job.id: status for status, job in jobs.items()}
    async with Mainspring(url) as app:
        assert {id: await app.status(id) for id in shown} == shown, "as everywhere else"
    assert [row["_id"] for row in database["emails_tasks"].find({"status": "dead"})] == [jobs["dead"].id]


async def test_a_collection_of_that_name_is_left_alone(
    url: str, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    database["emails_tasks"].insert_one({"theirs": 1})
    with caplog.at_level(logging.WARNING, "mainspring"):
        await enqueue_into(url, "emails")
    assert [row["theirs"] for row in database["emails_tasks"].find()] == [1]
    assert "emails_tasks is something else" in caplog.text
    assert database["mainspring_jobs"].count_documents({}) == 1


async def test_a_view_of_something_else_is_left_alone(url: str, database: Any) -> None:
    database.command("create", "emails_tasks", viewOn="theirs", pipeline=[])
    await enqueue_into(url, "emails")
    [there] = database.list_collections(filter={"name": "emails_tasks"})
    assert there["options"]["viewOn"] == "theirs"


async def test_a_view_of_another_queue_is_left_alone(url: str, database: Any, caplog: pytest.LogCaptureFixture) -> None:
    stages = [{"$match": {"queue": "other"}}]
    database.command("create", "emails_tasks", viewOn="mainspring_jobs", pipeline=stages)
    with caplog.at_level(logging.WARNING, "mainspring"):
        await enqueue_into(url, "emails")
    [there] = database.list_collections(filter={"name": "emails_tasks"})
    assert there["options"]["pipeline"] == stages
    assert "emails_tasks is something else" in caplog.text


async def test_dots_that_mongodb_does_not_take_stand_there_as_in_a_url(url: str, database: Any) -> None:
    named = {
        "emails": "emails_tasks",
        ".emails": "%2Eemails_tasks",
        "..emails": "%2E%2Eemails_tasks",
        "a..b": "a%2E%2Eb_tasks",
        "a.b": "a.b_tasks",
        "a.": "a._tasks",
        "system.a": "system%2Ea_tasks",
        ".": "%2E_tasks",
    }
    await enqueue_into(url, *named)
    assert views(database) == sorted(named.values())
    for queue, view in named.items():
        assert [row["task"] for row in database[view].find()] == [f"send-{queue}"]
    await enqueue_into(with_options(url, prefix="shop_"), ".emails")
    assert database["shop_.emails_tasks"].count_documents({}) == 1


async def test_an_older_view_is_brought_up_to_date(url: str, database: Any) -> None:
    database.command("create", "emails_tasks", viewOn="mainspring_jobs", pipeline=[{"$match": {"queue": "emails"}}])
    await enqueue_into(url, "emails")
    [there] = database.list_collections(filter={"name": "emails_tasks"})
    assert there["options"]["pipeline"] == pipeline("emails")


async def test_a_store_with_a_prefix_has_views_with_that_prefix(url: str, database: Any) -> None:
    await enqueue_into(with_options(url, prefix="shop_"), "emails")
    await enqueue_into(url, "emails")
    assert views(database) == ["emails_tasks", "shop_emails_tasks"]
    assert database["shop_emails_tasks"].count_documents({}) == 1


async def test_many_at_once_make_one_view(url: str, database: Any) -> None:
    await asyncio.gather(*(enqueue_into(url, "emails") for _ in range(5)))
    assert views(database) == ["emails_tasks"]
    assert database["emails_tasks"].count_documents({}) == 5


async def test_a_view_that_somebody_dropped_is_made_by_the_next_process(url: str, database: Any) -> None:
    await enqueue_into(url, "emails")
    database.drop_collection("emails_tasks")
    await enqueue_into(url, "emails")
    assert database["emails_tasks"].count_documents({}) == 2
