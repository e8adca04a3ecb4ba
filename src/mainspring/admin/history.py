"""The life of a job in words: what its row and its runs tell, beside what its handler logged.

Nothing is written for it: a line per step would cost a write per step, and the row knows them all.
"""

from __future__ import annotations

from collections.abc import Sequence

from mainspring.core.job import Job, Run, State
from mainspring.stores.base import LogLine

WORDS = {
    "succeeded": "Job completed successfully",
    "skipped": "Nothing to do",
    "snoozed": "Put back for later",
    "cancelled": "Cancelled",
    "released": "Given back: its worker stopped",
    "interrupted": "Interrupted",
    "dead": "Sent to the dead letters",
    "timed_out": "Timed out",
    "failed": "Failed",
}


def life_of(job: Job, attempts: int | None, logged: Sequence[LogLine] = ()) -> list[LogLine]:
    """The steps of a job's life among what it logged, oldest first. `attempts`: how many its policy allows, None for
    no limit.
    """
    begun, ended = [], []
    starts = [run.started_at for run in job.runs]
    if job.state is State.RUNNING and job.started_at is not None:
        starts.append(job.started_at)
        begun.append(LogLine(job.id, job.claims, job.started_at, "info", f"Job execution started on {job.worker}"))
    for place, run in enumerate(job.runs):
        begun.append(LogLine(job.id, run.claim, run.started_at, "info", f"Job execution started on {run.worker}"))
        again = place + 1 < len(job.runs) or job.state is State.WAITING
        level = "error" if run.outcome in ("failed", "timed_out", "dead", "interrupted") else "info"
        at = min(
            [run.ended_at, *starts[place + 1 : place + 2]]
        )  # who takes over notes the end, a moment after its start
        ended.append(LogLine(job.id, run.claim, at, level, _ended(run, again, attempts)))
    if job.state.terminal and job.reason and job.finished_at is not None:
        ended.append(LogLine(job.id, job.claims, job.finished_at, "info", f"Ended as {job.state.value}: {job.reason}"))
    # In one millisecond: a run begins, logs and ends, and then the next one begins.
    lines = sorted([*begun, *logged, *ended], key=lambda line: (line.at, line.claim))
    # The first, though a clock was corrected meanwhile.
    return [LogLine(job.id, 0, job.created_at, "info", "Added to the queue"), *lines]


def _ended(run: Run, again: bool, attempts: int | None) -> str:
    text = WORDS.get(run.outcome, run.outcome)
    said = str(run.error) if run.error is not None else run.note
    if run.outcome == "interrupted" and not said:
        said = "its worker vanished"
    text = f"{text}: {said}" if said else text
    if not again or run.outcome not in ("failed", "timed_out"):
        return text
    left = "" if attempts is None else f" {max(0, attempts - run.attempt)} more times"
    return f"{text}; retrying{left}"
