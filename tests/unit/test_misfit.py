"""Jobs made for another version of their task: what is one, how long they are put back, what that leaves behind."""

from __future__ import annotations

import pytest

from mainspring import Mainspring
from mainspring.core import states
from mainspring.core.job import Job, State
from mainspring.core.misfit import LONGEST, PATIENCE, SHORTEST, put_back
from mainspring.core.outcome import Cancelled, Outcome, Snoozed
from mainspring.core.policy import Policy
from tests.factory import NOW, OUTCOMES, claimed, make_ask, make_job

POLICY = Policy()


def back(job: Job, now: int) -> Job:
    """The job, claimed and put back at `now`."""
    outcome = put_back(job, "why", now)
    assert outcome is not None
    return states.settle(claimed(job, now), outcome, now, POLICY)


def test_a_misfit_waits_as_long_as_it_has_waited_and_at_most_twenty_seconds() -> None:
    job, now, waits = make_job(), NOW, []
    while (outcome := put_back(job, "why", now)) is not None:
        waits.append(outcome.until - now)
        job, now = back(job, now), outcome.until
    assert waits[:9] == [1_000, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000, 20_000]
    assert set(waits[9:]) == {LONGEST}
    assert PATIENCE <= sum(waits) < PATIENCE + LONGEST
    assert (job.attempts, job.error, job.misfit_since) == (0, None, NOW)
    assert job.scheduled_at == NOW, "the time that was asked for survives"


def test_a_clock_that_stepped_back_makes_no_wait_shorter_than_the_shortest() -> None:
    outcome = put_back(make_job(misfit_since=NOW), "why", NOW - 5_000)
    assert outcome is not None
    assert outcome.until == NOW - 5_000 + SHORTEST


def test_a_run_that_did_not_fit_says_so() -> None:
    job = back(make_job(), NOW)
    assert (job.state, job.due_at) == (State.WAITING, NOW + SHORTEST)
    [run] = job.runs
    assert (run.outcome, run.note) == ("snoozed", "left for a worker with another version of its task: why")


def test_a_misfit_has_not_begun_so_it_expires_as_it_was_asked_to() -> None:
    job = back(make_job(start_by=NOW + 5_000), NOW)
    assert job.start_by == NOW + 5_000
    late = states.begin(claimed(job, NOW + 6_000), NOW + 6_000, POLICY)
    assert (late.state, late.reason) == (State.CANCELLED, "expired")


@pytest.mark.parametrize("name", sorted(OUTCOMES.keys() - {"misfit"}))
def test_a_run_of_the_right_version_ends_the_wait(name: str) -> None:
    job = back(make_job(), NOW)
    outcome: Outcome = OUTCOMES[name]
    assert states.settle(claimed(job, NOW + 5_000), outcome, NOW + 6_000, POLICY).misfit_since is None


def test_a_new_ask_and_a_retry_by_hand_begin_the_wait_anew() -> None:
    job = back(make_job(rule="merge", key="k", keyed=True), NOW)
    merged = states.merge(job, make_ask("b"))
    assert merged is not None
    assert merged.misfit_since is None
    assert states.rerun(job, NOW, "ask").misfit_since is None


def test_a_cancel_that_came_meanwhile_wins() -> None:
    running = claimed(make_job()).evolve(cancelling="no need")
    job = states.settle(running, Snoozed(until=NOW + 1, misfit_since=NOW), NOW, POLICY)
    assert (job.state, job.reason) == (State.CANCELLED, "no need")
    assert states.settle(running, Cancelled(reason="x"), NOW, POLICY).state is State.CANCELLED


def test_a_misfit_has_other_names_of_arguments_than_its_task() -> None:
    app = Mainspring("sqlite://:memory:")

    @app.task
    async def closed(to: str, copies: int = 1) -> None: ...

    @app.task(name="open")
    async def open_to_more(to: str, **more: int) -> None: ...

    assert not closed.is_misfit('{"to":"a"}')
    assert not closed.is_misfit('{"to":5,"copies":"x"}'), "bad values are bad for all"
    assert closed.is_misfit('{"to":"a","bcc":"b"}')
    assert closed.is_misfit('{"copies":2}')
    assert not open_to_more.is_misfit('{"to":"a","bcc":"b"}')
    assert open_to_more.is_misfit('{"bcc":1}')
