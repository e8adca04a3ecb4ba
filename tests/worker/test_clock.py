"""Machines whose clocks are wrong agree all the same: everybody goes by the store's clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from mainspring import Mainspring
from mainspring.core.clock import Clock, monotonic_ms, wall_ms


@pytest.mark.slow
@pytest.mark.parametrize("skew", [-60_000, 60_000])
async def test_a_worker_whose_clock_is_a_minute_off_doubles_nothing(tmp_path: Path, skew: int) -> None:
    ran, free = Counter[int](), asyncio.Event()

    def make(off: int) -> Mainspring:
        app = Mainspring(f"sqlite:///{tmp_path / 'jobs.db'}")
        app.clock = app._clients._clock = Clock(monotonic_ms, lambda: wall_ms() + off)

        @app.task
        async def hold(n: int) -> int:
            ran[n] += 1
            await free.wait()
            return n

        return app

    right, wrong = make(0), make(skew)
    assert abs(wrong.clock.now() - right.clock.now()) > 50_000
    async with right.worker(concurrency=5, lease=3, beat=0.2), wrong.worker(concurrency=5, lease=3, beat=0.2) as late:
        assert abs(wrong.clock.now() - right.clock.now()) < 1_000
        jobs = await right.enqueue_many([right.tasks["hold"].job(n) for n in range(10)])
        first = late.clock.now()
        while late.clock.now() < first + 7_500:  # two leases and a half
            await (await right.connect()).store.wait(["none"], 0.1)
        free.set()
        assert [await job.result(timeout=60) for job in jobs] == list(range(10))
        rows = [await job.get() for job in jobs]
    assert ran == dict.fromkeys(range(10), 1)
    assert [row.claims for row in rows if row is not None] == [1] * 10
    await wrong.close()
    await right.close()
