"""The app of the tests of acts on many jobs: a task that leaves one line a run, and may die again.

Run as a program it starts the supervisor, as `driver` does; with `retry` it retries the dead of the task, and prints
what that took as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from pathlib import Path

from mainspring import Context, DeadLetter, Mainspring
from mainspring.process.supervisor import Supervisor

app = Mainspring(os.environ["MAINSPRING_CHAOS_URL"])
TRACE = Path(os.environ["MAINSPRING_CHAOS_TRACE"])
trace = os.open(TRACE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@app.task
async def again(ctx: Context, dies: bool) -> None:
    os.write(trace, f"{ctx.job_id} {ctx.fence}\n".encode())
    if dies:
        raise DeadLetter("again")


async def retry_all() -> None:
    """Prints a line when it begins, and one at its end or where it is interrupted."""
    done = 0

    def tell(changed: int, seen: int) -> None:
        nonlocal done
        done = changed

    async with app:
        await app.dead_letters.list(limit=500)  # what is loaded once is loaded
        before = reset_memory()
        begun = time.monotonic()
        print("begun", flush=True)
        try:
            await app.jobs.retry(task="again", status="dead", on_progress=tell)
        finally:
            seconds = time.monotonic() - begun
            grown = memory("VmHWM") - before
            print(json.dumps({"changed": done, "seconds": seconds, "grown_kb": grown}), flush=True)


def reset_memory() -> int:
    """The peak of memory counts from here; answers what is used now."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(line: str) -> int:
    """KB. Not `getrusage`, whose peak begins with that of the process that started this one."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(text.split()[1]) for text in status if text.startswith(f"{line}:"))


def main() -> int:
    if sys.argv[1] == "retry":
        asyncio.run(retry_all())
        return 0
    processes, settings = int(sys.argv[1]), json.loads(sys.argv[2])
    logging.basicConfig(level="WARNING", format="%(asctime)s %(process)d %(message)s", stream=sys.stderr)
    return asyncio.run(Supervisor(app, "tests.chaos.bulk_app:app", processes, settings).run())


if __name__ == "__main__":
    sys.exit(main())
