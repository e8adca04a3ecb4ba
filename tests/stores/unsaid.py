"""An ear for what the event loop would only log: fixtures for the tests of stores, taken in by their conftest."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest


@pytest.fixture(scope="module", autouse=True)
def what_is_there_is_not_searched() -> None:
    """What earlier modules have left, plugins and syntax trees above all, is no litter of these tests: without it a
    collection takes 10 ms. Once for a whole run of the tests, it took up to a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
async def nothing_is_left_unsaid(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """No future whose failure nobody looked at, no task that was forgotten."""
    if not inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield
        return
    said: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: said.append(context))
    yield
    gc.collect()
    assert not said
    left = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    assert not left
