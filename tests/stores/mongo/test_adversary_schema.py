"""Collections that somebody dropped while processes ran."""

from __future__ import annotations

import pytest

from tests.stores.mongo.rig import store_at, their_client

pytestmark = pytest.mark.slow


async def test_hints_are_heard_again_after_the_database_was_dropped_under_a_running_process(hurt_url: str) -> None:
    """The next hint makes the collection again, and not a capped one; whoever begins then mends it."""
    async with store_at(hurt_url) as running:
        with their_client(hurt_url) as user:
            user.drop_database(user.get_default_database().name)
        await running.wake("default")
        async with store_at(hurt_url) as begun:
            await running.wake("default")
            assert await begun.wait(["default"], 3), "a hint"
