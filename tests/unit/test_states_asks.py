"""Asks and the job that holds their key: rules, fingerprints, orders, bursts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core import states
from mainspring.core.job import Job, Rule, State
from mainspring.core.policy import DAY, Policy
from tests.factory import NOW, OUTCOMES, asked, claimed, make_ask

POLICY = Policy()
RULES: list[Rule] = ["once", "skip", "merge"]
HELD = ["waiting", "retrying", "paused", "running", "completed", "failed", "dead", "cancelled"]


def holder(state: str, **fields: Any) -> Job:
    """A job of the key in `state`, asked for with value A."""
    waiting = asked(make_ask("A", fingerprint="f-A", order=5), **fields)
    if state == "waiting":
        return waiting
    if state == "paused":
        return states.pause(waiting)
    if state == "cancelled":
        cancelled = states.cancel(waiting, NOW, POLICY)
        assert cancelled is not None
        return cancelled
    running = claimed(waiting)
    outcome = {"retrying": "failure", "completed": "success", "failed": "forgotten", "dead": "dead"}
    return running if state == "running" else states.settle(running, OUTCOMES[outcome[state]], NOW, POLICY)


@pytest.mark.parametrize("state", HELD)
@pytest.mark.parametrize("rule", RULES)
def test_what_a_rule_makes_of_a_new_ask(rule: Rule, state: str) -> None:
    job = holder(state, rule=rule)
    joined = states.join(job, make_ask("B", fingerprint="f-B", due=NOW + 7), NOW)
    live = not job.state.terminal
    if rule == "once" or (rule == "skip" and live):
        assert joined is None
        return
    assert joined is not None
    if state == "running":
        assert (joined.state, joined.input) == (State.RUNNING, job.input)
        assert joined.again is not None
        assert joined.again.fingerprint == "f-B"
        return
    assert joined.state is (State.PAUSED if state == "paused" else State.WAITING)
    assert (joined.input, joined.due_at, joined.scheduled_at) == ('{"value":"B"}', NOW + 7, NOW + 7)
    assert (joined.attempts, joined.error, joined.reason, joined.finished_at) == (0, None, "", None)
    assert (joined.expires_at, joined.has_result) == (None, False)
    assert joined.runs == job.runs, "history stays"


@pytest.mark.parametrize("state", ["completed", "failed", "dead", "cancelled"])
@pytest.mark.parametrize("rule", RULES)
def test_a_holder_whose_retention_is_over_is_revived_under_every_rule(rule: Rule, state: str) -> None:
    job = holder(state, rule=rule)
    assert job.expires_at is not None
    same = make_ask("A", fingerprint="f-A", order=1)
    revived = states.join(job, same, job.expires_at)
    assert revived is not None
    assert revived.state is State.WAITING
    if rule == "once":
        assert states.join(job, same, job.expires_at - 1) is None


@pytest.mark.parametrize("state", HELD)
@pytest.mark.parametrize("rule", RULES)
def test_a_repeated_call_changes_nothing(rule: Rule, state: str) -> None:
    job = holder(state, rule=rule)
    again = make_ask("A", id=job.ask, due=NOW + 99)
    assert states.join(job, again, NOW) is None
    assert states.join(job, again, NOW + 400 * DAY) is None


def test_a_repeated_call_during_a_run_changes_nothing() -> None:
    ask = make_ask("B")
    job = states.join(holder("running"), ask, NOW)
    assert job is not None
    assert states.join(job, ask, NOW) is None


@pytest.mark.parametrize("state", [s for s in HELD if s != "running"])
def test_the_same_fingerprint_changes_nothing(state: str) -> None:
    job = holder(state)
    assert states.join(job, make_ask("A", fingerprint="f-A", order=9), NOW) is None
    forced = states.join(job, make_ask("A", fingerprint="f-A", order=9, force=True), NOW)
    assert forced is not None


def test_the_newest_ask_is_the_one_compared_with() -> None:
    job = states.join(holder("running"), make_ask("B", fingerprint="f-B"), NOW)
    assert job is not None
    assert states.join(job, make_ask("B", fingerprint="f-B"), NOW) is None
    back = states.join(job, make_ask("A", fingerprint="f-A"), NOW)
    assert back is not None
    assert back.again is not None
    assert back.again.fingerprint == "f-A"


@pytest.mark.parametrize("state", HELD)
def test_an_older_order_changes_nothing(state: str) -> None:
    assert states.join(holder(state), make_ask("B", fingerprint="f-B", order=4), NOW) is None
    assert states.join(holder(state), make_ask("B", fingerprint="f-B", order=5), NOW) is not None
    assert states.join(holder(state), make_ask("B", fingerprint="f-B"), NOW) is not None


def test_an_older_order_loses_to_an_ask_remembered_and_to_one_dropped() -> None:
    older = make_ask("B", fingerprint="f-B", order=7)
    own = states.join(holder("running"), make_ask("A", fingerprint="f-A", order=9), NOW)
    assert own is not None
    assert states.join(own, older, NOW) is None
    assert states.join(states.settle(own, OUTCOMES["success"], NOW, POLICY), older, NOW) is None
    cancelled = states.cancel(own, NOW, POLICY)
    assert cancelled is not None
    assert states.join(cancelled, older, NOW) is None


def test_a_skipped_run_forgets_its_fingerprint() -> None:
    job = states.settle(holder("running"), OUTCOMES["skip"], NOW, POLICY)
    assert job.fingerprint is None
    revived = states.join(job, make_ask("A", fingerprint="f-A"), NOW)
    assert revived is not None
    assert revived.state is State.WAITING


@given(
    gaps=st.lists(st.integers(0, 3_000), max_size=12),
    window=st.integers(0, 2_000),
    more=st.integers(0, 5_000),
    state=st.sampled_from(["waiting", "paused", "running"]),
)
def test_a_burst_runs_a_window_after_its_last_ask_and_max_wait_after_its_first(
    gaps: list[int], window: int, more: int, state: str
) -> None:
    now, first, max_wait = NOW, NOW, window + more
    job = asked(make_ask("0", due=NOW + window))
    if state == "running":
        job = claimed(job.evolve(due_at=NOW))
    elif state == "paused":
        job = states.pause(job)
    for number, gap in enumerate(gaps):
        now += gap
        ask = make_ask(str(number), due=now + window, asked_at=now)
        if state == "running" and number == 0:
            first = now  # what came before the run is not of this burst
        joined = states.join(job, ask, now, max_wait)
        assert joined is not None
        job = joined
        due = job.due_at if state != "running" or job.again is None else job.again.due_at
        assert due == max(now, min(now + window, first + max_wait))
    if state != "running" and gaps:
        assert job.input == f'{{"value":"{len(gaps) - 1}"}}'


def test_a_burst_is_over_when_its_run_is() -> None:
    running = claimed(asked(make_ask("A", asked_at=NOW - 10_000)))
    for job in (
        states.settle(running, OUTCOMES["failure"], NOW, POLICY),
        states.settle(running, OUTCOMES["snooze"], NOW, POLICY),
        states.release(running, NOW, NOW, POLICY, ran=True),
    ):
        joined = states.join(job, make_ask("B", due=NOW + 1_000), NOW, max_wait=2_000)
        assert joined is not None
        assert joined.due_at == NOW + 1_000
    waits_on = states.release(running, NOW, NOW, POLICY)
    joined = states.join(waits_on, make_ask("B", due=NOW + 1_000), NOW, max_wait=2_000)
    assert joined is not None
    assert joined.due_at == NOW, "nothing of the burst has run yet"


def test_an_ask_brings_all_that_it_wants() -> None:
    ask = make_ask(
        "B", priority=90, start_by=NOW + 9, retry={"max_attempts": 2}, timeout=5, retention=7, meta={"u": "1"}
    )
    ask = ask.evolve(asked_at=NOW + 3, fingerprint="f-B", order=8)
    job = states.join(holder("retrying"), ask, NOW + 3)
    assert job is not None
    assert (job.asked_at, job.first_asked_at, job.fingerprint, job.order) == (NOW + 3, NOW + 3, "f-B", 8)
    assert (job.priority, job.start_by, job.retry, job.timeout, job.retention, job.meta, job.ask) == (
        90, NOW + 9, {"max_attempts": 2}, 5, 7, {"u": "1"}, ask.id,
    )  # fmt: skip


def test_the_stores_fields_are_left_alone() -> None:
    for state in HELD:
        job = holder(state)
        joined = states.join(job, make_ask("B"), NOW)
        assert joined is not None
        for name in ("version", "token", "claims", "worker", "started_at", "last_worker", "last_started_at", "id"):
            assert getattr(joined, name) == getattr(job, name), name
