"""What any claim must be true to, judged by a model that holds the same rows.

The contract leaves a store some freedom (how lanes of one priority are mixed within a batch), so a claim is not
compared with the model's own choice but judged, and then taken over by the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mainspring.core.job import Job, State
from mainspring.core.records import GATE
from mainspring.stores.base import Claim
from tests.conformance.model import ModelStore


class Asked(NamedTuple):
    """The arguments of a claim."""

    queue: str
    tasks: Mapping[str, int | None]
    worker: str
    token: str
    now: int
    until: int
    limit: int
    cap: int | None = None


def judge(model: ModelStore, asked: Asked, claim: Claim) -> None:
    """Fail unless `claim` is a right answer for the rows of `model`; then let the model take it over."""
    due = model.claimable(asked.queue, asked.tasks, asked.now)
    by_id = {row.id: row for row in due}
    ids = [job.id for job in claim.jobs]
    assert len(ids) == len(set(ids)), f"a job was taken twice: {ids}"
    assert len(ids) <= asked.limit, f"more than the limit of {asked.limit}: {ids}"
    assert set(ids) <= set(by_id), f"taken, but not claimable: {set(ids) - set(by_id)}"
    taken = [by_id[id] for id in ids]
    alive = model.alive(asked.now)
    _judge_caps(alive, taken, asked)
    _judge_choice(alive, due, taken, asked)
    for job in claim.jobs:
        expected = model.take(by_id[job.id], asked.worker, asked.token, asked.now, asked.until)
        assert job.evolve(result=None) == expected.evolve(result=None), "what a claim writes and answers"
    _judge_next_due(model, asked, claim)


def _judge_caps(alive: list[Job], taken: list[Job], asked: Asked) -> None:
    after = alive + taken
    for task in {row.task for row in taken}:
        most = asked.tasks[task]
        assert most is None or sum(r.task == task for r in after) <= most, f"more than {most} of {task}"
    if taken and asked.cap is not None:
        assert sum(r.queue == asked.queue for r in after) <= asked.cap, f"more than {asked.cap} in {asked.queue}"


def _judge_choice(alive: list[Job], due: list[Job], taken: list[Job], asked: Asked) -> None:
    """Nothing that was free to go was passed over for something that comes after it."""
    after = alive + taken
    if asked.cap is not None and sum(r.queue == asked.queue for r in after) >= asked.cap:
        full = set(asked.tasks)
    else:
        full = {t for t, most in asked.tasks.items() if most is not None and sum(r.task == t for r in after) >= most}
    left = [row for row in due if row not in taken]
    free = [row for row in left if row.task not in full]
    if len(taken) < asked.limit:
        assert not free, f"left lying though there was room: {[r.id for r in free]}"
    for row in taken:
        worse = [r for r in free if _rank(r) < _rank(row)]
        assert not worse, f"{row.id} was taken before {[r.id for r in worse]}"
        if row.state is State.WAITING:
            lane = [r for r in left if (r.state, r.task, r.priority) == (row.state, row.task, row.priority)]
            assert all((row.due_at, row.id) < (r.due_at, r.id) for r in lane), f"{row.id} jumped its lane"


def _rank(row: Job) -> tuple[bool, int]:
    lapsed = row.state is State.RUNNING
    return not lapsed, 0 if lapsed else -row.priority


def _judge_next_due(model: ModelStore, asked: Asked, claim: Claim) -> None:
    if len(claim.jobs) < asked.limit:
        assert claim.next_due is None or claim.next_due > asked.now, "nothing is left, but it says: at once"
    times = {row.due_at for row in model.data.rows.values() if row.state in (State.WAITING, State.RUNNING)}
    times |= {g.expires_at for (kind, _), g in model.data.records.items() if kind == GATE and g.expires_at is not None}
    for time in (asked.now, *sorted(t for t in times if t > asked.now)):
        if takes_something(model, asked, time):
            assert claim.next_due is not None, (
                f"something is claimable at now + {time - asked.now}, it says: nothing known"
            )
            assert claim.next_due <= time, (
                f"claimable at now + {time - asked.now}, it says + {claim.next_due - asked.now}"
            )
            return


def takes_something(model: ModelStore, asked: Asked, time: int) -> bool:
    """Whether the same claim at `time` would take a job."""
    alive = model.alive(time)
    if asked.cap is not None and sum(r.queue == asked.queue for r in alive) >= asked.cap:
        return False
    for row in model.claimable(asked.queue, asked.tasks, time):
        most = asked.tasks[row.task]
        if most is None or sum(r.task == row.task for r in alive) < most:
            return True
    return False
