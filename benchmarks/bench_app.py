"""The app that the benchmarks run: handlers that do nothing, or say when they began."""

from __future__ import annotations

import os
import time

from mainspring import Mainspring

app = Mainspring(os.environ.get("MAINSPRING_BENCH_URL", "sqlite://:memory:"))


@app.task
async def noop(n: int) -> None: ...


@app.task
def noop_in_thread(n: int) -> None: ...


@app.task
async def when() -> float:
    return time.time()
