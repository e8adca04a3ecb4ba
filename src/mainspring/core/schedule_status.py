"""What people see of a schedule: its status, and how it stands with retries."""

from __future__ import annotations

from collections.abc import Mapping

from mainspring.core.job import LIVE, Job, State
from mainspring.core.schedule import Schedule


def status(schedule: Schedule, rows: Mapping[str, Job | None]) -> str:
    """active, paused, retired, running, completed, failed or retry-scheduled. `rows`: jobs by their entries, those of
    `live` and the last one of `recent`."""
    live = [row for entry in schedule.live if (row := rows.get(entry)) is not None and row.state in LIVE]
    last = rows.get(schedule.recent[-1]) if schedule.recent else None
    if schedule.paused:
        return "paused"
    if schedule.retired:
        return "retired"
    if any(row.state is State.RUNNING for row in live):
        return "running"
    if any(row.state is State.WAITING and row.attempts for row in live):
        return "retry-scheduled"
    if last is not None and failed(last) and schedule.recent[-1] != schedule.cleared:
        return "failed"
    waits = schedule.next is not None or schedule.backlog or live or schedule.fixed_delay
    return "active" if waits else "completed"


STATUSES = ("active", "paused", "running", "completed", "failed", "retry-scheduled", "retired")


def failed(job: Job) -> bool:
    """Whether it failed for good."""
    return job.state in (State.FAILED, State.DEAD)


def retry_count(job: Job | None) -> int:
    """How often the run has been retried, or is to be; a success forgets it."""
    if job is None or job.state in (State.COMPLETED, State.CANCELLED):
        return 0
    return job.attempts if job.state in LIVE else max(job.attempts - 1, 0)


def last_retry(job: Job | None) -> int | None:
    """When a retry of the run was last decided on, in ms: at the end of the run before it."""
    count = retry_count(job)
    if job is None or not count:
        return None
    failures = [run for run in job.runs if run.outcome in ("failed", "timed_out") and run.attempt <= count]
    return failures[-1].ended_at if failures else job.failed_at
