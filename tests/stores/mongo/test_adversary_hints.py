"""Hints where two workers of one process share a store."""

from __future__ import annotations

import asyncio

import pytest

from mainspring import Mainspring

pytestmark = pytest.mark.slow


async def test_two_workers_of_one_app_with_different_tasks_hear_each_what_is_theirs(hurt_url: str) -> None:
    """Each claims only its own tasks, the other one's hints are none of its business, and neither ever polls here."""
    app, ran = Mainspring(hurt_url), asyncio.Queue[int]()

    async def run(n: int) -> None:
        await ran.put(n)

    for name in ("a", "b"):
        app.task(name=name)(run)
    enqueuer = Mainspring(hurt_url)
    asked = [enqueuer.task(name=name)(run) for name in ("a", "b")]
    async with app.worker(tasks=["a"], poll=600), app.worker(tasks=["b"], poll=600):
        for n in range(12):
            await enqueuer.enqueue(asked[n // 3 % 2], n)
            async with asyncio.timeout(60):
                assert await ran.get() == n
    await app.close()
    await enqueuer.close()
