"""How a job, a list of jobs, and what they logged look in a terminal and in a pipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mainspring.admin import JobPage
from mainspring.admin.view import job_view, log_view
from mainspring.cli.output import When, note, print_block, print_fields, print_json, print_json_lines, print_rows, say
from mainspring.core.duration import humanize
from mainspring.core.job import Job, Run
from mainspring.stores.base import LogLine


def show_jobs(page: JobPage, now: int, as_json: bool) -> None:
    """A row a job. What is left out is said."""
    if as_json:
        print_json_lines([job_view(job, now) for job in page])
    elif len(page):
        columns = ("id", "task", "queue", "status", "attempts", "created", "detail")
        print_rows(
            columns, [_row(job, now) for job in page], ("id", "status", "created"), ("queue", "attempts", "created")
        )
    else:
        note("no jobs.")
    if page.cursor is not None:
        note(f"these are {len(page)}; there are more: raise --limit, or narrow them by filters.")


def _row(job: Job, now: int) -> tuple[object, ...]:
    created = When(job.created_at, now, short=True)
    return job.id, job.task, job.queue, job_view(job, now)["status"], job.attempts, created, _detail(job, now)


def _detail(job: Job, now: int) -> str:
    """The one thing to know of a job beside its status."""
    error = "" if job.error is None else str(job.error)
    if job.cancelling is not None:
        return f"is asked to end: {job.cancelling}"
    if job.state == "waiting" and job.due_at > now:
        return f"due {When(job.due_at, now, short=True)}" + (f"; {error}" if error else "")
    if job.state == "running":
        return f"on {job.worker}"
    return ": ".join(part for part in (job.reason, error) if part)


def show_count(jobs: int, as_json: bool) -> None:
    if as_json:
        print_json({"jobs": jobs})
    else:
        say(str(jobs))


def show_job(job: Job, now: int) -> None:
    """All that is known of a job."""
    view = job_view(job, now)
    print_fields(
        [
            ("id", job.id),
            ("task", job.task),
            ("queue", job.queue),
            ("status", view["status"]),
            ("reason", job.reason),
            ("error", job.error),
            ("cancelling", job.cancelling),
            ("progress", job.progress),
            ("priority", job.priority),
            ("attempts", job.attempts),
            ("origin", job.origin),
            ("key", job.key),
            ("created", When(job.created_at, now)),
            ("due", When(job.due_at if job.state == "waiting" else None, now)),
            ("started", When(job.started_at, now)),
            ("finished", When(job.finished_at, now)),
            ("kept until", When(job.expires_at, now)),
            ("worker", job.worker),
            ("runs again", "yes, after this run" if job.again is not None else ""),
            ("meta", json.dumps(job.meta, ensure_ascii=False) if job.meta else ""),
            ("input", job.input),
            ("result", job.result if job.has_result else ""),
        ]
    )
    _show_runs(job, now)


def _show_runs(job: Job, now: int) -> None:
    if job.runs:
        print_block("runs", "")
        columns = ("run", "attempt", "outcome", "started", "took", "worker", "detail")
        print_rows(columns, [_run_row(run, now) for run in job.runs], whole=("outcome",))
    if job.error is not None and job.error.traceback:
        print_block("traceback of the last failure", job.error.traceback)


def _run_row(run: Run, now: int) -> tuple[object, ...]:
    took = humanize(max(0, run.ended_at - run.started_at))
    started = When(run.started_at, now)
    return run.claim, run.attempt, run.outcome, started, took, run.worker, run.error or run.note


def show_logs(lines: Sequence[LogLine], now: int, as_json: bool) -> None:
    if as_json:
        print_json_lines([log_view(line) for line in lines])
        return
    rows: list[tuple[Any, ...]] = [(When(line.at, now), line.claim, line.level, line.text) for line in lines]
    print_rows(("time", "run", "level", "text"), rows, whole=("time",))
