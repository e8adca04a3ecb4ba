"""For the tests of the Redis store: the servers, and an ear for what the event loop would only log."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.fixtures import redis_server

__all__ = ["nothing_is_left_unsaid", "redis_server"]


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


HERE = Path(__file__).parent
SLOW = {"adversary_cancel", "adversary_clock", "adversary_find", "adversary_fleet", "adversary_follow",
        "adversary_indexes", "adversary_limits", "adversary_replicas", "adversary_wakeups", "audit",
        "faults_connection", "faults_server", "load", "refusals", "replicas", "topology"}  # fmt: skip
"""Modules that start servers of their own or wait for seconds: 120 s in all, which the quick suite has no room for."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE and item.path.stem.removeprefix("test_") in SLOW:
            item.add_marker(pytest.mark.slow)
