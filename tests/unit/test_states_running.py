"""A claimed job: how it begins, ends, is given back, and how runs that vanished are counted."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring.core import states
from mainspring.core.job import Error, Job, State
from mainspring.core.outcome import Cancelled, Dead, Failure, Outcome, Snoozed, Success
from mainspring.core.policy import DAY, Policy, Retry
from tests.factory import BOOM, LEASE, NOW, OUTCOMES, claimed, make_job, vanished

POLICY = Policy(retry=Retry(3, "fixed", initial_delay=10, jitter=0))


def names(job: Job) -> list[tuple[int, str]]:
    return [(run.claim, run.outcome) for run in job.runs]


# -- begin ------------------------------------------------------------------------------------------------------


def test_a_first_run_begins_as_it_was_claimed() -> None:
    job = claimed(make_job())
    assert states.begin(job, NOW, POLICY) is job


def test_runs_that_vanished_are_recorded_once() -> None:
    job = states.begin(vanished(make_job(), 2), NOW, POLICY)
    assert job.state is State.RUNNING
    assert names(job) == [(1, "interrupted"), (2, "interrupted")]
    assert [(r.worker, r.attempt) for r in job.runs] == [("", 1), ("w:1", 1)]
    assert states.begin(job, NOW, POLICY) is job
    job = states.begin(claimed(job.evolve(due_at=NOW)), NOW, POLICY)
    assert names(job) == [(1, "interrupted"), (2, "interrupted"), (3, "interrupted")]
    done = states.settle(job, OUTCOMES["success"], NOW, POLICY)
    assert names(done)[-1] == (4, "succeeded")
    assert (done.interruptions, done.attempts) == (0, 1)


def test_a_run_that_vanished_or_was_released_has_its_times() -> None:
    started, now = NOW + 3, NOW + 3 + LEASE
    job = states.begin(claimed(claimed(make_job(), started), now, "w:2"), now + 1, POLICY)
    assert [(r.started_at, r.ended_at) for r in job.runs] == [(started, now + 1)]
    back = states.release(job, now + 2, now + 2, POLICY, ran=True)
    assert [(r.started_at, r.ended_at, r.worker) for r in back.runs[1:]] == [(now, now + 2, "w:2")]


def test_a_run_that_failed_after_a_cancel_ends_with_the_cancels_reason() -> None:
    for outcome in ("failure", "snooze"):
        asked_to = states.cancel(claimed(make_job()), NOW, POLICY, "enough")
        assert asked_to is not None
        assert states.settle(asked_to, OUTCOMES[outcome], NOW, POLICY).reason == "enough"


def test_a_claim_given_back_is_never_recorded_as_vanished() -> None:
    lost = vanished(make_job())
    back = states.release(lost, NOW, NOW, POLICY)
    assert names(back) == [(1, "interrupted")]
    assert back.interruptions == 1
    job = states.begin(claimed(back), NOW, POLICY)
    assert names(job) == [(1, "interrupted")]
    job = states.begin(vanished(states.release(job, NOW, NOW, POLICY)), NOW, POLICY)
    assert names(job) == [(1, "interrupted"), (4, "interrupted")]
    assert job.interruptions == 2


@pytest.mark.parametrize("bound", [0, 1, 3])
def test_poison_ends_in_dead(bound: int) -> None:
    policy = Policy(max_interruptions=bound)
    job = make_job()
    for number in range(bound):
        job = states.begin(claimed(job.evolve(due_at=NOW)), NOW, policy)
        assert job.state is State.RUNNING, f"run {number} of {bound + 1} may start"
    job = states.begin(claimed(job.evolve(due_at=NOW)), NOW, policy)
    assert job.state is State.RUNNING
    dead = states.begin(claimed(job.evolve(due_at=NOW)), NOW, policy)
    assert (dead.state, dead.reason) == (State.DEAD, "poison")
    assert dead.error is not None
    assert f"{bound + 1} runs in a row vanished" in dead.error.message
    assert len(dead.runs) == min(bound + 1, policy.runs_kept)
    assert dead.interruptions == 0


def test_releases_do_not_make_poison_and_do_not_forgive_it() -> None:
    job = make_job()
    for _ in range(50):
        job = states.release(states.begin(claimed(job), NOW, POLICY), NOW, NOW, POLICY, ran=True)
    assert (job.interruptions, job.state) == (0, State.WAITING)
    for _ in range(3):
        job = states.begin(vanished(job), NOW, POLICY)
        assert job.state is State.RUNNING
        job = states.release(job, NOW, NOW, POLICY)
    assert job.interruptions == 3
    assert states.begin(vanished(job), NOW, POLICY).state is State.DEAD


@pytest.mark.parametrize("outcome", ["success", "failure", "snooze", "skip", "dead"])
def test_a_run_that_ended_breaks_the_row(outcome: str) -> None:
    job = states.begin(vanished(make_job(), 3), NOW, POLICY)
    assert job.interruptions == 3
    assert states.settle(job, OUTCOMES[outcome], NOW, POLICY).interruptions == 0


def test_a_run_whose_process_died_is_an_interruption_of_which_is_known_how_it_ended() -> None:
    job = make_job()
    for number in range(1, 5):
        row = claimed(job)
        assert states.begin(row, NOW, POLICY).state is State.RUNNING
        job = states.vanish(states.begin(row, NOW, POLICY), BOOM, NOW, POLICY)
        assert (job.state, job.due_at, job.attempts, len(job.runs)) == (State.RUNNING, NOW, 0, number)
        assert job.runs[-1].error == BOOM
    dead = states.begin(claimed(job), NOW, POLICY)
    assert (dead.state, dead.reason) == (State.DEAD, "poison")
    assert names(dead) == [(n, "interrupted") for n in range(1, 5)]
    assert dead.error is not None
    assert dead.error.message == "4 runs in a row vanished; the last one: boom"


def test_a_timeout_that_ended_its_worker_counts_as_a_timeout() -> None:
    doomed = states.doom(claimed(make_job()), NOW + 2_000)
    assert (doomed.due_at, doomed.state) == (NOW + 2_000, State.RUNNING)
    job = states.begin(claimed(doomed, NOW + 2_000, "w:2"), NOW + 2_000, POLICY)
    assert (job.state, job.attempts, job.interruptions, job.due_at) == (State.WAITING, 1, 0, NOW + 12_000)
    assert names(job) == [(1, "timed_out")]
    assert job.error is not None
    assert job.error.type == "TimeoutError"
    assert states.status(job, NOW) == "retrying"


def test_such_a_timeout_is_bounded_by_attempts_and_is_no_poison() -> None:
    policy = Policy(retry=Retry(2, initial_delay=0, jitter=0), max_interruptions=0)
    job = make_job()
    for state in (State.WAITING, State.DEAD):
        job = states.begin(claimed(states.doom(claimed(job), NOW)), NOW, policy)
        assert job.state is state
    assert job.reason == "exhausted"


@pytest.mark.parametrize(("late", "state"), [(0, State.RUNNING), (1, State.CANCELLED)])
def test_a_job_not_started_in_time_ends_as_expired(late: int, state: State) -> None:
    job = states.begin(claimed(make_job(start_by=NOW)), NOW + late, POLICY)
    assert job.state is state
    if late:
        assert (job.reason, job.attempts, job.runs) == ("expired", 0, ())


def test_what_has_begun_cannot_expire() -> None:
    running = claimed(make_job(start_by=NOW))
    after = NOW + 60_000
    assert states.begin(claimed(running, after), after, POLICY).state is State.RUNNING
    for waiting in (
        states.settle(running, OUTCOMES["failure"], NOW, POLICY),
        states.settle(running, OUTCOMES["snooze"], NOW, POLICY),
        states.release(running, NOW, NOW, POLICY, ran=True),
    ):
        assert states.begin(claimed(waiting, after), after, POLICY).state is State.RUNNING
    unstarted = states.release(running, NOW, NOW, POLICY)
    assert states.begin(claimed(unstarted, after), after, POLICY).state is State.CANCELLED


def test_a_cancelled_run_that_vanished_does_not_run_again() -> None:
    asked_to = states.cancel(claimed(make_job()), NOW, POLICY, "enough")
    assert asked_to is not None
    job = states.begin(vanished_after(asked_to), NOW, POLICY)
    assert (job.state, job.reason) == (State.CANCELLED, "enough")
    assert names(job) == [(1, "interrupted")]


def test_a_deleted_run_that_vanished_leaves_nothing() -> None:
    asked_to = states.cancel(claimed(make_job()), NOW, POLICY, erase=True)
    assert asked_to is not None
    assert states.begin(vanished_after(asked_to), NOW, POLICY).expires_at == 0


def test_a_cancel_between_claim_and_begin_is_obeyed() -> None:
    asked_to = states.cancel(claimed(make_job()), NOW, POLICY, "never mind")
    assert asked_to is not None
    job = states.begin(asked_to, NOW, POLICY)
    assert (job.state, job.reason, job.runs) == (State.CANCELLED, "never mind", ())


def vanished_after(job: Job) -> Job:
    return claimed(job.evolve(due_at=NOW), worker="w:next")


# -- settle -----------------------------------------------------------------------------------------------------


def test_attempts_count_what_ran_and_snoozes_do_not() -> None:
    job, due = make_job(), NOW
    for outcome, attempts in [("failure", 1), ("snooze", 1), ("timeout", 2), ("snooze", 2)]:
        job = states.settle(claimed(job, due), OUTCOMES[outcome], due, POLICY)
        assert (job.state, job.attempts) == (State.WAITING, attempts)
        due = job.due_at
    job = states.settle(claimed(job, due), OUTCOMES["failure"], due, POLICY)
    assert (job.state, job.reason, job.attempts) == (State.DEAD, "exhausted", 3)
    assert [r.attempt for r in job.runs] == [1, 2, 2, 3, 3]
    assert [r.outcome for r in job.runs] == ["failed", "snoozed", "timed_out", "snoozed", "failed"]


def test_success_keeps_its_result_and_forgets_the_error() -> None:
    job = states.settle(
        claimed(make_job(attempts=1, error=BOOM, failed_at=NOW)), Success(result="[1]"), NOW + 5, POLICY
    )
    assert (job.state, job.result, job.has_result) == (State.COMPLETED, "[1]", True)
    assert (job.error, job.failed_at, job.finished_at, job.reason) == (None, None, NOW + 5, "")
    assert not states.settle(claimed(make_job()), Success(), NOW, POLICY).has_result


def test_a_failure_waits_for_its_retry() -> None:
    job = states.settle(claimed(make_job()), Failure(error=BOOM), NOW + 1, POLICY)
    assert (job.state, job.due_at, job.failed_at, job.error) == (State.WAITING, NOW + 10_001, NOW + 1, BOOM)
    assert job.scheduled_at == NOW, "the time that was asked for survives"
    later = states.settle(claimed(job, NOW + 20_000), Failure(error=BOOM, retry_in=3), NOW + 20_000, POLICY)
    assert (later.due_at, later.failed_at) == (NOW + 20_003, NOW + 1)


def test_a_failure_out_of_retries_ends_as_its_policy_says() -> None:
    hopeless = states.settle(claimed(make_job()), OUTCOMES["hopeless"], NOW, POLICY)
    assert (hopeless.state, hopeless.reason) == (State.DEAD, "not retryable")
    forgotten = states.settle(claimed(make_job()), OUTCOMES["forgotten"], NOW, POLICY)
    assert (forgotten.state, forgotten.expires_at) == (State.FAILED, NOW + 90 * DAY)
    own = make_job(retry=Retry(1).to_dict())
    assert states.settle(claimed(own), OUTCOMES["failure"], NOW, POLICY).state is State.DEAD


def test_an_end_says_why() -> None:
    running = claimed(make_job())
    ends: list[tuple[Outcome, State, str]] = [
        (Snoozed(until=NOW + 9, note="busy"), State.WAITING, ""),
        (Cancelled(reason="no need"), State.CANCELLED, "no need"),
        (Dead(reason="broken", error=Error(type="E", message="m")), State.DEAD, "broken"),
        (OUTCOMES["skip"], State.COMPLETED, "gone"),
    ]
    for outcome, state, reason in ends:
        job = states.settle(running, outcome, NOW, POLICY)
        assert (job.state, job.reason) == (state, reason)
        assert job.runs[-1].note == (reason or "busy")
        assert job.due_at == (NOW + 9 if state is State.WAITING else running.due_at)
    assert states.settle(running, Dead(), NOW, POLICY).error is None
    assert states.settle(running.evolve(error=BOOM), Dead(), NOW, POLICY).error == BOOM


def test_a_run_knows_its_claim_worker_and_times() -> None:
    job = states.settle(claimed(make_job(), NOW + 3, "w:7"), OUTCOMES["failure"], NOW + 8, POLICY)
    run = job.runs[0]
    assert (run.claim, run.attempt, run.worker, run.started_at, run.ended_at, run.error) == (
        1, 1, "w:7", NOW + 3, NOW + 8, BOOM,
    )  # fmt: skip


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_history_is_bounded(kept: int) -> None:
    policy = Policy(retry=Retry(-1, initial_delay=0, jitter=0), runs_kept=kept)
    job = make_job()
    for _ in range(8):
        job = states.settle(claimed(job), OUTCOMES["failure"], NOW, policy)
    assert [r.claim for r in job.runs] == [4, 5, 6, 7, 8][5 - kept :]
    assert len(states.begin(vanished(job, 3), NOW, policy).runs) == kept
    assert len(states.release(claimed(job), NOW, NOW, policy, ran=True).runs) == kept


def test_a_settle_applies_to_a_fresher_row_of_the_same_claim() -> None:
    mine = claimed(make_job())
    fresher = mine.evolve(version=mine.version + 3, progress="100", due_at=NOW + 2 * LEASE)
    cancelled = states.cancel(fresher, NOW, POLICY)
    assert cancelled is not None
    for row in (fresher, cancelled):
        done = states.settle(row, OUTCOMES["success"], NOW, POLICY)
        assert (done.state, done.progress, done.version) == (State.COMPLETED, "100", row.version)
        assert states.landed(done, mine)


def test_landed() -> None:
    mine = claimed(make_job())
    done = states.settle(mine, OUTCOMES["failure"], NOW, POLICY)
    assert states.landed(done, mine)
    assert states.landed(states.pause(done), mine), "what followed from it"
    assert not states.landed(mine, mine)
    assert not states.landed(None, mine)
    assert not states.landed(claimed(done, NOW + 10_000), mine)


# -- retention --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "fields", "policy", "expected"),
    [
        ("success", {}, Policy(), NOW + DAY),
        ("cancelled", {}, Policy(retention=5), NOW + 5),
        ("success", {}, Policy(retention=0), 0),
        ("success", {"retention": 7}, Policy(retention=0), NOW + 7),
        ("success", {"retention": 0}, Policy(), 0),
        ("success", {"retention": 0, "rule": "once"}, Policy(), NOW + DAY),
        ("success", {"rule": "once"}, Policy(retention=5), NOW + DAY),
        ("success", {"rule": "once"}, Policy(retention=3 * DAY), NOW + 3 * DAY),
        ("success", {"rule": "merge"}, Policy(retention=5), NOW + 5),
        ("dead", {}, Policy(), NOW + 90 * DAY),
        ("dead", {"retention": 0}, Policy(retention=0), NOW + 90 * DAY),
        ("forgotten", {}, Policy(dead_retention=5), NOW + 5),
        ("dead", {}, Policy(dead_retention=0), 0),
        ("dead", {"rule": "once"}, Policy(dead_retention=5), NOW + DAY),
    ],
)
def test_retention(outcome: str, fields: dict[str, Any], policy: Policy, expected: int) -> None:
    job = states.settle(claimed(make_job(**fields)), OUTCOMES[outcome], NOW, policy)
    assert job.expires_at == expected


# -- release and lapse ------------------------------------------------------------------------------------------


def test_a_release_costs_nothing() -> None:
    job = claimed(make_job(attempts=2, progress="5"))
    back = states.release(job, NOW, NOW + 2_000, POLICY)
    assert (back.state, back.due_at, back.attempts, back.interruptions, back.runs) == (
        State.WAITING, NOW + 2_000, 2, 0, (),
    )  # fmt: skip
    stopped = states.release(job, NOW, NOW, POLICY, ran=True)
    assert names(stopped) == [(1, "released")]
    assert (stopped.attempts, stopped.interruptions) == (2, 0)


def test_a_release_of_a_cancelled_run_ends_it() -> None:
    for erase, expires in ((False, NOW + DAY), (True, 0)):
        asked_to = states.cancel(claimed(make_job()), NOW, POLICY, "stop", erase=erase)
        assert asked_to is not None
        job = states.release(asked_to, NOW, NOW, POLICY, ran=True)
        assert (job.state, job.reason, job.expires_at) == (State.CANCELLED, "stop", expires)


def test_a_lapse_makes_it_due_and_counts() -> None:
    job = claimed(make_job())
    lapsed = states.lapse(job, NOW + 1)
    assert lapsed == job.evolve(due_at=NOW + 1)
    assert states.lapse(lapsed, NOW + 1) is None
    assert states.lapse(make_job(due=NOW + 5), NOW) is None
    assert claimed(lapsed, NOW + 1).interruptions == 1
