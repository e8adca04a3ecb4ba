"""The servers as fixtures, shared by the tests of a process: `redis_server` is every kind of Redis in turn."""

from __future__ import annotations

import pytest

from tests.servers.binaries import REDIS_KINDS, needs
from tests.servers.shared import Shared, shared

EVERY_KIND = [pytest.param(kind, marks=needs(kind)) for kind in REDIS_KINDS]


@pytest.fixture(scope="session", params=EVERY_KIND)
def redis_server(request: pytest.FixtureRequest) -> Shared:
    """A shared server of each kind; `@pytest.mark.parametrize("redis_server", ["redis7"], indirect=True)` picks."""
    return shared(request.param)
