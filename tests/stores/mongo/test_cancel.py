"""A call that is cancelled ends, whenever the cancellation comes: the driver loses some."""

from __future__ import annotations

import asyncio
import gc

import pytest

from mainspring.core.ids import new_id
from mainspring.stores.base import Query, Store
from tests.factory import make_job
from tests.stores.mongo.rig import store_at, turn

pytestmark = pytest.mark.slow


async def for_ever(store: Store) -> None:
    while True:
        await store.add([make_job(new_id())])
        await store.find(Query(limit=2))


async def test_a_call_that_is_cancelled_ends_whenever_that_comes(hurt_url: str) -> None:
    went_on: list[int] = []
    async with store_at(hurt_url) as store:
        for n in range(60):
            task = asyncio.create_task(for_ever(store))
            await turn(0.0001 * n)
            task.cancel()
            await asyncio.wait([task], timeout=10)
            while not task.done():
                went_on.append(n)
                task.cancel()
                await asyncio.wait([task], timeout=10)
            assert task.cancelled()
    assert not went_on
    gc.collect()


async def test_a_cancellation_from_inside_comes_out_of_the_next_call(hurt_url: str) -> None:
    async with store_at(hurt_url) as store:
        await store.add([make_job(new_id())])

        async def cancel_itself() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await store.find(Query(limit=2))
            raise AssertionError("the call went on")

        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(cancel_itself())


async def test_who_was_cancelled_may_still_call_to_clean_up(hurt_url: str) -> None:
    async with store_at(hurt_url) as store:
        cleaned: list[int] = []

        async def cleans_up() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append(len(await store.add([make_job(new_id())])))
                cleaned.append(len((await store.find(Query(limit=5))).jobs))

        task = asyncio.create_task(cleans_up())
        await turn(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cleaned == [1, 1]
    gc.collect()
