"""What people see of a schedule: its status, and how it stands with retries."""

from __future__ import annotations

from collections.abc import Mapping

from mainspring.core.job import LIVE, Job, State
from mainspring.core.schedule import Schedule

LOOKED_AT = 3
"""The last entries among which the newest is looked for that has begun."""


def looked_up(schedule: Schedule) -> set[str]:
    """The entries whose jobs are needed to say how a schedule is: those of `live`, and the last ones."""
    return {*schedule.live, *schedule.recent[-LOOKED_AT:]}


def by_entry(schedule: Schedule, rows: Mapping[str, Job | None]) -> dict[str, Job | None]:
    """Of `rows`, jobs by their ids, those of the entries that are `looked_up`, by these."""
    return {entry: rows.get(schedule.job_id(entry)) for entry in looked_up(schedule)}


def newest(schedule: Schedule, rows: Mapping[str, Job | None]) -> tuple[str, Job] | None:
    """The last entry whose run has begun, and its job: one that waits for its jitter or for a place, or was cancelled
    before it began, says nothing of how things are. Where none has begun, the last that has a job."""
    found = [(entry, row) for entry in schedule.recent[-LOOKED_AT:] if (row := rows.get(entry)) is not None]
    begun = [pair for pair in found if has_begun(pair[1])]
    return (begun or found)[-1] if found else None


def has_begun(job: Job) -> bool:
    """Whether a run of it has ever begun."""
    return bool(job.runs) or job.attempts > 0 or job.state not in (State.WAITING, State.PAUSED, State.CANCELLED)


def status(schedule: Schedule, rows: Mapping[str, Job | None]) -> str:
    """active, paused, retired, running, completed, failed or retry-scheduled. `rows`: the jobs of the entries that are
    `looked_up`."""
    live = [row for entry in schedule.live if (row := rows.get(entry)) is not None and row.state in LIVE]
    last = newest(schedule, rows)
    if schedule.paused:
        return "paused"
    if schedule.retired:
        return "retired"
    if any(row.state is State.RUNNING for row in live):
        return "running"
    if any(row.state is State.WAITING and row.attempts for row in live):
        return "retry-scheduled"
    if last is not None and failed(last[1]) and last[0] != schedule.cleared:
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
