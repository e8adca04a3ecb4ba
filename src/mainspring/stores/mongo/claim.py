"""The claim: look, take, and only where somebody was faster look again.

What is taken is named by id, life and version, so a row that was taken is the row that was seen, and one update says
by its number alone that all went well: two round trips. Where the number is smaller, the rows that carry the token are
read. Tasks with a cap are taken in turn (`lanes`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Any

from mainspring.core.job import Job
from mainspring.core.records import queue_gate, task_gate
from mainspring.errors import StoreUnavailable
from mainspring.stores.base import BATCH_ROWS, Claim
from mainspring.stores.mongo.lanes import LAST_WORDS, TAKES, Lanes, allow
from mainspring.stores.mongo.link import Document, Link
from mainspring.stores.mongo.look import Scene, Want, look, next_due
from mainspring.stores.mongo.rows import read_jobs, tell_of_unreadable
from mainspring.stores.mongo.swap import is_blocked
from mainspring.stores.mongo.take import carrying, taken, update

ROUNDS = 16
"""Looks in one claim at most; each but the first has a reason: a gate that moved, a cap that filled, a race lost."""
WIDER = 4
"""How many times as many rows to look at after a lost race, to choose among them by chance."""
TAKE_TIME = 1.0
"""Seconds that an update may wait for rows which somebody else's open transaction has written."""
ONE_TIME = 0.2
"""Seconds for each row by itself, after that."""
SIDE_BY_SIDE = 10
FIRST_HELD, LAST_HELD = 1.0, 15.0
"""Seconds for which such a row is left alone, the first time and at most. The server ends a transaction after 60."""


class Claimer:
    """The claims of one store, and what it remembers from one to the next."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.held = Held()
        self._beside: set[asyncio.Task[int | None]] = set()
        self._lanes = Lanes(link)
        self._unreadable: set[str] = set()
        """Rows that were taken and are no jobs: not taken again before they can be read."""
        self._closed: dict[str, int | None] = {}
        """Gates that were closed when last seen."""
        self._full: dict[str, set[str]] = {}
        """By queue: tasks whose cap was reached when last seen."""
        self.followed_until: int | None = None

    async def claim(self, want: Want) -> Claim:
        claim = _Claim(self, want)
        await claim.run()
        try:
            return Claim(claim.jobs, await claim.next_due())
        except StoreUnavailable:
            if not claim.jobs:
                raise
            return Claim(claim.jobs, want.now)

    async def close(self) -> None:
        """Wait for what goes on beside the claims, for a moment."""
        if self._beside:
            await asyncio.wait(self._beside, timeout=LAST_WORDS)
        await self._lanes.close()

    def keep(self, task: asyncio.Task[int | None]) -> None:
        """Let it end by itself, whether or not anybody waits for it."""
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    # -- what is believed --------------------------------------------------------------------------------------

    def believed(self, want: Want) -> set[str]:
        """The tasks that may be taken, if all is as it was when last seen."""
        if queue_gate(want.queue) in self._closed:
            return set()
        full = self._full.get(want.queue, set())
        return {task for task in want.tasks if task not in full and task_gate(task) not in self._closed}

    def learn(self, want: Want, scene: Scene) -> None:
        self._closed = scene.closed
        self._full[want.queue] = {task for task, left in scene.open_tasks(want).items() if left == 0}
        self.followed_until = scene.followed_until

    # -- what is no job -----------------------------------------------------------------------------------------

    def leave_out(self, rows: Sequence[Document]) -> bool:
        """Leave those alone for a while that are no jobs, as far as that can be seen; answers whether there are any."""
        wrong = [row for row in rows if not _can_be_taken(row)]
        for row in wrong:
            tell_of_unreadable(row["_id"], "its version, claims or seq is no whole number. Correct or delete it.")
        wrong += [row for row in rows if row["_id"] in self._unreadable and row not in wrong and not read_jobs([row])]
        for row in wrong:
            self.held.add(row["_id"])
        return bool(wrong)

    def read(self, rows: Sequence[Document]) -> list[Job]:
        """The jobs that were taken. Those that cannot be read stay taken until their leases end."""
        jobs = read_jobs(rows)
        if len(jobs) < len(rows):
            self._unreadable |= {row["_id"] for row in rows} - {job.id for job in jobs}
        return jobs

    # -- taking ------------------------------------------------------------------------------------------------

    async def take(self, want: Want, rows: Sequence[Document]) -> list[Document]:
        """Take what is still as it was seen; answers it as it is now, in order."""
        capped = [row for row in rows if want.cap is not None or want.tasks[row["task"]] is not None]
        if not capped:
            return await self._take(want, rows)
        free = [row for row in rows if row not in capped]
        parts = [self._lanes.take(want, capped, partial(self._take, want))]
        if free:
            parts.append(self._take(want, free))
        done = await asyncio.gather(*parts, return_exceptions=True)
        for failed in done:  # only now: what is taken after this is nobody's until its lease ends
            if isinstance(failed, BaseException):
                raise failed
        found = {row["_id"]: row for part in done if not isinstance(part, BaseException) for row in part}
        return [found[row["_id"]] for row in rows if row["_id"] in found]

    async def _take(self, want: Want, rows: Sequence[Document], before: Any = None) -> list[Document]:
        """The same without caps; where a time is given, only as long as the server's clock is before it."""
        time = TAKE_TIME if before is None else TAKES / 1_000
        try:
            with self.link.calls(min(time, self.link.settings.timeout)):
                if await update(self.link["jobs"], want, rows, before) == len(rows):
                    return [taken(want, row) for row in rows]
        except StoreUnavailable as error:  # whatever was done carries the token
            if is_blocked(error):
                await self._take_apart(want, rows, before)
            with self.link.calls():
                return await carrying(self.link.sure("jobs"), want, rows)
        with self.link.calls():
            return await carrying(self.link["jobs"], want, rows)

    async def _take_apart(self, want: Want, rows: Sequence[Document], before: Any) -> None:
        """Take each row by itself, so that one which somebody holds keeps back no other; and remember which it is."""
        slots = asyncio.Semaphore(SIDE_BY_SIDE)

        async def take(row: Document) -> None:
            async with slots:
                try:
                    with self.link.calls(ONE_TIME):
                        await update(self.link["jobs"], want, [row], before)
                except StoreUnavailable as error:
                    if is_blocked(error):
                        self.held.add(row["_id"])

        await asyncio.gather(*map(take, rows))


def _can_be_taken(row: Document) -> bool:
    return all(isinstance(row.get(name), int) for name in ("version", "claims", "seq"))


class Held:
    """Rows that somebody else's open transaction was found to hold: left alone for a while, each time for longer."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[float, float]] = {}
        """Until when, and for how long that was."""

    def add(self, id: str) -> None:
        _, before = self._rows.get(id, (0.0, FIRST_HELD / 2))
        span = min(before * 2, LAST_HELD)
        self._rows[id] = (monotonic() + span, span)

    def now(self) -> list[str]:
        """Those to be left alone."""
        if not self._rows:
            return []
        now = monotonic()
        self._rows = {id: (end, span) for id, (end, span) in self._rows.items() if now < end + LAST_HELD}
        return [id for id, (end, _) in self._rows.items() if now < end]

    def first_end(self) -> int | None:
        """In how many ms one of them is to be looked at again."""
        ends = [end for end, _ in self._rows.values() if end > monotonic()]
        return round((min(ends) - monotonic()) * 1_000) + 1 if ends else None


class _Claim:
    """One claim under way."""

    def __init__(self, claimer: Claimer, want: Want) -> None:
        self.jobs: list[Job] = []
        self._claimer = claimer
        self._want = want
        self._scene = Scene([], {}, {}, None)
        self._races = 0
        self._passed_over = 0
        self._more = True
        """Whether there may be more to take now."""
        self._bound = False
        """Whether the queue's cap is reached."""
        self._next: asyncio.Task[int | None] | None = None

    @property
    def _room(self) -> int:
        return self._want.limit - len(self.jobs)

    async def run(self) -> None:
        for _ in range(ROUNDS):
            self._more = await self._round()
            if not self._more or self._room <= 0:
                return

    async def _round(self) -> bool:
        """Look, and take what is there. Answers whether to look again."""
        claimer, want = self._claimer, self._want
        asked = min(self._room * WIDER, BATCH_ROWS) if self._races else self._room
        tasks = claimer.believed(want)
        self._scene = scene = await look(claimer.link, want, tasks, asked, claimer.held.now())
        claimer.learn(want, scene)
        if claimer.leave_out(scene.rows):
            return True  # there may be others behind them
        possible = claimer.believed(want)
        if possible - tasks:
            return True  # more may be taken than was looked for
        self._bound = scene.room(want) == 0
        if (
            len(scene.rows) < asked and tasks == possible
        ):  # all there is; what comes next is asked for beside the taking
            self._ask_for_next()
        chosen = self._choose([row for row in scene.rows if row["task"] in possible])
        if chosen and not self._bound:
            if not await self._take(chosen):
                return True
        elif tasks == possible or self._bound:
            return False
        return not self._bound and (len(scene.rows) == asked or self._passed_over > 0)

    def _choose(self, rows: Sequence[Document]) -> list[Document]:
        chosen = allowed = allow(self._want, rows, self._scene.live)
        if len(allowed) > self._room:
            chosen = allowed[: self._room]
            if self._races:  # Others are at the same rows. Of equal rank any will do: all are taken in this moment.
                equal = [row for row in allowed if row["rank"] == allowed[0]["rank"]]
                picked = sorted(random.sample(range(len(equal)), min(self._room, len(equal))))
                chosen = [equal[n] for n in picked]
        self._passed_over = len(allowed) - len(chosen)
        return chosen

    async def _take(self, chosen: Sequence[Document]) -> bool:
        """Take the chosen. False: others were faster with some of them."""
        rows = await self._claimer.take(self._want, chosen)
        self.jobs += self._claimer.read(rows)
        if len(rows) == len(chosen):
            return True
        self._races += 1
        await asyncio.sleep(random.uniform(0, 0.001 * 1.6**self._races))
        return False

    def _ask_for_next(self) -> None:
        """Find out what is due next, once."""
        if self._next is None:
            tasks = self._scene.open_tasks(self._want)
            self._next = asyncio.create_task(next_due(self._claimer.link, self._want, tasks), name="mainspring-next")
            self._claimer.keep(self._next)

    async def next_due(self) -> int | None:
        """When to look again."""
        want, scene = self._want, self._scene
        if self._room <= 0 or self._more:
            return want.now
        gate = queue_gate(want.queue)
        if gate in scene.closed:
            return scene.closed[gate]
        times = [end for name, end in scene.closed.items() if name in {task_gate(task) for task in want.tasks}]
        times += [live.end for live in scene.live.values()]
        if self.jobs:
            times.append(want.until)
        held = self._claimer.held.first_end()
        if held is not None:
            times.append(want.now + held)
        if self._bound:
            return min((time for time in times if time is not None), default=None)
        self._ask_for_next()
        assert self._next is not None
        times.append(await self._next)
        return min((time for time in times if time is not None and time > want.now), default=None)
