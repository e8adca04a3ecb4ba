"""The suite is judged: with each of these faults planted, the state machine must fail; without, it must not.

A suite that cannot see a fault proves nothing by passing. Deterministic: the same source has the same histories.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from mainspring.core import states
from mainspring.core.job import Ask, Job
from mainspring.core.policy import Policy
from mainspring.stores.base import Store
from tests.conformance.faulty import STORE_FAULTS
from tests.conformance.subjects import FILE, MEMORY, Subject
from tests.conformance.test_model import QUIET, machine

pytestmark = pytest.mark.slow  # seconds in all, and others show the essentials quickly

# Hypothesis draws on the constants in our source, so any change of it makes other histories: what they would meet too
# rarely is an episode of the machine. The search ends with the first that meets the fault.
FEW = settings(
    max_examples=100, stateful_step_count=25, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
    report_multiple_bugs=False, suppress_health_check=QUIET,
)  # fmt: skip


def search(subject: Subject, wrap: Callable[[Store], Store] = lambda store: store, most: settings = FEW) -> None:
    run_state_machine_as_test(machine(subject, wrap), settings=most)


# What each fault must break; a failure for another reason would prove nothing.
BROKEN = {
    "1 save without version check": "save",
    "2 heartbeat without version bump": "renew",
    "5 fence on the running state only": "save|renew",
    "7 claim without its count": "what a claim writes",
    "8 fence by claims": "save|renew",
    "9 fence by worker": "save|renew",
}


@pytest.mark.parametrize("fault", STORE_FAULTS)
def test_a_fault_of_a_store_is_noticed(fault: str) -> None:
    with pytest.raises(AssertionError, match=BROKEN[fault]):
        search(MEMORY, STORE_FAULTS[fault])


@pytest.mark.parametrize("fault", [f for f in STORE_FAULTS if f[0] in "89"])
def test_a_wrong_fence_is_noticed_where_last_writes_are_lost(fault: str) -> None:
    with pytest.raises(AssertionError, match=BROKEN[fault]):
        search(FILE, STORE_FAULTS[fault])


def dropped(job: Job, ask: Ask, max_wait: int | None) -> Job:
    """3: a change during a run is accepted and dropped."""
    return job


def uncounted(job: Job, now: int, policy: Policy) -> Job:
    """4: runs that vanished are not counted."""
    return job


def forgotten(again: Ask, run: Job, outcome: object) -> bool:
    """6: the ask that came during a run is forgotten at its end."""
    return False


PURE_FAULTS: list[tuple[str, str, object, str]] = [
    ("3 a change during a run is dropped", "_remember", dropped, "not what was asked for last"),
    ("4 lost runs are not counted", "begin", uncounted, "vanished too often, and runs again"),
    ("6 again is forgotten", "_counts", forgotten, "not what was asked for last"),
]


@pytest.mark.parametrize(("fault", "name", "wrong", "broken"), PURE_FAULTS, ids=[f[0] for f in PURE_FAULTS])
def test_a_fault_of_a_transition_is_noticed(
    fault: str, name: str, wrong: object, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, name, wrong)
    with pytest.raises(AssertionError, match=broken):
        search(MEMORY)


@pytest.mark.slow
def test_without_a_fault_the_same_histories_pass() -> None:
    search(MEMORY, most=settings(FEW, max_examples=20))
