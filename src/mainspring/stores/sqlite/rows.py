"""A job as a row: the header in columns, the rest as one opaque body, input and result apart.

Building and reading rows is Python work, so it is done by the caller, not in the thread of a connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import DecodeError, ValidationError, convert

from mainspring.core.codec import decode_body, encode_body
from mainspring.core.job import SCHEMA, Job
from mainspring.errors import StoreUnusable
from mainspring.stores.sqlite.transaction import decode_json

HEADER = (
    "id", "task", "queue", "state", "priority", "due_at", "version", "token", "claims", "settled", "worker",
    "started_at", "last_worker", "last_started_at", "expires_at", "origin", "keyed", "created_at", "progress",
)  # fmt: skip
COLUMNS = ", ".join((*HEADER, "body"))

JOB = f"json_array({', '.join(f'jobs.{name}' for name in (*HEADER, 'body'))})"
"""A job without its payload, of a table named `jobs`, for `read_job`."""
JOB_WITH_PAYLOAD = f"{JOB[:-1]}, payloads.input, payloads.result)"

_FIELDS = (*HEADER, "body", "input", "result")
QUEUE, TASK, ORIGIN, KEYED = (HEADER.index(name) for name in ("queue", "task", "origin", "keyed"))
"""Where these stand in a row."""


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
    """The job of a decoded `JOB` or `JOB_WITH_PAYLOAD`. Raises `StoreUnusable` for a row that is no job."""
    # Header and body in one conversion: 3 us; the codec's way, with keyword arguments of two dicts, takes 8 us.
    fields = dict(zip(_FIELDS, row, strict=False))
    body = fields.pop("body")
    fields["keyed"] = row[KEYED] == 1
    try:
        job = convert(fields | decode_json(body), Job)
    except (DecodeError, ValidationError) as e:
        raise StoreUnusable(
            f"the stored job {row[0]!r} cannot be read: {e}. Restore the database from a backup."
        ) from e
    return job if job.schema <= SCHEMA else job.evolve(**decode_body(body))
