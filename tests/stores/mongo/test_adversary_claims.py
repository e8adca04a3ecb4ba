"""Claims whose one part fails while another is still at work."""

from __future__ import annotations

import asyncio

import pytest

from mainspring.errors import StoreUnavailable
from tests.factory import make_job
from tests.servers.mongo import MongoServer
from tests.stores.mongo.rig import claim, store_at, their_client
from tests.stores.mongo.test_blocked import BLOCKED, written_by_a_user

pytestmark = pytest.mark.slow
TIME_IS_OVER = 50


async def test_a_claim_that_fails_takes_nothing_after_it_has_failed(hurt_server: MongoServer, hurt_url: str) -> None:
    """Whoever claimed looks then what carries the token and gives it back. What is taken later would be nobody's."""
    async with store_at(hurt_url, timeout=10) as store:
        await store.add([make_job("capped", task="capped"), make_job(BLOCKED, task="free")])
        with written_by_a_user(hurt_url):
            with (
                hurt_server.fail("commitTransaction", "findAndModify", errorCode=TIME_IS_OVER),
                pytest.raises(StoreUnavailable),
            ):
                await claim(store, {"capped": 1, "free": None})
            active = hurt_server.client["admin"].aggregate([{"$currentOp": {}}, {"$match": {"op": "update"}}])
            assert [(row["ns"], row["command"].get("q")) for row in active] == []


async def test_who_closes_after_a_claim_gives_the_number_in_the_lane_back(hurt_url: str) -> None:
    """Else the cap would be taken for used for as long as the number stands, and a task would outlive the store."""
    async with store_at(hurt_url) as store:
        await store.add([make_job(task="capped") for _ in range(4)])
        assert len(await claim(store, {"capped": 2})) == 2
    assert {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()
    with their_client(hurt_url) as user:
        lanes = user.get_default_database()["mainspring_lanes"]
        assert [lane["numbers"] for lane in lanes.find({})] == [[]]
