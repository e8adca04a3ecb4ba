"""Records: small named documents with a version, an optional due time and an optional expiry.

Gates, locks, leaders, workers, task snapshots, followers, completions, schedules and the entries of the audit trail are
records of a kind; cursors will be.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mainspring.core.job import Frozen

GATE = "gate"
LEASE = "lease"
WORKER = "worker"
TASK = "task"
FOLLOWER = "follower"
COMPLETION = "completion"
SCHEDULE = "schedule"
DUTY = "duty"
AUDIT = "audit"


class Record(Frozen, frozen=True, kw_only=True):
    """A named document. `version` is the one read; 0 = must not exist. The first stored version is `written_at`, the
    time of birth in ms, and each write adds one: so versions only grow over erase and rebirth, and serve as fences."""

    kind: str
    name: str
    version: int = 0
    written_at: int = 0
    due_at: int | None = None
    expires_at: int | None = None
    value: dict[str, Any] = msgspec.field(default_factory=dict)


def queue_gate(queue: str) -> str:
    """The name of the gate that closes a queue."""
    return f"queue:{queue}"


def task_gate(task: str) -> str:
    """The name of the gate that closes a task, in all queues."""
    return f"task:{task}"


def closed(gate: Record, now: int) -> bool:
    """Whether a gate keeps claims out at `now`. A gate without expiry is a pause without end."""
    return gate.expires_at is None or gate.expires_at > now


def completion_name(id: str, ask: str, scheduled_at: int) -> str:
    """The name of the record that completes a unit of work: a job as it was asked for once.

    Its retries and snoozes are the same unit; a rerun has another time, a new ask another id.
    """
    return f"{id}:{ask}:{scheduled_at}"
