"""`sqlite://:memory:`: all clones of one store share one database, on any loop and thread."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mainspring.errors import StoreUnavailable
from mainspring.stores.base import Store
from mainspring.stores.sqlite import SQLiteStore
from tests.factory import make_job

LONG = 200.0


async def test_two_stores_are_two_databases_and_clones_are_one() -> None:
    one, two = SQLiteStore("sqlite://:memory:"), SQLiteStore("sqlite://:memory:")
    clone = one.clone()
    for store in (one, two, clone):
        await store.open()
    await one.add([make_job("a")])
    assert await two.get(["a"]) == [None]
    assert await clone.get(["a"]) != [None]
    for store in (one, two, clone):
        await store.close()


async def test_the_data_live_as_long_as_a_store_over_them() -> None:
    store = SQLiteStore("sqlite://:memory:")
    clone = store.clone()
    await store.open()
    await store.add([make_job("a")])
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.get(["a"])
    await clone.open()
    assert await clone.get(["a"]) != [None]
    await clone.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mainspring-")]


async def test_an_add_wakes_a_clone_on_the_loop_of_another_thread() -> None:
    store = SQLiteStore("sqlite://:memory:")
    await store.open()
    waits = threading.Event()

    async def wait(clone: Store) -> bool:
        await clone.open()
        asyncio.get_running_loop().call_soon(waits.set)
        woken = await clone.wait(["default"], LONG)
        await clone.close()
        return woken

    waiting = asyncio.create_task(asyncio.to_thread(asyncio.run, wait(store.clone())))
    async with asyncio.timeout(60):
        await asyncio.to_thread(waits.wait)
        while not waiting.done():  # It may have been a moment before its first look.
            await store.add([make_job()])
            await asyncio.wait([waiting], timeout=0.02)
    assert await waiting
    await store.close()
