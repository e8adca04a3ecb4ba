"""One place for a worker process, and who sits in it: started, signalled, waited for. It decides nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import socket
import sys
from dataclasses import dataclass, field
from typing import Any

from mainspring.core.duration import milliseconds
from mainspring.events import emit

FIRST_BACK_OFF = 0.1
LONGEST_BACK_OFF = 10.0
KILL_AFTER = 5.0
"""Seconds past the grace after which a child that has not ended is killed."""


@dataclass
class Child:
    """A place for a child process."""

    number: int
    id: str = ""
    process: asyncio.subprocess.Process | None = None
    early_deaths: int = 0
    restarts: int = field(default=0)

    async def start(self, name: str, settings: dict[str, Any]) -> bool:
        """Start a worker of the app `name`. False: the system has no process for us now."""
        self.id = f"{socket.gethostname()}:{os.getpid()}.{self.number}:{secrets.token_hex(3)}"
        command = (sys.executable, "-m", "mainspring.process.child", name, json.dumps(settings | {"id": self.id}))
        try:
            # Ctrl-C reaches the whole foreground group: the children hear of it from us alone, once.
            self.process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            emit("child.not_started", logging.ERROR, worker=self.id, error=str(error))
            return False
        emit("child.started", worker=self.id, pid=self.process.pid)
        return True

    def send(self, number: int) -> None:
        """Signal the process, if it lives."""
        if self.process is not None and self.process.returncode is None:
            try:
                self.process.send_signal(number)
            except ProcessLookupError:
                pass

    async def ended(self, stopping: asyncio.Event, settings: dict[str, Any]) -> int:
        """The exit code, once the process has ended; it is killed where it outlives its grace after `stopping`."""
        assert self.process is not None
        ended = asyncio.ensure_future(self.process.wait())
        told = asyncio.ensure_future(stopping.wait())
        await asyncio.wait([ended, told], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not ended.done():
            grace = milliseconds(settings.get("grace", 10), "grace") / 1000
            await asyncio.wait([ended], timeout=grace + KILL_AFTER)
            if not ended.done():
                emit("child.killed", logging.ERROR, worker=self.id)
                self.send(signal.SIGKILL)
        return await ended


async def back_off(early_deaths: int, stopping: asyncio.Event) -> None:
    """Wait the longer the more deaths in a row there were, but not once `stopping` is set."""
    if not early_deaths:
        return
    # The exponent is bounded: 0.1 * 2 ** 1024, after three hours of deaths, is an OverflowError.
    delay = min(FIRST_BACK_OFF * 2 ** min(early_deaths - 1, 10), LONGEST_BACK_OFF)
    try:
        await asyncio.wait_for(stopping.wait(), delay)
    except TimeoutError:
        pass
