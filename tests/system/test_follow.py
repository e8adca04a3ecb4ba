"""Waiting for results: whoever joins is looked after, at whatever moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from mainspring import Mainspring
from mainspring.core.job import State
from mainspring.stores import open_store
from mainspring.stores.base import Event, Store
from mainspring.testing import Outages, unreliable


class SlowGoodbye:
    """Subscriptions of which the end takes until somebody lets it."""

    def __init__(self) -> None:
        self.leaving, self.left = asyncio.Event(), asyncio.Event()

    async def subscribe(self) -> AsyncGenerator[list[Event], None]:
        try:
            yield []
            await asyncio.Event().wait()
        finally:
            self.leaving.set()
            await self.left.wait()


async def test_who_joins_while_the_last_one_leaves_is_not_forgotten() -> None:
    store: Any = unreliable(open_store("sqlite://:memory:"), Outages())
    goodbye = SlowGoodbye()
    store.clone = lambda: store
    store.subscribe = goodbye.subscribe
    app = Mainspring(store)

    @app.task
    async def job() -> None: ...

    async def ended() -> str:
        handle = await job.enqueue()
        client = await app.connect()
        row = await client.get(handle.id)
        await _complete(client.store, row.id)
        await handle.result(timeout=60)
        return handle.id

    first = await ended()
    await asyncio.wait_for(goodbye.leaving.wait(), 60)
    assert await ended() != first
    goodbye.left.set()
    await app.close()


async def _complete(store: Store, id: str) -> None:
    [row] = await store.get([id])
    assert row is not None
    await store.save([row.evolve(state=State.COMPLETED, input=None)])
