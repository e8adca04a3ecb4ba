"""A job as a row: the header in columns, the rest as one opaque body, input and result apart.

Building and reading rows is Python work, so it is done by the caller, not in the thread of a connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mainspring.core.codec import decode_body, encode_body
from mainspring.core.job import Job, State

HEADER = (
    "id", "task", "queue", "state", "priority", "due_at", "version", "token", "claims", "settled", "worker",
    "started_at", "last_worker", "last_started_at", "expires_at", "origin", "keyed", "created_at", "progress",
)  # fmt: skip
COLUMNS = ", ".join((*HEADER, "body"))

JOB = f"json_array({', '.join(f'jobs.{name}' for name in (*HEADER, 'body'))})"
"""A job without its payload, of a table named `jobs`, for `read_job`."""
JOB_WITH_PAYLOAD = f"{JOB[:-1]}, payloads.input, payloads.result)"

_STATES = {state.value: state for state in State}
_PLACE = {name: place for place, name in enumerate(HEADER)}
_STATE, _KEYED, _BODY = _PLACE["state"], _PLACE["keyed"], len(HEADER)
QUEUE, TASK, ORIGIN, KEYED = (_PLACE[name] for name in ("queue", "task", "origin", "keyed"))


def new_row(job: Job) -> tuple[Any, ...]:
    """The row of a job that is stored for the first time: version 1. In the order of `COLUMNS`."""
    # State and keyed as plain text and integer: their own types would cost the driver 1 us each.
    return (
        job.id, job.task, job.queue, job.state.value, job.priority, job.due_at, 1, job.token, job.claims, job.settled,
        job.worker, job.started_at, job.last_worker, job.last_started_at, job.expires_at, job.origin, int(job.keyed),
        job.created_at, job.progress, encode_body(job),
    )  # fmt: skip


CHANGED = (
    "task", "queue", "state", "priority", "due_at", "version", "settled", "expires_at", "origin", "keyed", "created_at",
    "progress", "body",
)  # fmt: skip
"""The columns that a save writes."""


def changed_row(job: Job) -> tuple[Any, ...]:
    """The new values of a job that was changed, one version on. In the order of `CHANGED`."""
    return (
        job.task, job.queue, job.state.value, job.priority, job.due_at, job.version + 1, job.settled, job.expires_at,
        job.origin, int(job.keyed), job.created_at, job.progress, encode_body(job),
    )  # fmt: skip


def read_job(row: Sequence[Any]) -> Job:
    """The job of a decoded `JOB` or `JOB_WITH_PAYLOAD`. Raises `StoreUnusable` for a body that is none."""
    header = dict(zip(HEADER, row, strict=False))
    header["state"] = _STATES[row[_STATE]]
    header["keyed"] = bool(row[_KEYED])
    if len(row) > _BODY + 1:
        header["input"], header["result"] = row[_BODY + 1], row[_BODY + 2]
    return Job(**header, **decode_body(row[_BODY]))
