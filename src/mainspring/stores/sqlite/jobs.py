"""Jobs by id: add, save, renew, get. Each function is the inside of one transaction, and runs in a channel's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from mainspring.core.job import TERMINAL, Job, State
from mainspring.stores.sqlite import hints
from mainspring.stores.sqlite.counts import Place, Tally
from mainspring.stores.sqlite.rows import CHANGED, COLUMNS, JOB, JOB_WITH_PAYLOAD, changed_row, new_row
from mainspring.stores.sqlite.transaction import Bulk, ask, json_list

WAITING, RUNNING = State.WAITING.value, State.RUNNING.value

# -- the statements ----------------------------------------------------------------------------------------------

INSERT = Bulk(f"INSERT INTO mainspring_jobs (seq, {COLUMNS}) VALUES {{rows}}", columns=21)
INSERT_PAYLOADS = Bulk("INSERT INTO mainspring_payloads (seq, input, result) VALUES {rows}", columns=3)

# Which ids are taken, and the last number given.
TAKEN = f"""
    SELECT json_array((SELECT max(seq) FROM mainspring_jobs), (
        SELECT json_group_array({JOB})
        FROM json_each(?) AS ids CROSS JOIN mainspring_jobs AS jobs ON jobs.id = ids.value
    ))"""

# What a save must know of the rows that it is to replace.
STORED = """
    SELECT json_group_array(json_array(
        jobs.id, jobs.seq, jobs.version, jobs.token, jobs.due_at, jobs.claims,
        jobs.worker, jobs.started_at, jobs.last_worker, jobs.last_started_at,
        jobs.queue, jobs.task, jobs.origin, jobs.keyed, jobs.state
    ))
    FROM json_each(?) AS ids CROSS JOIN mainspring_jobs AS jobs ON jobs.id = ids.value"""

UPDATE = Bulk(
    f"""
    UPDATE mainspring_jobs SET {", ".join(f"{name} = new.column{at}" for at, name in enumerate(CHANGED, 2))}
    FROM (VALUES {{rows}}) AS new
    WHERE mainspring_jobs.seq = new.column1""",
    columns=1 + len(CHANGED),
)

# A settle carries the input that it was claimed with; to write up to 256 KB again, only where it is another one.
UPDATE_PAYLOADS = Bulk(
    """
    INSERT INTO mainspring_payloads (seq, input, result) VALUES {rows}
    ON CONFLICT (seq) DO UPDATE SET input = coalesce(excluded.input, input), result = coalesce(excluded.result, result)
    WHERE excluded.input IS NOT NULL AND excluded.input IS NOT input
       OR excluded.result IS NOT NULL AND excluded.result IS NOT result""",
    columns=3,
)

RENEW = Bulk(
    """
    UPDATE mainspring_jobs SET
        due_at = max(due_at, beats.column3), version = version + 1, progress = coalesce(beats.column4, progress)
    FROM (VALUES {rows}) AS beats
    WHERE id = beats.column1 AND token = beats.column2 AND state = 'running'""",
    columns=4,
)
HELD = f"""
    SELECT json_group_array({JOB})
    FROM json_each(?) AS beats CROSS JOIN mainspring_jobs AS jobs ON jobs.id = json_extract(beats.value, '$[0]')
    WHERE jobs.token = json_extract(beats.value, '$[1]') AND jobs.state = 'running'"""

GET = f"""
    SELECT json_group_array({JOB_WITH_PAYLOAD})
    FROM json_each(?) AS ids CROSS JOIN mainspring_jobs AS jobs ON jobs.id = ids.value
    LEFT JOIN mainspring_payloads AS payloads ON payloads.seq = jobs.seq"""

ERASE = tuple(
    f"DELETE FROM mainspring_{table} WHERE {seq} IN (SELECT value FROM json_each(?))"
    for table, seq in (("jobs", "seq"), ("payloads", "seq"), ("logs", "job"))
)


# -- add ---------------------------------------------------------------------------------------------------------


class NewJob(NamedTuple):
    """A job to insert, built before the transaction begins."""

    id: str
    row: tuple[Any, ...]
    payload: tuple[str | None, str | None]
    place: Place


def new_job(job: Job) -> NewJob:
    return NewJob(job.id, new_row(job), (job.input, job.result), _place(job))


def _place(job: Job) -> Place:
    return Place(job.queue, job.task, job.origin, int(job.keyed), job.state.value)


def add(connection: sqlite3.Connection, jobs: Sequence[NewJob]) -> dict[str, list[Any]]:
    """Insert those whose id is free; answer the rows of the others, by id."""
    last, taken = ask(connection, TAKEN, json_list([job.id for job in jobs]))
    stored = {row[0]: row for row in taken}
    new = list({job.id: job for job in reversed(jobs) if job.id not in stored}.values())
    new.reverse()
    first = (last or 0) + 1
    INSERT.run(connection, [(seq, *job.row) for seq, job in enumerate(new, first)])
    payloads = [(seq, *job.payload) for seq, job in enumerate(new, first) if job.payload != (None, None)]
    INSERT_PAYLOADS.run(connection, payloads)
    tally = Tally()
    for job in new:
        tally.enter(job.place)
    tally.write(connection)
    hints.bump(connection, {job.place.queue for job in new if job.place.state == WAITING})
    return stored


# -- save --------------------------------------------------------------------------------------------------------


class Stored(NamedTuple):
    """A row as a save finds it."""

    id: str
    seq: int
    version: int
    token: str
    due_at: int
    claims: int
    worker: str
    started_at: int | None
    last_worker: str
    last_started_at: int | None
    queue: str
    task: str
    origin: str
    keyed: int
    state: str

    @property
    def place(self) -> tuple[Any, ...]:
        return self[10:]

    def after(self, job: Job) -> Job:
        """The new row: the job as it was saved, but with what only claims write."""
        if (job.claims, job.worker, job.started_at, job.last_worker, job.last_started_at) == self[5:10]:
            return job.evolve(version=job.version + 1)
        return job.evolve(
            version=job.version + 1, claims=self.claims, worker=self.worker, started_at=self.started_at,
            last_worker=self.last_worker, last_started_at=self.last_started_at,
        )  # fmt: skip


class Change(NamedTuple):
    """A row to replace, built before the transaction begins."""

    id: str
    version: int
    token: str
    row: tuple[Any, ...]
    payload: tuple[str | None, str | None]
    place: Place
    due_at: int
    erase: bool


def change_of(job: Job) -> Change:
    return Change(
        id=job.id, version=job.version, token=job.token, row=changed_row(job), payload=(job.input, job.result),
        place=_place(job), due_at=job.due_at, erase=job.expires_at == 0 and job.state in TERMINAL,
    )  # fmt: skip


def save(connection: sqlite3.Connection, changes: Sequence[Change]) -> list[Stored | None]:
    """Replace each row that is still the one that was read; answer what it was, None for a lost swap."""
    rows = [Stored(*row) for row in ask(connection, STORED, json_list([change.id for change in changes]))]
    stored = {row.id: row for row in rows}
    answer: list[Stored | None] = []
    won: list[tuple[Change, Stored]] = []
    for change in changes:
        row = stored.get(change.id)
        if row is None or row.version != change.version or row.token != change.token:
            answer.append(None)
            continue
        won.append((change, row))
        answer.append(row)
        # A second save of the same version in this batch has lost.
        del stored[change.id]
    _replace(connection, won)
    return answer


def _replace(connection: sqlite3.Connection, won: Sequence[tuple[Change, Stored]]) -> None:
    kept = [(change, row) for change, row in won if not change.erase]
    UPDATE.run(connection, [(row.seq, *change.row) for change, row in kept])
    UPDATE_PAYLOADS.run(
        connection, [(row.seq, *change.payload) for change, row in kept if change.payload != (None, None)]
    )
    erase(connection, [row.seq for change, row in won if change.erase])
    tally = Tally()
    for change, row in won:
        tally.leave(row.place)
        if not change.erase:
            tally.enter(change.place)
    tally.write(connection)
    hints.bump(connection, {change.place.queue for change, row in kept if _claimable_sooner(change, row)})


def _claimable_sooner(change: Change, row: Stored) -> bool:
    """Whether somebody who sleeps until the next due time may have to look earlier now."""
    state = change.place.state
    return state == WAITING or (state == RUNNING and change.due_at < row.due_at)


def erase(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
    """Erase rows with payload and logs."""
    if seqs:
        for statement in ERASE:
            connection.execute(statement, (json_list(seqs),))


# -- renew and get -----------------------------------------------------------------------------------------------


def renew(connection: sqlite3.Connection, beats: Sequence[tuple[str, str, int, str | None]]) -> list[list[Any]]:
    """Lengthen what is still held; answer those rows."""
    RENEW.run(connection, beats)
    rows: list[list[Any]] = ask(connection, HELD, json_list([beat[:2] for beat in beats]))
    return rows


def get(connection: sqlite3.Connection, ids: Sequence[str]) -> list[list[Any]]:
    """The rows with these ids, with payload, in any order."""
    rows: list[list[Any]] = ask(connection, GET, json_list(ids))
    return rows
