"""What people see of a schedule, as it follows from the jobs of its runs."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring.core.job import Job, Run, State
from mainspring.core.schedule import Schedule
from mainspring.core.schedule_acts import pause
from mainspring.core.schedule_status import last_retry, retry_count, status
from mainspring.core.ticks import note_run
from tests.factory import NOW, make_job
from tests.unit.ticking import World

W, R, C, F, D, X = State.WAITING, State.RUNNING, State.COMPLETED, State.FAILED, State.DEAD, State.CANCELLED


def seen(options: dict[str, Any], *jobs: Job | None, **fields: Any) -> str:
    """The status of a schedule whose entries have these jobs, oldest first."""
    schedule: Schedule = World(**options).schedule
    for number in range(len(jobs)):
        schedule, _ = note_run(schedule, f"run-{number}")
    return status(schedule.evolve(**fields), {f"run-{number}": job for number, job in enumerate(jobs)})


DAILY, ONCE, FIXED = {"cron": "@daily"}, {"at": "now"}, {"every": "5m", "fixed_delay": True}


@pytest.mark.parametrize(
    ("options", "jobs", "fields", "expected"),
    [
        (DAILY, [], {}, "active"),
        (DAILY, [None], {}, "active"),
        (DAILY, [make_job()], {}, "active"),
        (DAILY, [make_job(state=R)], {}, "running"),
        (DAILY, [make_job(state=R), make_job(state=C)], {}, "running"),
        (DAILY, [make_job(state=R, attempts=1)], {}, "running"),
        (DAILY, [make_job(attempts=1)], {}, "retry-scheduled"),
        (DAILY, [make_job(state=D)], {}, "failed"),
        (DAILY, [make_job(state=F)], {}, "failed"),
        (DAILY, [make_job(state=F)], {"cleared": "run-0"}, "active"),
        (DAILY, [make_job(state=F), make_job()], {}, "failed"),
        (DAILY, [make_job(state=F), make_job(state=X)], {}, "failed"),
        (DAILY, [make_job(state=C), make_job(state=X), make_job()], {}, "active"),
        (DAILY, [make_job(state=F), make_job(), make_job()], {"cleared": "run-0"}, "active"),
        (DAILY, [make_job(state=F), make_job(state=C)], {}, "active"),
        (DAILY, [make_job(state=X)], {}, "active"),
        (DAILY, [make_job(state=R)], {"paused": True}, "paused"),
        (DAILY, [make_job(state=D)], {"retired": True}, "retired"),
        (DAILY, [], {"retired": True, "paused": True}, "paused"),
        (ONCE, [], {}, "active"),
        (ONCE, [make_job()], {"next": None}, "active"),
        (ONCE, [make_job(state=R)], {"next": None}, "running"),
        (ONCE, [make_job(attempts=2)], {"next": None}, "retry-scheduled"),
        (ONCE, [make_job(state=C)], {"next": None}, "completed"),
        (ONCE, [make_job(state=X)], {"next": None}, "completed"),
        (ONCE, [make_job(state=D)], {"next": None}, "failed"),
        (ONCE, [], {"next": None, "backlog": (NOW,)}, "active"),
        (ONCE, [make_job(state=C)], {"next": None, "live": ()}, "completed"),
        (FIXED, [make_job(state=C)], {"next": None}, "active"),
    ],
)
def test_status(options: dict[str, Any], jobs: list[Job | None], fields: dict[str, Any], expected: str) -> None:
    assert seen(options, *jobs, **fields) == expected


def test_paused_by_the_act() -> None:
    assert status(pause(World(cron="@daily").schedule, "why", 0), {}) == "paused"


def run(attempt: int, outcome: str = "failed", ended: int = 0) -> Run:
    return Run(claim=attempt, attempt=attempt, outcome=outcome, started_at=NOW, ended_at=NOW + ended)


@pytest.mark.parametrize(
    ("job", "count", "last"),
    [
        (None, 0, None),
        (make_job(), 0, None),
        (make_job(state=R), 0, None),
        (make_job(attempts=1, runs=(run(1, ended=5),)), 1, 5),
        (make_job(state=R, attempts=2, runs=(run(1, ended=5), run(2, "timed_out", 9))), 2, 9),
        # The last failure of one that has none left led to no retry.
        (make_job(state=D, attempts=3, runs=(run(1, ended=5), run(2, ended=9), run(3, ended=12))), 2, 9),
        (make_job(state=F, attempts=1, runs=(run(1, ended=5),)), 0, None),
        (make_job(state=C, attempts=3, runs=(run(1), run(2), run(3, "succeeded"))), 0, None),
        (make_job(state=X, attempts=1, runs=(run(1),)), 0, None),
        (make_job(attempts=1, runs=(run(1, ended=5), run(2, "snoozed", 7))), 1, 5),
        # Its runs were not kept.
        (make_job(attempts=1, failed_at=NOW + 3), 1, 3),
    ],
)
def test_retries(job: Job | None, count: int, last: int | None) -> None:
    assert retry_count(job) == count
    assert last_retry(job) == (None if last is None else NOW + last)
