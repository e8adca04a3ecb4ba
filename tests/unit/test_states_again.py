"""The table of `again`: an ask during a run x how the run ended x when somebody cancelled.

Written out as a table on purpose: it does not share a line of reasoning with the code.
"""

from __future__ import annotations

import pytest

from mainspring.core import states
from mainspring.core.job import Job, State
from mainspring.core.outcome import Failure
from mainspring.core.policy import Policy, Retry
from tests.factory import BOOM, NOW, OUTCOMES, asked, claimed, make_ask

POLICY = Policy(retry=Retry(3, "fixed", initial_delay=10, jitter=0))
OWN, OTHER = "own", "other"
NOTHING, CANCEL, FIRST, AFTER = "no cancel", "cancel alone", "cancel, then ask", "ask, then cancel"

# what is left:  A = the run's own input, N = the new one
PLAIN = {
    "success": "completed A",
    "failure": "waiting A",
    "exhausted": "dead A",
    "timeout": "waiting A",
    "hopeless": "dead A",
    "forgotten": "failed A",
    "dead": "dead A",
    "snooze": "waiting A",
    "skip": "completed A",
    "cancelled": "cancelled A",
    "vanished": "running A",
    "died": "running A",
    "doomed": "waiting A",
    "released": "waiting A",
}
ENDED_BY_CANCEL = (
    "failure", "exhausted", "timeout", "hopeless", "forgotten", "snooze", "vanished", "died", "doomed", "released",
)  # fmt: skip
CANCELLED = PLAIN | dict.fromkeys(ENDED_BY_CANCEL, "cancelled A")
NEW = dict.fromkeys(PLAIN, "waiting N") | {"vanished": "running N", "died": "running N", "doomed": "running N"}
# The same values again count only where the run turns out to have been for nothing.
SKIPPED = {"skip": "waiting N"}

TABLE = {
    (None, NOTHING): PLAIN,
    (None, CANCEL): CANCELLED,
    (OTHER, NOTHING): NEW,
    (OTHER, FIRST): NEW,
    (OTHER, AFTER): CANCELLED,
    (OWN, NOTHING): PLAIN | SKIPPED,
    (OWN, FIRST): CANCELLED | SKIPPED,
    (OWN, AFTER): CANCELLED,
}
ROWS = [(ask, order, end, left) for (ask, order), row in TABLE.items() for end, left in row.items()]


def ended(job: Job, how: str) -> Job:
    if how == "vanished":
        return states.begin(claimed(job.evolve(due_at=NOW)), NOW, POLICY)
    if how == "died":
        return states.begin(claimed(states.vanish(job, BOOM, NOW, POLICY)), NOW, POLICY)
    if how == "doomed":
        return states.begin(claimed(states.doom(job, NOW)), NOW, POLICY)
    if how == "released":
        return states.release(job, NOW, NOW, POLICY, ran=True)
    if how == "exhausted":
        return states.settle(job.evolve(attempts=2), Failure(error=BOOM), NOW, POLICY)
    return states.settle(job, OUTCOMES[how], NOW, POLICY)


def interfered(job: Job, ask: str | None, order: str) -> Job:
    new = make_ask("N", fingerprint="f-A" if ask == OWN else "f-N", order=9)
    for step in {NOTHING: "a", CANCEL: "c", FIRST: "ca", AFTER: "ac"}[order]:
        changed = states.cancel(job, NOW, POLICY) if step == "c" else states.join(job, new, NOW) if ask else job
        assert changed is not None
        job = changed
    return job


@pytest.mark.parametrize(("ask", "order", "end", "left"), ROWS, ids=[f"{a}-{o}-{e}" for a, o, e, _ in ROWS])
def test_the_table(ask: str | None, order: str, end: str, left: str) -> None:
    running = claimed(asked(make_ask("A", fingerprint="f-A", order=3)))
    job = ended(interfered(running, ask, order), end)
    value = "A" if job.input == running.input else "N"
    assert f"{job.state} {value}" == left
    assert job.again is None
    assert job.order == (3 if ask is None else 9), "an order that was seen stays seen"
    if value == "N":
        assert (job.attempts, job.failed_at, job.error) == (0, None, None), "new data is a new sequence"
        assert job.cancelling is None
    if job.state is not State.RUNNING:
        assert (job.cancelling, job.erase, job.verdict) == (None, False, None)


@pytest.mark.parametrize("end", list(PLAIN))
def test_an_ask_without_fingerprint_always_counts(end: str) -> None:
    running = claimed(asked(make_ask("A")))
    asked_again = states.join(running, make_ask("N"), NOW)
    assert asked_again is not None
    job = ended(asked_again, end)
    assert job.input == '{"value":"N"}'


@pytest.mark.parametrize("end", list(PLAIN))
def test_a_run_asked_for_by_hand_counts_whatever_the_values(end: str) -> None:
    running = claimed(asked(make_ask("A", fingerprint="f-A"), attempts=1))
    job = ended(states.rerun(running, NOW, "by-hand"), end)
    assert job.state is (State.RUNNING if end in ("vanished", "died", "doomed") else State.WAITING)
    assert (job.attempts, job.ask) == (0, "by-hand")


def test_a_run_asked_for_by_hand_outlives_later_values() -> None:
    job = states.rerun(claimed(asked(make_ask("A", fingerprint="f-A"))), NOW, "by-hand")
    for value in "BA":
        joined = states.join(job, make_ask(value, fingerprint=f"f-{value}"), NOW)
        assert joined is not None
        job = joined
    assert ended(job, "success").state is State.WAITING


@pytest.mark.parametrize("end", ["vanished", "released"])
def test_an_ask_due_later_waits_for_its_time_also_after_a_lost_run(end: str) -> None:
    running = claimed(asked(make_ask("A")))
    joined = states.join(running, make_ask("N", due=NOW + 60_000), NOW)
    assert joined is not None
    job = ended(joined, end)
    assert (job.state, job.due_at, job.scheduled_at) == (State.WAITING, NOW + 60_000, NOW + 60_000)


def test_new_data_does_not_wait_for_a_snooze() -> None:
    running = claimed(asked(make_ask("A")))
    joined = states.join(running, make_ask("N", due=NOW + 1), NOW)
    assert joined is not None
    assert ended(joined, "snooze").due_at == NOW + 1


def test_an_ask_taken_up_after_a_lost_run_starts_clean_and_in_time_only() -> None:
    running = claimed(asked(make_ask("A"))).evolve(progress="50")
    joined = states.join(running, make_ask("N", start_by=NOW + 5), NOW)
    assert joined is not None
    again = claimed(joined.evolve(due_at=NOW))
    begun = states.begin(again, NOW + 5, POLICY)
    assert (begun.progress, begun.due_at) == (None, again.due_at), "under the lease that it has"
    late = states.begin(again, NOW + 6, POLICY)
    assert (late.state, late.reason) == (State.CANCELLED, "expired")
