"""Random histories of asks and runs, without a store: what was asked for last is what ran last, edges are legal.

Seeded `random` instead of Hypothesis: 10,000 histories of some 20 steps take two seconds; a failing one says its seed.
"""

from __future__ import annotations

from random import Random

import pytest

from mainspring.core import states
from mainspring.core.ids import new_id
from mainspring.core.job import Job, State
from mainspring.core.policy import Policy, Retry
from tests import edges
from tests.edges import Edge
from tests.factory import BOOM, LEASE, NOW, OUTCOMES, asked, claimed, make_ask

POLICY = Policy(retry=Retry(3, "fixed", initial_delay=1, jitter=0))


class History:
    """One key's life: asks for A, B, A, …, and a worker that now and then vanishes."""

    def __init__(self, seed: int, *, fingerprints: bool, orders: bool) -> None:
        self.random = Random(seed)
        self.fingerprints, self.orders = fingerprints, orders
        self.now, self.asks = NOW, 0
        self.newest = (-1, "")
        self.ran = ""
        self.job: Job | None = None

    def ask(self) -> None:
        self.asks += 1
        # Without orders asks come as they are made; with orders each value is new, and they come in any order.
        order = self.random.randrange(1_000) if self.orders else self.asks
        value = f"v{order}" if self.orders else self.random.choice("AB")
        ask = make_ask(
            value, due=self.now + self.random.choice((0, 500)), asked_at=self.now,
            fingerprint=value if self.fingerprints else None, order=order if self.orders else None,
        )  # fmt: skip
        if order >= self.newest[0]:
            self.newest = (order, ask.input)
        if self.job is None:
            self.job = asked(ask, id=new_id())
        else:
            self.job = states.join(self.job, ask, self.now) or self.job

    def claim(self) -> None:
        """Claim what is due (what runs has vanished then), and begin."""
        assert self.job is not None
        if self.job.state in (State.WAITING, State.RUNNING):
            self.now = max(self.now, self.job.due_at)
            self.job = states.begin(claimed(self.job, self.now), self.now, POLICY)
            if self.job.state is State.RUNNING:
                assert self.job.input is not None
                self.ran = self.job.input

    def end(self, outcome: str | None = None) -> None:
        assert self.job is not None
        if self.job.state is not State.RUNNING:
            return
        how = outcome or self.random.choice((*OUTCOMES, "released", "doomed", "died"))
        if how == "released":
            self.job = states.release(self.job, self.now, self.now, POLICY, ran=self.random.random() < 0.5)
        elif how == "doomed":
            self.job = states.doom(self.job, self.now)
        elif how == "died":
            self.job = states.vanish(self.job, BOOM, self.now, POLICY)
        else:
            self.job = states.settle(self.job, OUTCOMES[how], self.now, POLICY)

    def drain(self) -> None:
        for _ in range(20):
            assert self.job is not None
            if self.job.state.terminal:
                return
            self.claim()
            self.end("success")
        raise AssertionError(f"stuck: {self.job}")

    def run(self) -> None:
        self.ask()
        for _ in range(20):
            self.random.choice((self.ask, self.claim, self.end))()
            self.now += self.random.choice((0, 1, 400))
        self.drain()


@pytest.mark.parametrize("fingerprints", [True, False])
@pytest.mark.parametrize("orders", [True, False])
def test_what_was_asked_for_last_is_what_ran_last(fingerprints: bool, orders: bool) -> None:
    for seed in range(2_500):
        history = History(seed, fingerprints=fingerprints, orders=orders)
        history.run()
        assert history.ran == history.newest[1], f"seed {seed}: {history.job}"


class Walk:
    """Any transition, from any state; remembers the edges it took."""

    def __init__(self, seed: int) -> None:
        self.random, self.now, self.taken = Random(seed), NOW, set[Edge]()
        self.job = asked(make_ask("A", fingerprint="A"), id=new_id())

    def take(self, edge: Edge, after: Job) -> None:
        assert edge in states.EDGES, f"an edge that is not in EDGES: {edge}"
        self.taken.add(edge)
        self.job = after

    def step(self) -> None:
        self.now += self.random.choice((0, 1, LEASE))
        if self.job.state is State.RUNNING and self.random.random() < 0.6:
            ends = (self.settle, self.settle, self.release, self.lapse, self.vanish, self.doom, self.renew)
            self.random.choice(ends)()
        else:
            self.random.choice((self.claim, self.claim, self.ask, self.cancel, self.rerun, self.reset, self.pause))()

    def claim(self) -> None:
        before = self.job
        if before.state not in (State.WAITING, State.RUNNING):
            return
        self.now = max(self.now, before.due_at)
        row = claimed(before, self.now)
        self.take((before.state, "claim", row.state), row)
        if self.random.random() < 0.8:
            after = states.begin(row, self.now, POLICY)
            self.take(edges.began(row, after), after)

    def settle(self) -> None:
        outcome = OUTCOMES[self.random.choice(list(OUTCOMES))]
        after = states.settle(self.job, outcome, self.now, POLICY)
        self.take(edges.settled(self.job, after, outcome), after)

    def release(self) -> None:
        after = states.release(self.job, self.now, self.now, POLICY)
        self.take(edges.released(self.job, after), after)

    def lapse(self) -> None:
        if (after := states.lapse(self.job, self.now)) is not None:
            self.take((self.job.state, "lapse", after.state), after)

    def vanish(self) -> None:
        after = states.vanish(self.job, BOOM, self.now, POLICY)
        self.take((self.job.state, "vanish", after.state), after)
        self.claim()  # its owner has nothing more to say

    def doom(self) -> None:
        self.take((self.job.state, "doom", State.RUNNING), states.doom(self.job, self.now))

    def renew(self) -> None:
        after = self.job.evolve(due_at=max(self.job.due_at, self.now + LEASE))
        self.take((self.job.state, "renew", after.state), after)

    def ask(self) -> None:
        start_by = self.random.choice((None, self.now + 1))
        ask = make_ask(self.random.choice("AB"), due=self.now, asked_at=self.now, start_by=start_by)
        after = states.join(self.job, ask, self.now)
        assert after is not None
        self.take(edges.joined(self.job, after), after)

    def cancel(self) -> None:
        after = states.cancel(self.job, self.now, POLICY)
        assert (after is None) == self.job.state.terminal
        if after is not None:
            name = "ask_cancel" if after.state is State.RUNNING else "cancel"
            self.take((self.job.state, name, after.state), after)

    def rerun(self) -> None:
        if self.job.state is not State.PAUSED:
            after = states.rerun(self.job, self.now, new_id())
            self.take((self.job.state, "rerun", after.state), after)

    def reset(self) -> None:
        if self.job.state is State.WAITING:
            self.take((self.job.state, "reset", State.WAITING), states.reset(self.job))

    def pause(self) -> None:
        if self.job.state is State.WAITING:
            self.take((self.job.state, "pause", State.PAUSED), states.pause(self.job))
        elif self.job.state is State.PAUSED and self.random.random() < 0.5:
            self.take((self.job.state, "resume", State.WAITING), states.resume(self.job))


def test_every_transition_is_an_edge_and_every_edge_is_taken() -> None:
    taken: set[Edge] = set()
    for seed in range(300):
        walk = Walk(seed)
        for _ in range(60):
            walk.step()
            assert_sound(walk.job)
        taken |= walk.taken
    assert states.EDGES - taken == set(), "edges that no walk took"


def assert_sound(job: Job) -> None:
    """What holds of a job at any time."""
    claims = [run.claim for run in job.runs]
    assert claims == sorted(set(claims)), f"a run is recorded once, in order: {claims}"
    assert 0 <= job.settled <= job.claims
    assert job.state is State.RUNNING or job.again is None
    assert job.state is State.RUNNING or (job.cancelling, job.verdict, job.erase) == (None, None, False)
    assert job.state.terminal == (job.finished_at is not None) == (job.expires_at is not None)
    if job.state.terminal:
        assert job.interruptions == 0
