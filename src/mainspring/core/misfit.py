"""Misfits: jobs whose input is made for another version of their task, as they come up while old and new code run side
by side.

Whoever enqueues checks the names of the arguments, by the task's code or by what workers have told of it. So an input
with an argument that the task does not know, or without one that it needs, was made by another version of the task, and
a worker with that version may be there or come. It is put back for that one, for a while; then it is bad input.
Pure: no clock, no store.
"""

from __future__ import annotations

from mainspring.core.job import Job
from mainspring.core.outcome import Snoozed

PATIENCE = 3_600_000
"""ms for which a misfit is put back: a deploy is over by then, or has been forgotten."""
SHORTEST, LONGEST = 1_000, 20_000
"""ms between two tries. In between, a misfit waits as long as it has waited: a worker of the right version may take it
at any of them. Which one takes it is chance, so there are many tries in an hour: where one worker in twenty is of the
right version, it misses 1 misfit in 13,000; with a minute between two tries it missed 1 in 30."""


def put_back(job: Job, why: str, now: int) -> Snoozed | None:
    """What becomes of a misfit; None: it has been put back for long enough."""
    since = now if job.misfit_since is None else job.misfit_since
    waited = max(0, now - since)
    if waited >= PATIENCE:
        return None
    until = now + min(max(waited, SHORTEST), LONGEST)
    return Snoozed(until=until, note=f"left for a worker with another version of its task: {why}", misfit_since=since)
