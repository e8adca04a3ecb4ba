"""An ear for what the event loop would only log: fixtures for the tests of stores, taken in by their conftest."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def what_is_there_is_not_searched() -> None:
    """Modules and plugins are no test's litter: without them a collection takes 10 ms and not 150."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
async def nothing_is_left_unsaid() -> AsyncIterator[None]:
    """No future whose failure nobody looked at, no task that was forgotten."""
    said: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: said.append(context))
    yield
    gc.collect()
    assert not said
    left = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    assert not left
