"""A job as a row: a header of fixed layout, which the scripts read, and the rest as one opaque body.

Building and reading rows is the client's work, so that the server does none of it. The layouts are those of
`lua/rows.lua`: what only claims write, what all write, the rest of the header, the body.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import msgspec

from mainspring.core.codec import decode_body, encode_body
from mainspring.core.job import SCHEMA, Job, State
from mainspring.errors import StoreUnusable

NONE = -1
"""A time that is not set."""
END = b"\0"
"""Ends a text."""
SEPARATOR = "\x1f"
"""Between the parts of a kind (queue, task, keyed, origin): a character that is in no name."""

# version, claims, started_at, last_started_at; then token, worker, last_worker. A stored row has its place before them.
_CLAIMED = struct.Struct(">QIqq")
_KEPT = struct.Struct(">Iqq")
# state, due_at, priority, expires_at, settled, created_at; then kind, progress
_REST = struct.Struct(">BqBqIq")
_PLACE = 8

_CODES = {state: code for code, state in enumerate(State)}
_STATES = [state.value for state in State]

_decode_json = msgspec.json.Decoder(dict[str, Any]).decode


def new_row(job: Job) -> tuple[str | bytes, ...]:
    """The arguments of `add.lua` for a job: version 1."""
    return job.id, b"".join((_claimed(job, 1), _rest(job))), job.input or "", job.result or ""


def changed_row(job: Job) -> tuple[str | bytes | int, ...]:
    """The arguments of `save.lua` for a job that was changed."""
    kept = _KEPT.pack(job.claims, _time(job.started_at), _time(job.last_started_at)) + _texts(job)
    return job.id, job.version, kept, job.token, _rest(job), job.input or "", job.result or ""


def _claimed(job: Job, version: int) -> bytes:
    return _CLAIMED.pack(version, job.claims, _time(job.started_at), _time(job.last_started_at)) + _texts(job)


def _texts(job: Job) -> bytes:
    return f"{job.token}\0{job.worker}\0{job.last_worker}\0".encode()


def _rest(job: Job) -> bytes:
    numbers = _REST.pack(
        _CODES[job.state], job.due_at, job.priority, _time(job.expires_at), job.settled, job.created_at
    )
    kind = SEPARATOR.join((job.queue, job.task, "1" if job.keyed else "0", job.origin))
    return numbers + f"{kind}\0{job.progress or ''}\0{encode_body(job)}".encode()


def _time(time: int | None) -> int:
    return NONE if time is None else time


def read_job(id: str, row: bytes, input: bytes | None = None, result: bytes | None = None) -> Job:
    """The job of a stored row. Raises `StoreUnusable` for a row that is no job."""
    try:
        fields, body = _read(row)
        fields["id"] = id
        if input is not None:
            fields["input"] = input.decode()
        if result is not None:
            fields["result"] = result.decode()
        # Header and body in one conversion: 3 us; the codec's way, with keyword arguments of two dicts, takes 8 us.
        job = msgspec.convert(fields | _decode_json(body), Job)
    except (msgspec.DecodeError, msgspec.ValidationError, struct.error, ValueError, IndexError) as e:
        raise StoreUnusable(
            f"the stored job {id!r} cannot be read: {e}. Erase it, or restore the database from a backup."
        ) from e
    return job if job.schema <= SCHEMA else job.evolve(**decode_body(body.decode()))


def _read(row: bytes) -> tuple[dict[str, Any], bytes]:
    """The fields of the header, and the body."""
    version, claims, started_at, last_started_at = _CLAIMED.unpack_from(row, _PLACE)
    token, worker, last_worker, rest = row[_PLACE + _CLAIMED.size :].split(END, 3)
    state, due_at, priority, expires_at, settled, created_at = _REST.unpack_from(rest)
    kind, progress, body = rest[_REST.size :].split(END, 2)
    queue, task, keyed, origin = kind.decode().split(SEPARATOR, 3)
    fields = {
        "version": version, "claims": claims, "started_at": None if started_at == NONE else started_at,
        "last_started_at": None if last_started_at == NONE else last_started_at, "token": token.decode(),
        "worker": worker.decode(), "last_worker": last_worker.decode(), "state": _STATES[state], "due_at": due_at,
        "priority": priority, "expires_at": None if expires_at == NONE else expires_at, "settled": settled,
        "created_at": created_at, "queue": queue, "task": task, "keyed": keyed == "1", "origin": origin,
        "progress": progress.decode() or None,
    }  # fmt: skip
    return fields, body


def saved_row(job: Job, answer: int | bytes | None) -> Job | None:
    """The row after a save of `job` that `save.lua` answered so."""
    if answer is None:
        return None
    if not isinstance(answer, bytes):
        return job.evolve(version=job.version + 1)
    stored = read_job(job.id, answer)
    return job.evolve(
        version=stored.version, claims=stored.claims, worker=stored.worker, started_at=stored.started_at,
        last_worker=stored.last_worker, last_started_at=stored.last_started_at,
    )  # fmt: skip


def pack_named(tasks: Iterable[tuple[str, int | None]]) -> str:
    """Named tasks with their caps, in one text in which `claim.lua` looks up the few that it meets."""
    return "\n" + "".join(f"{name}={NONE if cap is None else cap}\n" for name, cap in tasks)
