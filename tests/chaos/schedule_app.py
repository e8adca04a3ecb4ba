"""The app of the kill tests with a scheduler that kills its own process between two calls, when it is told to.

Run as a program it starts the supervisor, as `driver` does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from mainspring.core.records import SCHEDULE, Record
from mainspring.process.supervisor import Supervisor
from mainspring.stores import open_store
from tests.chaos.chaos_app import TRACE, app

__all__ = ["app"]

store: Any = type(open_store(app.url))
write = store.write


async def write_or_die(self: Any, records: Sequence[Record], within: Any = None) -> list[Record | None]:
    """Schedules are written when their jobs have been added."""
    if not any(record.kind == SCHEDULE for record in records):
        return await write(self, records, within)  # type: ignore[no-any-return]
    die_if_told("kill between add and write")
    written = await write(self, records, within)
    die_if_told("kill after write")
    return written  # type: ignore[no-any-return]


def die_if_told(when: str) -> None:
    """Whoever can take away the file is the one that it means."""
    try:
        TRACE.with_name(when.replace(" ", "-")).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


store.write = write_or_die


def main() -> int:
    processes, settings = int(sys.argv[1]), json.loads(sys.argv[2])
    logging.basicConfig(level="INFO", format="%(asctime)s %(process)d %(message)s", stream=sys.stderr)
    return asyncio.run(Supervisor(app, "tests.chaos.schedule_app:app", processes, settings).run())


if __name__ == "__main__":
    sys.exit(main())
