"""A connection that heals: calls go over one shared `Line`, which is replaced when it breaks or the master moves.

What the server refused before it did anything is tried again until the deadline of the call; so is a connection that
cannot be made. A call that was sent and got no answer is never repeated: `StoreUnavailable` says so, and the store
contract says what its caller does then. However many calls wait for a connection, one attempt is under way.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from mainspring.errors import StoreError
from mainspring.stores.redis import failures
from mainspring.stores.redis.connecting import connect
from mainspring.stores.redis.failures import ELSEWHERE, HARMLESS, Broken, Misplaced, Refusal
from mainspring.stores.redis.line import Argument, Line, Server, answers
from mainspring.stores.redis.scripts import Script, Text
from mainspring.stores.redis.settings import Settings
from mainspring.stores.redis.topology import Topology

T = TypeVar("T")
SPARE = 2
"""Connections kept for blocking reads that nobody is in."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5


class Link:
    """The way to the server. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.namespace = f"{{{settings.namespace}}}"
        """What every key begins with: a hash tag, so that all keys are in one slot."""
        self._topology = Topology(settings)
        self._open = False
        self._server: Server | None = None
        self._line: Line | None = None
        self._lines: set[Line] = set()
        """All that may be connected, for `close`."""
        self._spare: list[Line] = []
        self._search: asyncio.Task[Line | StoreError] | None = None
        self._wanted = 0.0
        """Until when, in the loop's time, somebody waits for the search."""
        self._trouble: BaseException | None = None

    # -- life --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect. Twice is once. Raises `StoreUnusable`, `StoreReadOnly` or `StoreUnavailable`."""
        if self._open:
            return
        self._open = True
        try:
            await self._shared(self._deadline())
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Hang up all connections; what is in flight fails, and later calls too. Twice is once."""
        self._open = False
        search, self._search = self._search, None
        if search is not None:
            search.cancel()
            await asyncio.gather(search, return_exceptions=True)
        self._line = None
        self._spare.clear()
        lines, self._lines = self._lines, set()
        for line in lines:
            await line.close()
        await asyncio.sleep(0)  # a connection that was given up in the making closes its socket in the next turn

    def check_open(self) -> None:
        """Raise `StoreUnavailable` where `open` was not called yet, or `close` was."""
        if not self._open:
            raise failures.not_open(self.settings)

    @property
    def server(self) -> Server:
        """What the server says that it is, at the last connection. Raises `StoreUnavailable` before there was one."""
        if self._server is None:
            raise failures.not_open(self.settings)
        return self._server

    # -- calls -------------------------------------------------------------------------------------------------

    async def command(self, *args: Argument) -> Any:
        """The reply to one command."""
        return await self._carry(lambda line: line.send(*args))

    async def commands(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """The replies to several commands: one write, one round trip, nothing of ours between them.

        After all have answered, raises the first error. Those that were refused in passing are sent again by
        themselves, in their order.
        """
        replies: list[Any] = [None] * len(commands)
        missing = list(range(len(commands)))

        async def attempt(line: Line) -> list[Any]:
            nonlocal missing
            # A line that broke just now sends nothing: all of them are missing still.
            futures = line.send_many([commands[i] for i in missing])
            sent, missing = missing, []
            for index, reply in zip(sent, await answers(futures), strict=True):
                replies[index] = reply
                if isinstance(reply, Refusal) and reply.code in HARMLESS:
                    missing.append(index)
            errors = [reply for reply in replies if isinstance(reply, Exception)]
            broken = [error for error in errors if isinstance(error, Broken)]
            if errors:
                raise (broken or [replies[i] for i in missing] or errors)[0]
            return replies

        return await self._carry(attempt) if commands else []

    async def call(self, script: Script, *args: Argument) -> Any:
        """The reply of a script, with `{namespace}` as its only key. It is loaded where the server lacks it."""
        return await self._carry(lambda line: self._run(line, script, args))

    async def write(self, script: Script, *args: Argument) -> Any:
        """As `call`, answered when as many replicas as the settings ask for have it too.

        Raises `StoreUnavailable` where they do not say so in time: the master has it, a failover may lose it.
        """
        if not self.settings.replicas:
            return await self.call(script, *args)
        reply, replicas = await self._carry(lambda shared: self._replicated(shared, script, args))
        if isinstance(replicas, Exception) or replicas < self.settings.replicas:
            raise failures.too_few_replicas(self.settings, replicas)
        return reply

    async def _replicated(self, shared: Line, script: Script, args: tuple[Argument, ...]) -> tuple[Any, Any]:
        """The reply of a script, and how many replicas have what it wrote."""
        line = await self._borrow(shared)  # for WAIT holds up all that comes after it on its connection
        command = self._command(line, script, args)
        # A repeated call finds all as it should be and writes nothing. Valkey then has nothing to wait for, and says
        # that the replicas have it all; so something is written in any case.
        touch = ("HSET", f"{self.namespace}:meta", "replicas", self.settings.replicas)
        wait = ("WAIT", self.settings.replicas, round(self.settings.timeout * 1_000 / 2))
        try:
            reply, _, replicas = await answers(line.send_many([command, touch, wait]))
            if isinstance(reply, Refusal) and reply.code == "NOSCRIPT":
                load = ("SCRIPT", "LOAD", self._text(line, script).source)
                _, reply, _, replicas = await answers(line.send_many([load, command, touch, wait]))
        finally:
            self.give_back(line)
        if isinstance(reply, Exception):
            raise reply
        return reply, replicas

    async def _run(self, line: Line, script: Script, args: tuple[Argument, ...]) -> Any:
        command = self._command(line, script, args)
        try:
            return await line.send(*command)
        except Refusal as error:
            if error.code != "NOSCRIPT":
                raise
        load = ("SCRIPT", "LOAD", self._text(line, script).source)
        loaded, reply = await answers(line.send_many([load, command]))
        if isinstance(reply, Exception):
            raise loaded if isinstance(loaded, Refusal) else reply
        return reply

    def _command(self, line: Line, script: Script, args: tuple[Argument, ...]) -> tuple[Argument, ...]:
        return ("EVALSHA", self._text(line, script).sha1, 1, self.namespace, *args)

    @staticmethod
    def _text(line: Line, script: Script) -> Text:
        return script.flagged if line.server.flags else script.plain

    @asynccontextmanager
    async def blocking(self) -> AsyncIterator[Line]:
        """A connection of one's own, for commands that block: `await line.block(args, seconds)`.

        It is kept for the next borrower unless a command is still in flight on it, as when the wait was cancelled; then
        it is hung up. To have the server let go of it first: `command("CLIENT", "UNBLOCK", line.id)`.
        """
        line = await self.borrow()
        try:
            yield line
        except (Refusal, Broken) as error:
            raise self.judged(line, error) from error
        finally:
            self.give_back(line)

    async def borrow(self) -> Line:
        """A connection of one's own, until `give_back`."""
        return await self._carry(self._borrow)

    def judged(self, line: Line, error: Refusal | Broken) -> StoreError:
        """What a caller is to see of an error on a line of its own; where the line leads astray, it is left."""
        if isinstance(error, Broken):
            self._doubt(line)
            return failures.lost(self.settings, error)
        if error.code in HARMLESS:
            self._distrust(line, error)
            return failures.unavailable(self.settings, error)
        return failures.refused(self.settings, line.address, error)

    # -- the shared line ---------------------------------------------------------------------------------------

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self.settings.timeout

    async def _carry(self, attempt: Callable[[Line], Awaitable[T]]) -> T:
        """Make `attempt` on the shared line, and again as long as what stands in its way may pass."""
        until, pause = self._deadline(), _FIRST_PAUSE
        while True:
            line = self._line
            if line is None or not line.usable:
                line = await self._shared(until)
            try:
                if line.full:
                    await line.ready()
                return await attempt(line)
            except (Refusal, Broken) as error:
                self._judge(error, line, until)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _judge(self, error: Refusal | Broken, line: Line, until: float) -> None:
        """Raise what a caller is to see, or return where another attempt may do."""
        if isinstance(error, Broken):
            if error.unanswered:
                raise failures.lost(self.settings, error) from error
        else:
            if error.code not in HARMLESS:
                raise failures.refused(self.settings, line.address, error) from error
            if error.code in ELSEWHERE:
                self._leave(line, error)
        if asyncio.get_running_loop().time() >= until:
            raise failures.unavailable(self.settings, error) from error

    def _leave(self, line: Line, error: Refusal) -> None:
        """Have the next call look for the master anew; what is in flight on this line may end there."""
        if line is self._line:
            self._line = None
            if error.code == "MOVED":
                self._topology.moved(error, line.address)
            else:
                self._topology.doubt()
        line.retire()

    def _distrust(self, line: Line, error: Refusal) -> None:
        """As `_leave`, for a line of one's own that leads to where the shared one does."""
        if error.code not in ELSEWHERE:
            return
        line.hang_up()
        if self._line is not None and self._line.address == line.address:
            self._leave(self._line, error)

    def _doubt(self, line: Line) -> None:
        """Replace the shared line too where it leads to the same place and is silent: what broke this one may have
        befallen it, and with nothing in flight nobody would notice until the next call has failed."""
        if self._line is not None and self._line.address == line.address and self._line.silent:
            shared, self._line = self._line, None
            shared.retire()

    async def _shared(self, until: float) -> Line:
        """The shared line, when there is one. One search serves all who wait."""
        if not self._open:
            raise failures.not_open(self.settings)
        self._wanted = max(self._wanted, until)
        search = self._search
        if search is None or search.done():
            search = self._search = asyncio.create_task(self._find())
        await asyncio.wait([search], timeout=max(0.0, until - asyncio.get_running_loop().time()))
        if not self._open:
            raise failures.not_open(self.settings)
        if not search.done():
            raise failures.unavailable(self.settings, self._trouble)
        found = search.result()
        if isinstance(found, StoreError):
            # One for each waiter: a raised exception keeps the stack of who raised it.
            raise type(found)(str(found)) from found
        return found

    async def _find(self) -> Line | StoreError:
        """Connect to the master. Tries again as long as anybody waits; with one error after another, ever slower."""
        loop, pause, self._trouble = asyncio.get_running_loop(), _FIRST_PAUSE, None
        while True:
            try:
                line = await self._topology.connect()
            except (Broken, Misplaced) as error:
                self._trouble = error
                self._topology.doubt()
            except StoreError as error:
                return error
            else:
                self._keep(line)
                self._line, self._server = line, line.server
                return line
            if loop.time() >= self._wanted:
                return failures.unavailable(self.settings, self._trouble)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _keep(self, line: Line) -> None:
        self._lines = {each for each in self._lines if each.usable}
        self._lines.add(line)

    # -- lines of one's own ------------------------------------------------------------------------------------

    async def _borrow(self, shared: Line) -> Line:
        """A spare line to where the shared one leads, or a new one."""
        while self._spare:
            line = self._spare.pop()
            if line.usable and line.address == shared.address:
                return line
            line.hang_up()
        line = await connect(shared.address, self.settings)
        if not self._open:
            line.hang_up()
            raise failures.not_open(self.settings)
        self._keep(line)
        return line

    def give_back(self, line: Line) -> None:
        """Keep a borrowed line for the next borrower; one with a command in flight is hung up."""
        if self._open and line.usable and not line.busy and len(self._spare) < SPARE:
            self._spare.append(line)
        else:
            line.hang_up()
