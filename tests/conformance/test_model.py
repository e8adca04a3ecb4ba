"""Whole lives of jobs at random, on every store beside the model. Hypothesis looks for one that breaks an oracle."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mainspring.stores.base import Store
from tests.conformance.subjects import EVERY, Subject
from tests.conformance.world import KEYS, QUEUES, TASKS, Key, World
from tests.factory import LEASE, OUTCOMES

Wrap = Callable[[Store], Store]
keys = st.sampled_from(KEYS)
workers = st.sampled_from(["w:1", "w:2"])
ways = st.sampled_from([*OUTCOMES, "release", "doom", "vanish"])
returns = st.sampled_from([*OUTCOMES, "release", "doom", "vanish", "beat"])
numbers = st.integers(0, 3)


class Life(RuleBasedStateMachine):
    """The rules; `machine` gives it a store."""

    subject: Subject
    wrap: Wrap

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mainspring-"))
        self.world = World(self.subject, self.folder, type(self).wrap)

    @rule(key=keys, value=st.sampled_from("AB"), delay=st.sampled_from([0, 0, 2_000]), fingerprint=st.booleans())
    def ask(self, key: Key, value: str, delay: int, fingerprint: bool) -> None:
        self.world.ask(key, value, delay, fingerprint=fingerprint)

    @rule(task=st.sampled_from(TASKS), priority=st.sampled_from([0, 50, 100]))
    def add_plain(self, task: str, priority: int) -> None:
        self.world.add_plain(task, priority)

    @rule(
        worker=workers, queue=st.sampled_from(QUEUES), limit=st.integers(1, 3), cap=st.sampled_from([None, None, 1, 2])
    )
    def claim(self, worker: str, queue: str, limit: int, cap: int | None) -> None:
        self.world.claim(worker, queue, limit, cap)

    @rule(worker=workers, queue=st.sampled_from(QUEUES))
    def claim_and_crash(self, worker: str, queue: str) -> None:
        self.world.claim(worker, queue, 1, crash=True)

    @rule(worker=workers, progress=st.sampled_from([None, "50"]))
    def beat(self, worker: str, progress: str | None) -> None:
        self.world.beat(worker, progress)

    @rule(worker=workers, number=numbers, how=ways)
    def settle(self, worker: str, number: int, how: str) -> None:
        self.world.settle(worker, number, how)

    @precondition(lambda self: self.world.ghosts)
    @rule(number=numbers, how=returns)
    def haunt(self, number: int, how: str) -> None:
        self.world.haunt(number, how)

    @rule(worker=workers)
    def crash(self, worker: str) -> None:
        self.world.crash(worker)

    @rule(key=keys, value=st.sampled_from("AB"), first=workers, second=workers, how=returns)
    def usurp(self, key: Key, value: str, first: str, second: str, how: str) -> None:
        self.world.usurp(key, value, first, second, how)

    @rule(key=keys, worker=workers, value=st.sampled_from("AB"), how=ways)
    def meet(self, key: Key, worker: str, value: str, how: str) -> None:
        self.world.meet(key, worker, value, how)

    @rule(key=keys, first=workers, second=workers, how=returns)
    def rebirth(self, key: Key, first: str, second: str, how: str) -> None:
        self.world.rebirth(key, first, second, how)

    @precondition(lambda self: self.subject.snapshot is not None)
    @rule(key=keys, first=workers, second=workers, how=returns)
    def failover(self, key: Key, first: str, second: str, how: str) -> None:
        self.world.failover(key, first, second, how)

    @rule(key=keys)
    def read(self, key: Key) -> None:
        self.world.read(key)

    @precondition(lambda self: self.world.hands)
    @rule(hand=numbers, action=st.sampled_from(["cancel", "rerun", "reset", "pause", "lapse"]))
    def act(self, hand: int, action: str) -> None:
        self.world.act(hand, action)

    @rule(ms=st.sampled_from([1, 1_000, LEASE, 100_000_000]))
    def advance(self, ms: int) -> None:
        self.world.clock.advance(ms)

    @rule()
    def purge(self) -> None:
        self.world.purge()

    @precondition(lambda self: self.subject.snapshot is not None)
    @rule()
    def keep_copy(self) -> None:
        self.world.keep_copy()

    @precondition(lambda self: self.world.snapshot is not None)
    @rule()
    def lose_last_writes(self) -> None:
        self.world.lose_last_writes()

    @invariant()
    def check(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:  # else a history that failed already says more
                self.subject.audit(self.folder)
                self.world.drain()
                self.subject.audit(self.folder)
        finally:
            self.world.close()
            self.subject.drop(self.folder)
            shutil.rmtree(self.folder)


def machine(subject: Subject, wrap: Wrap = lambda store: store) -> type[Life]:
    """The state machine for a subject; `wrap` may put something between it and its store."""
    return type("Life", (Life,), {"subject": subject, "wrap": staticmethod(wrap)})


QUIET = list(HealthCheck)
BRIEF = "memory"
"""Whole lives on a server take ten seconds, in a file six: left to the slow tests."""
BRIEFLY = [
    pytest.param(*each.values, id=each.id, marks=[*each.marks, *([] if each.id == BRIEF else [pytest.mark.slow])])
    for each in EVERY
]


@pytest.mark.parametrize("subject", BRIEFLY)
def test_life(subject: Subject) -> None:
    deep = settings().max_examples > 100
    phases = (Phase.generate, Phase.shrink) if deep else (Phase.generate,)
    run_state_machine_as_test(
        machine(subject),
        settings=settings(stateful_step_count=40, phases=phases, database=None, suppress_health_check=QUIET),
    )
