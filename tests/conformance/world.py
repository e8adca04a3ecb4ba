"""A store, a model of it, workers good and stale, and the oracles. The state machine and the planted faults drive it.

Every call goes to the store and to the model; the two must agree. On top come the oracles that a store and a model
which are wrong in the same way would still fail: what was asked for last is what ran last, poison ends, nobody claims
what is promised to somebody else, edges are legal, nothing is stuck.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from mainspring.core import states
from mainspring.core.ids import key_id, new_id, new_token
from mainspring.core.job import LIVE, Ask, Job, Rule, State
from mainspring.core.policy import Policy, Retry
from mainspring.stores.base import Beat, Query, Store
from tests import edges
from tests.conformance.model import Data, ModelStore, bare
from tests.conformance.oracle import Asked, judge
from tests.conformance.subjects import Subject
from tests.factory import BOOM, LEASE, OUTCOMES, FakeClock, asked, make_ask

POLICY = Policy(retry=Retry(3, "fixed", initial_delay=1, jitter=0), max_interruptions=1, retention=30_000)
QUEUES = ("default", "q")
TASKS = ("t", "u")


class Key(NamedTuple):
    """A key that jobs are asked for by."""

    id: str
    task: str
    rule: Rule
    queue: str = "default"


KEYS = (
    Key(key_id("t", "call", "once"), "t", "once"),
    Key(key_id("t", "call", "merge"), "t", "merge"),
    Key(key_id("u", "call", "skip"), "u", "skip"),
    Key(key_id("u", "change", "merge"), "u", "merge", "q"),
)


@dataclass
class Book:
    """What was asked for and what happened, apart from any row."""

    requested: dict[str, str] = field(default_factory=dict)
    """The input that was asked for last; no entry: cancelled since."""
    ran: dict[str, str] = field(default_factory=dict)
    """The input of the last claim."""
    lost: dict[str, int] = field(default_factory=dict)
    """Claims in a row that vanished."""
    promised: dict[str, int] = field(default_factory=dict)
    """Until when a worker was told that it owns the job."""

    def copy(self) -> Book:
        return Book(dict(self.requested), dict(self.ran), dict(self.lost), {})


@dataclass
class Snapshot:
    restore: Callable[[], None]
    data: Data
    book: Book


class World:
    """All that a history of a store consists of."""

    def __init__(self, subject: Subject, folder: Path, wrap: Callable[[Store], Store] = lambda store: store) -> None:
        self.subject, self.folder = subject, folder
        self.clock = FakeClock()
        self.runner = asyncio.Runner()
        self.real = subject.make(folder, self.clock)
        self.store = wrap(self.real)
        self.model = ModelStore(self.clock)
        self.book = Book()
        self.held: dict[str, list[Job]] = {worker: [] for worker in ("w:1", "w:2", "w:drain")}
        self.ghosts: list[Job] = []
        self.hands: list[Job] = []
        self.snapshot: Snapshot | None = None
        self.run(self.store.open())
        self.run(self.model.open())

    def close(self) -> None:
        self.run(self.store.close())
        self.runner.close()

    def run(self, call: Any) -> Any:
        return self.runner.run(call)

    def both(self, method: str, *args: Any) -> Any:
        """Call the store and the model; they must answer the same, payload aside."""
        answers = [[bare(j) if isinstance(j, Job) else j for j in self.run(getattr(s, method)(*args))]
                   for s in (self.store, self.model)]  # fmt: skip
        assert answers[0] == answers[1], f"{method}{args}:\n{answers[0]}\nexpected\n{answers[1]}"
        return answers[0]

    @property
    def now(self) -> int:
        return self.clock.now

    def truth(self, id: str) -> Job | None:
        return self.model.data.rows.get(id)

    # -- asking

    def ask(self, key: Key, value: str, delay: int = 0, *, fingerprint: bool = True) -> None:
        """As a client does: add, and where somebody holds the key, join and swap."""
        ask = make_ask(value, due=self.now + delay, asked_at=self.now, fingerprint=value if fingerprint else None)
        job = asked(ask, id=key.id, rule=key.rule, task=key.task, queue=key.queue)
        [row] = self.both("add", [job])
        if row.ask == ask.id:
            self.book.requested[key.id] = ask.input
            self.book.lost[key.id] = 0
            return
        joined = states.join(row, ask, self.now)
        if joined is not None:
            assert self.write(row, joined, edges.joined(row, joined), ask), "nobody came between"

    def add_plain(self, task: str, priority: int) -> None:
        """A job without a key."""
        ask = make_ask("plain", due=self.now, asked_at=self.now, priority=priority)
        job = asked(ask, id=new_id(), rule=None, keyed=False, task=task)
        self.both("add", [job])
        self.book.requested[job.id] = ask.input

    # -- writing rows

    def write(self, before: Job, after: Job, edge: edges.Edge, ask: Ask | None = None) -> bool:
        """Save `after`; whether it was taken. An edge that was taken must be legal."""
        stored = self.truth(after.id)
        [saved] = self.both("save", [after])
        if saved is None:
            return False
        assert stored is not None
        assert (stored.version, stored.token) == (before.version, before.token), "a swap under another row"
        assert edge in states.EDGES, f"not a legal edge: {edge}"
        if after.state is State.RUNNING:
            self.book.promised[after.id] = min(after.due_at, self.book.promised.get(after.id, after.due_at))
        else:
            self.book.promised.pop(after.id, None)
        if ask is not None:
            self.book.requested[after.id] = ask.input
        return True

    def read(self, key: Key) -> None:
        """A client reads a row, and will act on it later."""
        self.hands += [row for row in self.both("get", [key.id]) if row is not None]
        del self.hands[:-4]

    def act(self, hand: int, action: str) -> None:
        """A client acts on what it has read, which may be old by now."""
        if not self.hands:
            return
        row = self.hands.pop(hand % len(self.hands))
        full = self.truth(row.id)
        after, name = self._acted(row, full, action)
        if after is None or not self.write(row, after, (row.state, name, after.state)):
            return
        if action == "cancel":
            self.book.requested.pop(row.id, None)
        elif action == "rerun":
            newest = after.again.input if after.again is not None else full.input if full is not None else None
            assert newest is not None
            self.book.requested[row.id] = newest

    def _acted(self, row: Job, full: Job | None, action: str) -> tuple[Job | None, str]:
        if action == "cancel":
            name = "ask_cancel" if row.state is State.RUNNING else "cancel"
            return states.cancel(row, self.now, POLICY), name
        if action == "rerun" and row.state is not State.PAUSED and full is not None:
            return states.rerun(row.evolve(input=full.input), self.now, new_id()), "rerun"
        if action == "reset" and row.state is State.WAITING:
            return states.reset(row), "reset"
        if action == "pause" and row.state is State.WAITING:
            return states.pause(row), "pause"
        if action == "pause" and row.state is State.PAUSED:
            return states.resume(row), "resume"
        if action == "lapse":
            return states.lapse(row, self.now), "lapse"
        return None, ""

    # -- working

    def claim(self, worker: str, queue: str, limit: int, cap: int | None = None, *, crash: bool = False) -> None:
        """Claim and begin; `crash`: the worker dies in between."""
        arguments = Asked(queue, {"t": cap, "u": None}, worker, new_token(), self.now, self.now + LEASE, limit)
        before = dict(self.model.data.rows)
        claim = self.run(self.store.claim(*arguments))
        for job in claim.jobs:
            assert self.book.promised.get(job.id, 0) <= self.now, f"{job.id} is promised to somebody else"
            assert before[job.id].state in (State.WAITING, State.RUNNING)
            self.book.promised[job.id] = job.due_at
            self.book.ran[job.id] = job.input or ""
            if before[job.id].state is State.RUNNING and job.verdict is None:
                self.book.lost[job.id] = self.book.lost.get(job.id, 0) + 1
        judge(self.model, arguments, claim)
        for job in claim.jobs:
            if crash:
                self.ghosts.append(job)
            else:
                self.begin(worker, job)

    def begin(self, worker: str, job: Job) -> None:
        after = states.begin(job, self.now, POLICY)
        poisoned = self.book.lost.get(job.id, 0) > POLICY.max_interruptions
        assert not (poisoned and after.state is State.RUNNING), f"{job.id} vanished too often, and runs again"
        if after != job:
            assert self.write(job, after, edges.began(job, after)), "nobody came between"
            after = after.evolve(version=job.version + 1)
        if after.state is State.RUNNING:
            assert after.due_at == job.due_at, "a lease was changed"
            self.book.ran[job.id] = after.input or ""
            self.held[worker].append(after)
        elif poisoned or after.state is not State.WAITING or after.ask == job.ask:
            self.book.lost[job.id] = 0

    def beat(self, worker: str, progress: str | None = None) -> None:
        """Renew all that the worker believes it owns, each once; what is not answered is lost."""
        rows = list({row.id: row for row in self.held[worker]}.values())
        fresh = self._renew(rows, progress)
        self.ghosts += [row for row in rows if row.id not in fresh]
        self.held[worker] = [fresh[row.id].evolve(input=row.input) for row in rows if row.id in fresh]

    def _renew(self, rows: list[Job], progress: str | None) -> dict[str, Job]:
        stored = {row.id: self.truth(row.id) for row in rows}
        renewed = self.both("renew", [Beat(row.id, row.token, progress) for row in rows], self.now + LEASE)
        for row in renewed:
            before = stored[row.id]
            assert before is not None
            assert before.state is State.RUNNING, "a lease that was not there"
            assert before.token in {r.token for r in rows}, "renewed under an old token"
            assert row.due_at >= before.due_at, "a lease was shortened"
            self.book.promised[row.id] = row.due_at
        return {row.id: row for row in renewed}

    def settle(self, worker: str, number: int, how: str) -> None:
        """As a worker does: settle what it holds; where the swap fails, the fresh row, if it is still its own."""
        if not self.held[worker]:
            return
        mine = self.held[worker].pop(number % len(self.held[worker]))
        if self._settle(mine, how):
            return
        [fresh] = self.run(self.store.get([mine.id]))
        if fresh is None or fresh.token != mine.token or fresh.state is not State.RUNNING:
            self.ghosts.append(mine)
        else:
            assert self._settle(fresh, how), "nobody came between"

    def haunt(self, number: int, how: str) -> None:
        """A stale worker comes back with what it held once."""
        if self.ghosts:
            ghost = self.ghosts[number % len(self.ghosts)]
            if how == "beat":
                self._renew([ghost], None)
            else:
                self._settle(ghost, how)

    def haunt_all(self, key: Key, how: str) -> None:
        """All that were stale on this key come back."""
        for number, ghost in enumerate(list(self.ghosts)):
            if ghost.id == key.id:
                self.haunt(number, how)

    # -- episodes: what single steps reach too rarely

    def usurp(self, key: Key, value: str, first: str, second: str, how: str) -> None:
        """A worker stalls past its lease, another one (or the same, once more) takes over, then it comes back."""
        self.ask(key, value)
        self.claim(first, key.queue, 3)
        self.crash(first)
        self.clock.advance(LEASE)
        self.claim(second, key.queue, 3)
        self.haunt_all(key, how)

    def meet(self, key: Key, worker: str, value: str, how: str) -> None:
        """A client writes a row that a worker holds, and the worker ends its run without having heard of it."""
        self.ask(key, "A")
        self.claim(worker, key.queue, 3)
        self.ask(key, value)
        while self.held[worker]:
            self.settle(worker, 0, how)

    def rebirth(self, key: Key, first: str, second: str, how: str) -> None:
        """A worker sleeps through the end of the row's life, and comes back in the next one."""
        self.usurp(key, "A", first, second, "beat")
        while self.held[second]:
            self.settle(second, 0, "success")
        self.clock.advance(100_000_000)
        self.purge()
        self.ask(key, "B")
        self.claim(second, key.queue, 3)
        self.haunt_all(key, how)

    def failover(self, key: Key, first: str, second: str, how: str) -> None:
        """The store forgets a claim, and the job is claimed once more under the same numbers."""
        self.ask(key, "A")
        self.keep_copy()
        self.claim(first, key.queue, 3)
        self.crash(first)
        self.lose_last_writes()
        self.claim(second, key.queue, 3)
        self.haunt_all(key, how)

    def _settle(self, mine: Job, how: str) -> bool:
        after, edge = ended(mine, how, self.now)
        stored = self.truth(mine.id)
        if not self.write(mine, after, edge):
            return False
        assert stored is not None
        assert stored.state is State.RUNNING, "a settle of what did not run was accepted"
        assert stored.token == mine.token, "a settle was accepted from a worker that was not the owner"
        [left] = self.run(self.store.get([mine.id]))
        assert how in ("doom", "vanish") or left is None or states.landed(left, mine)
        if how not in ("release", "doom", "vanish"):
            self.book.lost[mine.id] = 0
        return True

    def crash(self, worker: str) -> None:
        self.ghosts += self.held[worker]
        self.held[worker] = []
        del self.ghosts[:-8]

    # -- upkeep, and worse

    def purge(self) -> None:
        now = self.now
        assert self.run(self.store.purge(now, 100)) == self.run(self.model.purge(now, 100))
        for id in [id for id in self.book.requested if self.truth(id) is None]:
            del self.book.requested[id]

    def keep_copy(self) -> None:
        assert self.subject.snapshot is not None
        data = replace(self.model.data, rows=dict(self.model.data.rows))
        self.snapshot = Snapshot(self.subject.snapshot(self.real, self.folder), data, self.book.copy())

    def lose_last_writes(self) -> None:
        """A failover: what was written since the copy is gone; workers and their tokens are not."""
        if self.snapshot is None:
            return
        self.snapshot.restore()
        self.model.data, self.book, self.snapshot = self.snapshot.data, self.snapshot.book, None
        self.hands.clear()
        for worker, rows in self.held.items():
            self.held[worker] = [row for row in rows if not self._overtaken(row)]
        self.ghosts = [row for row in self.ghosts if not self._overtaken(row)]

    def _overtaken(self, row: Job) -> bool:
        # Under its own token a worker may know versions that the store has lost and will count again: a swap on equal
        # numbers cannot tell. The design fences claims against lost writes, not the writes within one claim.
        stored = self.truth(row.id)
        return stored is not None and stored.token == row.token and stored.version < row.version

    # -- what must hold

    def check(self) -> None:
        """The invariants, at any time."""
        rows = self.model.data.rows
        assert self.run(self.store.get(list(rows))) == list(rows.values()), "the rows themselves"
        counts = {(c.queue, c.task, c.state): c.jobs for c in self.run(self.store.count(Query()))}
        assert counts == Counter((r.queue, r.task, r.state) for r in rows.values()), "counts are sums"
        for row in rows.values():
            claims = [run.claim for run in row.runs]
            assert claims == sorted(set(claims)), f"a run is recorded once: {row}"
            if row.state.terminal and row.id in self.book.requested:
                assert self.book.ran.get(row.id) == self.book.requested[row.id], f"not what was asked for last: {row}"

    def drain(self) -> None:
        """Let everything end: nothing may be stuck."""
        for worker in self.held:
            self.crash(worker)
        for _ in range(40):
            self.check()
            waiting = [row.due_at for row in self.model.data.rows.values() if row.state in LIVE - {State.PAUSED}]
            if not waiting:
                return
            self.clock.now = max(self.now, min(waiting))
            for queue in QUEUES:
                self.claim("w:drain", queue, 50)
            while self.held["w:drain"]:
                self.settle("w:drain", 0, "success")
        raise AssertionError(f"stuck: {[r for r in self.model.data.rows.values() if not r.state.terminal]}")


def ended(job: Job, how: str, now: int) -> tuple[Job, edges.Edge]:
    """`job` after its run ended, and the edge that it took."""
    if how == "release":
        after = states.release(job, now, now, POLICY, ran=True)
        return after, edges.released(job, after)
    if how == "doom":
        return states.doom(job, now), (job.state, "doom", State.RUNNING)
    if how == "vanish":
        return states.vanish(job, BOOM, now, POLICY), (job.state, "vanish", State.RUNNING)
    after = states.settle(job, OUTCOMES[how], now, POLICY)
    return after, edges.settled(job, after, OUTCOMES[how])
