"""For the tests of the Redis store: the servers, and an ear for what the event loop would only log."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.fixtures import redis_server
from tests.stores.unsaid import nothing_is_left_unsaid, what_is_there_is_not_searched

__all__ = ["nothing_is_left_unsaid", "redis_server", "what_is_there_is_not_searched"]


HERE = Path(__file__).parent
SLOW = {"adversary_cancel", "adversary_clock", "adversary_find", "adversary_fleet", "adversary_follow",
        "adversary_indexes", "adversary_limits", "adversary_replicas", "adversary_wakeups", "audit",
        "faults_connection", "faults_server", "load", "refusals", "replicas", "topology"}  # fmt: skip
"""Modules that start servers of their own or wait for seconds: 120 s in all, which the quick suite has no room for."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE and item.path.stem.removeprefix("test_") in SLOW:
            item.add_marker(pytest.mark.slow)
