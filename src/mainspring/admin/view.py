"""A job and its parts as JSON values: one shape for command line and web. Times are ISO 8601, UTC."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from mainspring.admin.queue_stats import QueueStats
from mainspring.core import states
from mainspring.core.codec import decode_value
from mainspring.core.job import Error, Job, Run
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


def log_view(line: LogLine) -> dict[str, Any]:
    return {"seq": line.seq, "claim": line.claim, "at": time_view(line.at), "level": line.level, "text": line.text}


def time_view(at: int | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
