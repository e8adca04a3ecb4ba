"""A schedule and its runs as people see them: what is stored, and what follows from the rows of its jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mainspring.core import schedule_status, ticks
from mainspring.core.codec import decode_value
from mainspring.core.describe import describe
from mainspring.core.job import LIVE, Job, Run, State
from mainspring.core.schedule import Missed, Schedule, meant_for
from mainspring.errors import DefinitionError
from mainspring.stores.base import LogLine

OUTCOMES = {"succeeded": "completed", "timed_out": "failed", "dead": "failed", "skipped": "completed"}
"""How the outcome of a run reads as the status of an execution; the others read as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One attempt of one run of a schedule."""

    job_id: str
    status: str
    """completed, failed, cancelled, snoozed, interrupted or released; running or pending while it has not ended."""
    outcome: str
    """The same as the run says it: succeeded, failed, timed_out, ... Empty while it has not ended."""
    attempt: int
    """1-based."""
    scheduled_at: datetime
    """The time it is for."""
    started_at: datetime | None
    duration: float | None
    """Seconds."""
    error: str | None
    result: Any
    """Of the last attempt, where the run completed with one."""
    output: str
    """What the handler logged and printed in this attempt."""
    manual: bool
    """It was asked for by hand."""
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedRuns:
    """Times that passed while no worker was there, and were not made up for."""

    first: datetime
    last: datetime
    count: int
    exact: bool
    """False: there were at least so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInfo:
    """A schedule as it is now. Times are aware datetimes in UTC; `next_run` in its own zone. Durations in seconds."""

    id: str
    name: str
    task: str
    input: dict[str, Any]
    description: str
    status: str
    """active, paused, running, completed, failed, retry-scheduled or retired."""
    declared: bool
    """By code; False: it was made at run time."""
    when: str
    """In words."""
    cron: str | None
    every: float | None
    at: datetime | None
    fixed_delay: bool
    recurring: bool
    timezone: str
    dst_gap: str
    dst_overlap: str
    catch_up: str
    catch_up_window: float | None
    catch_up_max: int
    overlap: str
    jitter: float
    retry: dict[str, Any] | None
    max_retries: int | None
    """None: as the task says, or without limit."""
    timeout: float | None
    queue: str | None
    priority: int | None
    history: int
    pause_reason: str
    next_run: datetime | None
    last_run: datetime | None
    """When the last attempt began."""
    last_execution: Execution | None
    """The last attempt that has begun; before the first has, that."""
    retry_count: int
    """How often the last run has been retried, or is to be; 0 after a success."""
    last_retry: datetime | None
    runs: int
    """Ticks that became jobs, over all its life."""
    missed: int
    skipped: int
    """Ticks that came while a run was going on, and were left out."""
    last_missed: MissedRuns | None
    last_skipped: datetime | None
    created_at: datetime
    updated_at: datetime


def info_of(
    schedule: Schedule, rows: Mapping[str, Job | None], now: int, lines: Sequence[LogLine] = ()
) -> ScheduleInfo:
    """`rows`: the jobs by entry, those that are `looked_up`; `lines`: the log of the newest."""
    last = schedule_status.newest(schedule, rows)
    executions = [] if last is None else executions_of(*last, lines)
    started = [one.started_at for one in executions if one.started_at is not None]
    job = None if last is None or last[0] == schedule.cleared else last[1]
    return ScheduleInfo(
        **_timing(schedule, now), **_running(schedule),
        id=schedule.id, name=schedule.name, task=schedule.task, input=decode_value(schedule.input),
        description=schedule.description, status=schedule_status.status(schedule, rows),
        declared=bool(schedule.definition),
        last_run=started[0] if started else None, last_execution=_last(executions),
        retry_count=schedule_status.retry_count(job), last_retry=_utc(schedule_status.last_retry(job)),
        runs=schedule.fired, missed=schedule.missed, last_missed=_missed(schedule.last_missed),
        skipped=schedule.skipped,
        last_skipped=_utc(schedule.last_skipped),
        pause_reason=schedule.pause_reason, created_at=_time(schedule.created_at),
        updated_at=_time(schedule.updated_at),
    )  # fmt: skip


def _missed(missed: Missed | None) -> MissedRuns | None:
    if missed is None:
        return None
    return MissedRuns(first=_time(missed.first), last=_time(missed.last), count=missed.count, exact=missed.exact)


def _timing(schedule: Schedule, now: int) -> dict[str, Any]:
    upcoming = next_tick(schedule)
    try:
        zone, when = ZoneInfo(schedule.timezone), describe(schedule.trigger, now)
    except (DefinitionError, ZoneInfoNotFoundError, ValueError) as error:  # of one schedule, in a list of many
        zone, when = ZoneInfo("UTC"), f"at no time that can be read: {error}"
    return {
        "when": when,
        "cron": schedule.cron,
        "every": _seconds(schedule.every),
        "at": _utc(schedule.at),
        "fixed_delay": schedule.fixed_delay,
        "recurring": schedule.recurring,
        "timezone": schedule.timezone,
        "dst_gap": schedule.dst_gap,
        "dst_overlap": schedule.dst_overlap,
        "next_run": None if upcoming is None else _time(upcoming).astimezone(zone),
    }


def next_tick(schedule: Schedule) -> int | None:
    """The time that it runs for next; None where there is none, or it is not known yet."""
    if ticks.asleep(schedule):
        return None
    return schedule.backlog[0] if schedule.backlog else schedule.next


def _running(schedule: Schedule) -> dict[str, Any]:
    attempts = None if schedule.retry is None else schedule.retry.get("max_attempts")
    return {
        "catch_up": schedule.catch_up,
        "catch_up_window": _seconds(schedule.catch_up_window),
        "catch_up_max": schedule.catch_up_max,
        "overlap": schedule.overlap,
        "jitter": schedule.jitter / 1000,
        "retry": schedule.retry,
        "max_retries": None if attempts is None or attempts < 1 else attempts - 1,
        "timeout": _seconds(schedule.timeout),
        "queue": schedule.queue,
        "priority": schedule.priority,
        "history": schedule.history,
    }


def executions_of(entry: str, job: Job, lines: Sequence[LogLine]) -> list[Execution]:
    """The attempts of one run, newest first; `lines`: its log."""
    made = [_ended(job, run, entry, lines) for run in reversed(job.runs)]
    if made and job.has_result and job.state is State.COMPLETED:
        made[0] = _with_result(made[0], job)
    if job.state in LIVE or not made:
        made.insert(0, _open(job, entry, lines))
    return made


def _last(executions: Sequence[Execution]) -> Execution | None:
    """The newest that is not only to come: what failed is to be seen while its retry waits."""
    begun = [one for one in executions if one.status not in ("pending", "retry-scheduled")]
    return next(iter(begun or executions), None)


def _ended(job: Job, run: Run, entry: str, lines: Sequence[LogLine]) -> Execution:
    return Execution(
        job_id=job.id, status=OUTCOMES.get(run.outcome, run.outcome), outcome=run.outcome, attempt=run.attempt,
        scheduled_at=_time(meant_for(job)), started_at=_time(run.started_at),
        duration=(run.ended_at - run.started_at) / 1000,
        error=str(run.error) if run.error is not None else run.note or None, result=None,
        output=_output(lines, run.claim), manual=not entry.isdigit(), worker=run.worker,
    )  # fmt: skip


def _with_result(execution: Execution, job: Job) -> Execution:
    result = None if job.result is None else decode_value(job.result)
    return replace(execution, result=result)


def _open(job: Job, entry: str, lines: Sequence[LogLine]) -> Execution:
    """The attempt that runs, or is to come; or the end of a job that never ran."""
    running = job.state is State.RUNNING
    if job.state in LIVE:
        status = "running" if running else "retry-scheduled" if job.attempts else "pending"
    else:
        status = job.state.value
    return Execution(
        job_id=job.id, status=status, outcome="", attempt=job.attempt, scheduled_at=_time(meant_for(job)),
        started_at=_utc(job.started_at) if running else None, duration=None,
        error=None if job.state in LIVE else job.reason or None, result=None,
        output=_output(lines, job.claims) if running else "", manual=not entry.isdigit(),
        worker=job.worker if running else "",
    )  # fmt: skip


def _output(lines: Sequence[LogLine], claim: int) -> str:
    return "\n".join(line.text for line in lines if line.claim == claim)


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _utc(ms: int | None) -> datetime | None:
    return None if ms is None else _time(ms)
