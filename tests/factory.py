"""Jobs, asks and records for tests, and what a store's claim and save make of a row, without a store."""

from __future__ import annotations

import itertools
from typing import Any

from mainspring.core.ids import new_id, new_token
from mainspring.core.job import Ask, Error, Job, State
from mainspring.core.outcome import Cancelled, Dead, Failure, Outcome, Skipped, Snoozed, Success

NOW = 1_700_000_000_000
LEASE = 15_000
BOOM = Error(type="ValueError", message="boom")

_numbers = itertools.count(1)


class FakeClock:
    """A clock that stands still until a test moves it. Fits `open_store(url, time=...)`."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, ms: int) -> int:
        self.now += ms
        return self.now


def make_job(id: str | None = None, *, state: State = State.WAITING, due: int = NOW, **fields: Any) -> Job:
    """A job as a client would add it; any field may be given."""
    fields = {"task": "t", "created_at": NOW, "input": '{"a":1}', "scheduled_at": due, "asked_at": NOW} | fields
    if state.terminal:
        fields = {"finished_at": NOW, "expires_at": NOW + 86_400_000} | fields
    return Job(id=id or new_id(), state=state, due_at=due, **fields)


def make_ask(value: str = "a", *, due: int = NOW, **fields: Any) -> Ask:
    """An ask for `value`; without a fingerprint, unless one is given."""
    given: dict[str, Any] = {"id": f"ask-{next(_numbers)}", "asked_at": NOW} | fields
    return Ask(input=f'{{"value":"{value}"}}', due_at=due, **given)


def asked(ask: Ask, **fields: Any) -> Job:
    """The job that `ask` begins."""
    given: dict[str, Any] = {"keyed": True, "rule": "merge", "task": "t", "created_at": ask.asked_at, "id": "k1"}
    given |= fields
    return Job(
        due_at=ask.due_at, scheduled_at=ask.due_at, input=ask.input, ask=ask.id,
        asked_at=ask.asked_at, first_asked_at=ask.asked_at, fingerprint=ask.fingerprint, order=ask.order,
        start_by=ask.start_by, priority=ask.priority, retry=ask.retry, **given,
    )  # fmt: skip


def claimed(job: Job, now: int = NOW, worker: str = "w:1", lease: int = LEASE) -> Job:
    """What a store's claim makes of a due row."""
    assert job.due_at <= now, "a claim takes what is due"
    assert job.state in (State.WAITING, State.RUNNING), f"a claim takes what waits or has lapsed, not {job.state}"
    return job.evolve(
        state=State.RUNNING, due_at=now + lease, token=new_token(), worker=worker, started_at=now,
        claims=job.claims + 1, version=job.version + 1, last_worker=job.worker, last_started_at=job.started_at,
    )  # fmt: skip


def vanished(job: Job, times: int = 1, worker: str = "w:1") -> Job:
    """The job, claimed again after `times` claims in a row that vanished; it is due at once each time."""
    for _ in range(times):
        job = claimed(job.evolve(due_at=NOW), worker=worker)
    return claimed(job.evolve(due_at=NOW), worker="w:next")


OUTCOMES: dict[str, Outcome] = {
    "success": Success(result="1"),
    "failure": Failure(error=BOOM),
    "timeout": Failure(error=BOOM, timed_out=True),
    "hopeless": Failure(error=BOOM, retryable=False),
    "forgotten": Failure(error=BOOM, retryable=False, dead_letter=False),
    "snooze": Snoozed(until=NOW + 30_000, note="later"),
    "misfit": Snoozed(until=NOW + 1_000, note="left", misfit_since=NOW),
    "skip": Skipped(note="gone"),
    "cancelled": Cancelled(reason="by itself"),
    "dead": Dead(reason="hopeless", error=BOOM),
}
