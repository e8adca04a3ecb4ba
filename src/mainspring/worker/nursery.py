"""The worker's end of a nursery: it starts one, has children forked and killed, and learns of their ends.

See `mainspring.process.nursery`, the other end. Everything here runs on the worker's event loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from typing import Any

from mainspring.errors import DefinitionError
from mainspring.events import emit
from mainspring.worker.raised import NoProcess
from mainspring.worker.wire import Setup, frame

READY_WITHIN = 60.0
"""Seconds that the modules of the tasks may take to be imported."""
ENDED_WITHIN = 2.0
"""Seconds after which the system is asked directly to kill what the nursery does not bury."""
ANSWERS_WITHIN = 30.0
"""Seconds after which a nursery that neither forks nor buries is taken for dead. A fork is 10 ms; one that somebody has
stopped would keep its worker's jobs for ever."""
MODULE = "mainspring.process.nursery"


class Child:
    """A process for handlers. `ended` gives its exit code, below 0 the signal; None where nobody can say."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._connected = False
        self.killed = False
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def connect(self, line: socket.socket) -> None:
        line.setblocking(False)
        self.reader, self.writer = await asyncio.open_unix_connection(sock=line)
        self._connected = True
        if self.ended.done():
            self._end_line()

    def bury(self, status: int | None) -> None:
        if not self.ended.done():
            self.ended.set_result(status)
        if self._connected:
            self._end_line()

    def _end_line(self) -> None:
        """Where something that it has started still holds its line, no end of the line would ever come."""
        asyncio.get_running_loop().call_later(0.05, self.reader.feed_eof)

    def close(self) -> None:
        self.writer.close()


class Nursery:
    """One nursery process, from its start to its end."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._numbers = 0
        self._asked: dict[int, asyncio.Future[Child]] = {}
        self._children: dict[int, Child] = {}
        """All that live, from the word of their fork to that of their end."""
        self._line: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        """Not asyncio's: that keeps a thread for each process, on some versions of Python."""
        self._listening: asyncio.Task[None] | None = None
        self.gone = False

    async def start(self) -> None:
        """Start it, and wait until it has imported the tasks. Raises `DefinitionError` where it cannot."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._line = ours
        with theirs:
            command = (sys.executable, "-m", MODULE, str(theirs.fileno()))
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
            try:
                self._process = subprocess.Popen(  # noqa: ASYNC220  a vfork, which is 2 ms
                    command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True,
                    env=environment,
                )  # fmt: skip
            except OSError as error:
                ours.close()
                raise NoProcess(f"no process for cpu handlers: {error}") from error
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(READY_WITHIN):
                await loop.sock_sendall(ours, frame(self._setup))
                word, rest = await self._first_word()
        except (TimeoutError, OSError) as error:
            await self.stop()
            raise DefinitionError(
                f"the tasks of the cpu handlers were not imported within {READY_WITHIN:g} s in a process of their own "
                f"({error or 'no answer'}). Expected modules that can be imported without running the program."
            ) from error
        if "ready" not in word:
            await self.stop()
            raise DefinitionError(f"the cpu handlers cannot run in processes of their own: {word.get('unready')}")
        self._listening = loop.create_task(self._listen(rest), name="mainspring-nursery")

    async def _first_word(self) -> tuple[dict[str, Any], bytes]:
        assert self._line is not None
        data = b""
        while b"\n" not in data:
            more = await asyncio.get_running_loop().sock_recv(self._line, 65_536)
            if not more:
                return {"unready": "it ended at once; what it said is in the worker's output"}, b""
            data += more
        first, _, rest = data.partition(b"\n")
        return json.loads(first), rest

    async def fork(self) -> Child:
        """A new child. Raises `NoProcess`."""
        if self.gone or self._line is None:
            raise NoProcess("no process for a cpu handler: their parent has ended")
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise NoProcess(f"no process for a cpu handler: {error}") from error
        try:
            child = await self._ask(self._line, theirs)
            await child.connect(ours)
        except OSError as error:
            ours.close()
            raise NoProcess(f"no process for a cpu handler: {error}") from error
        except BaseException:
            ours.close()  # a child that comes nevertheless ends at the end of its line
            raise
        return child

    async def _ask(self, line: socket.socket, theirs: socket.socket) -> Child:
        loop = asyncio.get_running_loop()
        self._numbers += 1
        number = self._numbers
        asked: asyncio.Future[Child] = loop.create_future()
        self._asked[number] = asked
        late = loop.call_later(ANSWERS_WITHIN, self._give_up)
        try:
            with theirs:
                socket.send_fds(line, [json.dumps({"fork": number}).encode() + b"\n"], [theirs.fileno()])
            return await asked
        finally:
            late.cancel()
            self._asked.pop(number, None)

    def kill(self, child: Child) -> None:
        """Kill it, and what it has started. It has ended when `child.ended` says so."""
        child.killed = True
        if child.ended.done():
            return
        try:
            assert self._line is not None
            self._line.send(json.dumps({"kill": child.pid}).encode() + b"\n")
        except OSError:
            _kill_group(child.pid)
            return
        asyncio.get_running_loop().call_later(ENDED_WITHIN, self._insist, child)

    def _insist(self, child: Child) -> None:
        """The nursery has not buried it, and so its number is still its own."""
        if not child.ended.done():
            emit("nursery.late", logging.WARNING, pid=child.pid)
            _kill_group(child.pid)
            late = asyncio.get_running_loop().call_later(ANSWERS_WITHIN, self._give_up)
            child.ended.add_done_callback(lambda _: late.cancel())

    def _give_up(self) -> None:
        """It does not answer: another one is to take its place, and the end of its line tells so."""
        if self._process is not None and self._process.poll() is None:
            emit("nursery.stuck", logging.ERROR, pid=self._process.pid)
            self._process.kill()

    async def stop(self) -> None:
        """End it, and with it all its children. Twice is once."""
        self.gone = True
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            await _end(self._process)
        self._lost()

    def abandon(self) -> None:
        """End the line. It ends in a moment; nothing else is waited for."""
        self.gone = True
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            try:
                self._process.wait(ENDED_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()

    # -- what it says --------------------------------------------------------------------------------------------------

    async def _listen(self, partial: bytes) -> None:
        assert self._line is not None
        loop = asyncio.get_running_loop()
        try:
            while True:
                *lines, partial = partial.split(b"\n")
                for line in lines:
                    self._hear(json.loads(line))
                more = await loop.sock_recv(self._line, 65_536)
                if not more:
                    break
                partial += more
        except OSError:
            pass
        emit("nursery.died", logging.ERROR, children=len(self._children))
        self._lost()

    def _hear(self, word: dict[str, Any]) -> None:
        if "ended" in word:
            if (ended := self._children.pop(word["ended"], None)) is not None:
                ended.bury(word["status"])
            return
        asked = self._asked.get(word.get("forked", word.get("failed", 0)))
        if "forked" in word:
            child = self._children[word["pid"]] = Child(word["pid"])
            if asked is not None and not asked.done():
                asked.set_result(child)  # else it ends with its line
        elif asked is not None and not asked.done():
            asked.set_exception(NoProcess(f"no process for a cpu handler: {word['error']}"))

    def _lost(self) -> None:
        """It has ended, and nobody buries its children: they are killed with it."""
        self.gone = True
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(NoProcess("no process for a cpu handler: their parent has ended"))
        for child in self._children.values():
            _kill_group(child.pid)
            child.bury(None)
        self._children.clear()


async def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait until a nursery has ended whose line was closed: it does so at once."""
    loop = asyncio.get_running_loop()
    late = loop.time() + ENDED_WITHIN
    while process.poll() is None:
        if loop.time() > late:
            process.kill()
        await asyncio.sleep(0.005)


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except OSError:
            pass
