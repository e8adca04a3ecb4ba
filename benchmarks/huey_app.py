"""The same for Huey on SQLite, with its defaults.

`main` enqueues; it is to be imported, not run as a program, for a task's name has the name of its module."""

from __future__ import annotations

import os
import sys
import tempfile
import time

from huey import SqliteHuey

huey = SqliteHuey(filename=os.environ.get("HUEY_BENCH_FILE") or os.path.join(tempfile.mkdtemp(), "huey.db"))


@huey.task()  # type: ignore[untyped-decorator]
def noop(n: int) -> None: ...


@huey.task()  # type: ignore[untyped-decorator]
def when() -> float:
    return time.time()


def main() -> None:
    """Enqueue so many jobs, one by one, and print how many a second. Huey has no bulk enqueue."""
    jobs = int(sys.argv[1])
    begun = time.perf_counter()
    for n in range(jobs):
        noop(n)
    print(jobs / (time.perf_counter() - begun))
