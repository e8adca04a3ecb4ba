"""A program whose event loop ends without a stop of its worker, in the middle of a cpu handler."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.worker.conftest import wait_until
from tests.worker.cpu_shop import app, loops
from tests.worker.test_cpu import begun, parent_of


async def main(folder: str) -> None:
    await app.worker(cpu_processes=1, poll=0.1).start()
    await loops.enqueue(folder)
    await wait_until(lambda: begun(Path(folder)), "it to begin")
    [child] = begun(Path(folder))
    print(child, parent_of(child))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
