"""The same for Huey on SQLite, with its defaults."""

from __future__ import annotations

import os
import time

from huey import SqliteHuey

huey = SqliteHuey(filename=os.environ.get("HUEY_BENCH_FILE", "/dev/null"))


@huey.task()  # type: ignore[untyped-decorator]
def noop(n: int) -> None: ...


@huey.task()  # type: ignore[untyped-decorator]
def when() -> float:
    return time.time()
