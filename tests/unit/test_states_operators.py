"""What operators do to a job, from every state."""

from __future__ import annotations

import pytest

from mainspring.core import states
from mainspring.core.job import LIVE, TERMINAL, Job, State
from mainspring.core.policy import DAY, Policy
from mainspring.errors import IllegalTransition
from tests.factory import BOOM, NOW, claimed, make_ask, make_job

POLICY = Policy()


def in_state(state: State) -> Job:
    if state is State.RUNNING:
        return claimed(make_job("j", attempts=2, failed_at=NOW, error=BOOM))
    return make_job(
        "j", state=state, attempts=2, first_asked_at=NOW, failed_at=NOW, error=BOOM, reason="r", due=NOW + 500
    )


@pytest.mark.parametrize("erase", [False, True])
@pytest.mark.parametrize("state", list(State))
def test_cancel(state: State, erase: bool) -> None:
    job = in_state(state)
    after = states.cancel(job, NOW + 1, POLICY, "by me", erase=erase)
    if state in TERMINAL:
        assert after == (job.evolve(expires_at=0) if erase else None)
    elif state is State.RUNNING:
        assert after == job.evolve(cancelling="by me", erase=erase)
    else:
        assert after is not None
        assert (after.state, after.reason, after.finished_at) == (State.CANCELLED, "by me", NOW + 1)
        assert after.expires_at == (0 if erase else NOW + 1 + DAY)


def test_a_second_cancel_does_not_take_back_a_delete() -> None:
    job = states.cancel(in_state(State.RUNNING), NOW, POLICY, erase=True)
    assert job is not None
    again = states.cancel(job, NOW, POLICY)
    assert again is not None
    assert again.erase
    asked = states.merge(again, make_ask())
    assert asked is not None
    assert not asked.erase, "an ask after it is not to be erased"


@pytest.mark.parametrize("state", list(State))
def test_rerun(state: State) -> None:
    job = in_state(state)
    if state is State.PAUSED:
        with pytest.raises(IllegalTransition, match="cannot retry job j: it is paused"):
            states.rerun(job, NOW, "a")
        return
    after = states.rerun(job, NOW + 1, "a")
    if state is State.RUNNING:
        assert after.again is not None
        assert (after.again.id, after.again.force, after.again.due_at, after.again.input) == (
            "a",
            True,
            NOW + 1,
            job.input,
        )
        assert after.evolve(again=None) == job
        return
    assert (after.state, after.due_at, after.attempts, after.failed_at) == (State.WAITING, NOW + 1, 0, None)
    assert (after.input, after.scheduled_at, after.first_asked_at) == (job.input, NOW + 1, None)
    if state in TERMINAL:
        assert (after.expires_at, after.finished_at, after.reason) == (None, None, "")


def test_rerun_takes_back_a_cancel_and_keeps_a_newer_ask() -> None:
    cancelling = states.cancel(in_state(State.RUNNING), NOW, POLICY, erase=True)
    assert cancelling is not None
    after = states.rerun(cancelling, NOW, "a")
    assert (after.cancelling, after.erase) == (None, False)
    newer = states.merge(in_state(State.RUNNING), make_ask("N", due=NOW + 60_000))
    assert newer is not None
    both = states.rerun(newer, NOW, "a")
    assert both.again is not None
    assert (both.again.input, both.again.due_at, both.again.force) == ('{"value":"N"}', NOW, True)


def test_rerun_of_a_run_needs_its_input() -> None:
    with pytest.raises(ValueError, match="without its input"):
        states.rerun(in_state(State.RUNNING).evolve(input=None), NOW, "a")


def test_an_expiry_is_over_once_somebody_asked_by_hand() -> None:
    late = make_job(start_by=NOW - 1)
    assert states.begin(claimed(states.rerun(late, NOW, "a")), NOW, POLICY).state is State.RUNNING


@pytest.mark.parametrize("state", list(State))
def test_pause(state: State) -> None:
    job = in_state(state)
    if state is State.WAITING:
        assert states.pause(job) == job.evolve(state=State.PAUSED)
        assert states.resume(states.pause(job)) == job, "with the due time it had"
        return
    with pytest.raises(IllegalTransition, match=f"cannot pause job j: it is {state}. Expected: waiting"):
        states.pause(job)


@pytest.mark.parametrize("state", [s for s in State if s is not State.PAUSED])
def test_resume(state: State) -> None:
    with pytest.raises(IllegalTransition, match=f"cannot resume job j: it is {state}. Expected: paused"):
        states.resume(in_state(state))


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_revive(state: State) -> None:
    job = in_state(state).evolve(has_result=True, progress="1", runs=(), expires_at=NOW)
    ask = make_ask("N", due=NOW + 3, asked_at=NOW + 2)
    after = states.revive(job, ask)
    assert (after.state, after.due_at, after.input, after.ask) == (State.WAITING, NOW + 3, ask.input, ask.id)
    assert (after.attempts, after.failed_at, after.error, after.reason) == (0, None, None, "")
    assert (after.expires_at, after.finished_at, after.has_result, after.progress) == (None, None, False, None)
    assert after.first_asked_at == NOW + 2


@pytest.mark.parametrize(
    ("job", "shown"),
    [
        (make_job(), "pending"),
        (make_job(due=NOW + 1), "scheduled"),
        (make_job(attempts=1), "retrying"),
        (make_job(attempts=1, due=NOW + 1), "retrying"),
        (claimed(make_job(attempts=1)), "running"),
        *[(make_job(state=s), s.value) for s in State if s not in (State.WAITING, State.RUNNING)],
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_status(job: Job, shown: str) -> None:
    assert states.status(job, NOW) == shown


def test_states_live_or_terminal() -> None:
    assert set(State) == LIVE | TERMINAL
    assert not LIVE & TERMINAL
    assert [s for s in State if s.terminal] == [s for s in State if s in TERMINAL]


def test_over() -> None:
    done = make_job(state=State.COMPLETED, expires_at=NOW)
    assert states.over(done, NOW)
    assert not states.over(done, NOW - 1)
    assert not states.over(done.evolve(expires_at=None), NOW)
    assert not states.over(make_job(expires_at=NOW), NOW)
