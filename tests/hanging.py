"""Where a test hangs: the stacks of its coroutines, told before the time limit ends the process. The stacks of threads,
which `faulthandler_timeout` prints, show of an event loop only that it waits."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

PATIENCE = 230
"""Seconds: a little less than `faulthandler_timeout`."""


def real_stderr() -> TextIO:
    """For `pytest_configure`: what tests write is caught later, this is not."""
    return os.fdopen(os.dup(2), "w", encoding="utf-8")


@contextmanager
def told_where_it_hangs(test: str, out: TextIO, patience: float = PATIENCE) -> Iterator[None]:
    timer = threading.Timer(patience, tell, [test, out])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def tell(test: str, out: TextIO) -> None:
    tasks = [task for task in gc.get_objects() if isinstance(task, asyncio.Task) and not task.done()]
    print(f"\n{test} hangs, in {len(tasks)} tasks:", file=out)
    for task in tasks:
        task.print_stack(file=out)
    out.flush()
