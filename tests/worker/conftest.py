"""Apps for the worker's tests, with real time and short delays. No test sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mainspring import Mainspring
from tests.servers.waiting import PATIENCE
from tests.stores_for_apps import SLOW_STORES, store_url


@pytest.fixture(params=["memory", *SLOW_STORES])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mainspring]:
    with store_url(request.param, tmp_path) as url:
        app = Mainspring(url)
        yield app
        await app.close()


async def wait_until(true: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait until `true()` holds, looking at every turn of the loop."""
    try:
        async with asyncio.timeout(seconds):
            while not true():
                await tick()
    except TimeoutError:
        pytest.fail(f"waited {seconds} s in vain for: {what}")


async def tick() -> None:
    """Let other threads have their turn: a millisecond, by a timer of the loop."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    timer = loop.call_later(0.001, future.set_result, None)
    try:
        await future
    finally:
        timer.cancel()
