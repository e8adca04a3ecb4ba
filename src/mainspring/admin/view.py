"""Jobs, queues, schedules, workers, locks and acts as JSON values: one shape for command line and
web. Times are ISO 8601, UTC."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from mainspring.admin.queue_stats import QueueStats
from mainspring.admin.schedule_view import Execution, MissedRuns, ScheduleInfo
from mainspring.admin.upcoming import preview_times
from mainspring.admin.workers import WorkerInfo
from mainspring.audit import AuditEntry
from mainspring.core import states
from mainspring.core.codec import decode_value
from mainspring.core.duration import instant
from mainspring.core.job import Error, Job, Run
from mainspring.core.trigger import Every, upcoming
from mainspring.leases import LockInfo
from mainspring.stores.base import LogLine


def job_view(job: Job, now: int) -> dict[str, Any]:
    """`job` as it is at `now`. Input and result are there only where it was read with them."""
    view: dict[str, Any] = {
        "id": job.id,
        "task": job.task,
        "queue": job.queue,
        "status": states.status(job, now),
        "priority": job.priority,
        "origin": job.origin,
        "attempts": job.attempts,
        "created_at": time_view(job.created_at),
        "scheduled_at": time_view(job.scheduled_at),
        "due_at": time_view(job.due_at) if job.state == "waiting" else None,
        "started_at": time_view(job.started_at),
        "finished_at": time_view(job.finished_at),
        "expires_at": time_view(job.expires_at),
        "worker": job.worker,
        "key": job.key,
        "reason": job.reason,
        "error": error_view(job.error),
        "cancelling": job.cancelling,
        "runs_again": job.again is not None,
        "progress": None if job.progress is None else decode_value(job.progress),
        "meta": job.meta,
        "runs": [run_view(run) for run in job.runs],
    }
    if job.input is not None:
        view["input"] = decode_value(job.input)
        view["result"] = None if job.result is None or not job.has_result else decode_value(job.result)
    return view


def run_view(run: Run) -> dict[str, Any]:
    return {
        "claim": run.claim,
        "attempt": run.attempt,
        "outcome": run.outcome,
        "started_at": time_view(run.started_at),
        "ended_at": time_view(run.ended_at),
        "worker": run.worker,
        "error": error_view(run.error),
        "note": run.note,
    }


def error_view(error: Error | None) -> dict[str, str] | None:
    return None if error is None else {"type": error.type, "message": error.message, "traceback": error.traceback}


def stats_view(stats: QueueStats) -> dict[str, Any]:
    """A queue's stats; the time at which it was paused, and until when tasks are held, as times."""
    held = {task: time_view(until) for task, until in stats.throttled.items()}
    return asdict(stats) | {"paused_at": time_view(stats.paused_at), "throttled": held}


def schedule_view(info: ScheduleInfo, *, output: bool = False) -> dict[str, Any]:
    """A schedule with its last execution; that with what it printed only where `output` says that it was read."""
    last = info.last_execution
    return _fields_view(info) | {"last_execution": None if last is None else execution_view(last, output=output)}


def execution_view(execution: Execution, *, output: bool = True) -> dict[str, Any]:
    view = _fields_view(execution)
    return view if output else {name: value for name, value in view.items() if name != "output"}


def _fields_view(part: ScheduleInfo | Execution | MissedRuns) -> dict[str, Any]:
    return {field.name: _value(getattr(part, field.name)) for field in fields(part)}


def _value(value: Any) -> Any:
    if isinstance(value, MissedRuns):
        return _fields_view(value)
    return time_view(instant(value)) if isinstance(value, datetime) else value


def upcoming_runs(info: ScheduleInfo, now: int, count: int = 5) -> list[datetime]:
    """The next runs of a schedule, in its zone, as far as they are known: of a paused one none; of one that runs once,
    or counts from the end of the run before, the next alone."""
    if info.next_run is None:
        return []
    first = instant(info.next_run)
    begin, zone = max(first, now), info.next_run.tzinfo
    if not info.recurring or info.fixed_delay or count == 1:
        return [info.next_run]
    if info.every is not None:
        later = upcoming(Every(round(info.every * 1000), first), begin, count - 1)
        return [info.next_run, *(datetime.fromtimestamp(at / 1000, zone) for at in later)]
    timing = {name: getattr(info, name) for name in ("cron", "timezone", "dst_gap", "dst_overlap")}
    return [info.next_run, *preview_times(datetime.fromtimestamp(begin / 1000, zone), count - 1, timing)]


def worker_view(worker: WorkerInfo) -> dict[str, Any]:
    return asdict(worker) | {"last_seen": time_view(worker.last_seen)}


def lock_view(lock: LockInfo) -> dict[str, Any]:
    return asdict(lock) | {"since": time_view(lock.since), "until": time_view(lock.until)}


def audit_view(entry: AuditEntry) -> dict[str, Any]:
    return asdict(entry) | {"at": time_view(entry.at)}


def log_view(line: LogLine) -> dict[str, Any]:
    return {"seq": line.seq, "claim": line.claim, "at": time_view(line.at), "level": line.level, "text": line.text}


def time_view(at: int | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
