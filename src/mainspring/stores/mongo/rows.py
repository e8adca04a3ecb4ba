"""A job as a document that people can read: its fields by their names, times as dates, JSON values as what they are.

Besides the job's own fields a row has three of the store's: `rank`, its place among what may be claimed; `seq`, its
place in the order of insertion, which also tells this life of an id from an earlier one; and `stamp`, by which a writer
recognises its own last write.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from bson.datetime_ms import DatetimeMS

from mainspring.core.codec import body_fields, unknown_fields
from mainspring.core.job import SCHEMA, Job, State
from mainspring.errors import StoreUnusable
from mainspring.events import emit
from mainspring.stores.mongo.payload import map_of, native, native_map, text_of

Row = dict[str, Any]

RUNNING_RANK = 101
"""Above every priority: a lapsed lease has waited already."""

_TEXTS = ("input", "result", "progress")
_TIMES = (
    "due_at", "created_at", "started_at", "last_started_at", "expires_at", "asked_at", "first_asked_at", "scheduled_at",
    "start_by", "failed_at", "finished_at", "misfit_since",
)  # fmt: skip
_RUN_TIMES = ("started_at", "ended_at")
_ASK_TIMES = ("due_at", "asked_at", "first_asked_at", "start_by")
_OURS = ("_id", "rank", "seq", "stamp")
CLAIMED = ("token", "claims", "worker", "started_at", "last_worker", "last_started_at")
"""What only claims write."""


END = 14
"""Bits of a number that are the process's own. With the time they fill 63 until the year 2116."""


class _Order:
    """Numbers that grow with time, by one in 8 us, and within this process with each call."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Take an end of one's own, so that the numbers of two processes are not the same."""
        self._last = 0
        self._here = secrets.randbits(END)

    def next(self) -> int:
        now = time.time_ns() >> 13 << END
        self._last = max(self._last + (1 << END), now | self._here)
        return self._last


_order = _Order()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_order.begin)
next_seq: Callable[[], int] = _order.next


def date(ms: int | None) -> DatetimeMS | None:
    return None if ms is None else DatetimeMS(ms)


def new_row(job: Job) -> Row:
    """The document of a job that is new: version 1."""
    row = changed_row(job, 1)
    row["_id"] = job.id
    row["seq"] = next_seq()
    row["token"] = job.token
    row["claims"] = job.claims
    if job.worker:
        row["worker"] = job.worker
    if job.last_worker:
        row["last_worker"] = job.last_worker
    if job.started_at is not None:
        row["started_at"] = DatetimeMS(job.started_at)
    if job.last_started_at is not None:
        row["last_started_at"] = DatetimeMS(job.last_started_at)
    return row


def changed_row(job: Job, version: int) -> Row:
    """What a save writes: all fields but those that only claims write, and payload only where it is carried."""
    body = body_fields(job)
    row: Row = {"task": job.task, "queue": job.queue, "state": job.state.value, "priority": job.priority}
    if job.state is State.RUNNING:
        row["rank"] = RUNNING_RANK
    elif job.state is State.WAITING:
        row["rank"] = job.priority
    row["due_at"] = DatetimeMS(job.due_at)
    if job.input is not None:
        row["input"] = native(job.input)
    if job.result is not None:
        row["result"] = native(job.result)
    if job.progress is not None:
        row["progress"] = native(job.progress)
    if job.expires_at is not None:
        row["expires_at"] = DatetimeMS(job.expires_at)
    row["created_at"] = DatetimeMS(job.created_at)
    row["origin"] = job.origin
    row["keyed"] = job.keyed
    row["settled"] = job.settled
    row["version"] = version
    _dates(body, _TIMES)
    for run in body.get("runs", ()):
        _dates(run, _RUN_TIMES)
    again = body.get("again")
    if again is not None:
        _dates(again, _ASK_TIMES)
        again["input"] = native(again["input"])
        _maps(again)
    _maps(body)
    row.update(body)
    return row


def _dates(fields: Row, names: tuple[str, ...]) -> None:
    for name in names:
        value = fields.get(name)
        if value is not None:
            fields[name] = DatetimeMS(value)


def _maps(fields: Row) -> None:
    for name in ("meta", "retry"):
        if fields.get(name):
            fields[name] = native_map(fields[name])


def read_job(row: Mapping[str, Any]) -> Job:
    """The job of a document, with the payload that it carries. Raises `StoreUnusable` for one that is no job."""
    try:
        fields = _fields(row)
        if fields.get("schema", SCHEMA) > SCHEMA:
            body = {name: value for name, value in fields.items() if name not in _HEADER}
            fields["extra"] = unknown_fields(body)
        return msgspec.convert(fields, Job)
    except (msgspec.ValidationError, KeyError, TypeError, ValueError, AttributeError) as e:
        raise StoreUnusable(
            f"the stored job {row.get('_id')!r} cannot be read: {e}. "
            "Correct or delete its document with mongosh, or restore it from a backup."
        ) from e


_told: set[str] = set()
"""Of which documents this process has said that they are no jobs."""


def read_jobs(rows: Iterable[Mapping[str, Any]]) -> list[Job]:
    """The jobs of documents. One that is no job is left out, so that it hides no other; the log tells of it once."""
    jobs = []
    for row in rows:
        try:
            jobs.append(read_job(row))
        except StoreUnusable as error:
            tell_of_unreadable(row["_id"], str(error))
    return jobs


def tell_of_unreadable(id: str, error: str) -> None:
    if id not in _told:
        _told.add(id)
        emit("job.unreadable", logging.WARNING, job_id=id, error=error)


_HEADER = {
    "id", "task", "queue", "state", "priority", "due_at", "version", "token", "claims", "settled", "worker",
    "started_at", "last_worker", "last_started_at", "expires_at", "origin", "keyed", "created_at", "progress", "input",
    "result",
}  # fmt: skip


def _fields(row: Mapping[str, Any]) -> Row:
    fields = dict(row)
    fields["id"] = fields["_id"]
    for name in _OURS:
        fields.pop(name, None)
    _times(fields, _TIMES)
    for name in _TEXTS:
        if name in fields:
            fields[name] = text_of(fields[name])
    if fields.get("runs"):
        fields["runs"] = [_times(dict(run), _RUN_TIMES) for run in fields["runs"]]
    if fields.get("again") is not None:
        fields["again"] = again = _times(dict(fields["again"]), _ASK_TIMES)
        again["input"] = text_of(again["input"])
        _unwrap(again)
    _unwrap(fields)
    return fields


def _times(fields: Row, names: tuple[str, ...]) -> Row:
    for name in names:
        value = fields.get(name)
        if value is not None:
            fields[name] = int(value)
    return fields


def _unwrap(fields: Row) -> None:
    for name in ("meta", "retry"):
        if fields.get(name):
            fields[name] = map_of(fields[name])


def read_claim(row: Mapping[str, Any]) -> Row:
    """What only claims write, as fields of a job."""
    started, last_started = row.get("started_at"), row.get("last_started_at")
    return {
        "token": row["token"],
        "claims": row["claims"],
        "worker": row.get("worker", ""),
        "started_at": None if started is None else int(started),
        "last_worker": row.get("last_worker", ""),
        "last_started_at": None if last_started is None else int(last_started),
    }
