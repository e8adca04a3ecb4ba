"""The job: the one stored record of Mainspring, and the small records inside it.

A job is frozen; it changes by `evolve`, and only the functions of `core.states` decide how. The header fields are
columns in a store, for a store must select and order by them; the rest travels as one opaque body.
This module may not know what a transition is, and may not import anything that does I/O.

The records are `msgspec.Struct`: building one takes 0.6 us where a frozen dataclass of this size takes 6 us, and
changing one 0.6 us instead of 17 us; a job is built or changed four times on its way.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, Self

import msgspec

SCHEMA = 3
"""The number of the body's shape. Add one when a body field is added: older readers then keep what they do not know."""

Rule = Literal["once", "skip", "merge"]
"""What a taken key means: `once` the holder always wins, `skip` while it lives, `merge` the holder takes the ask in."""


class State(StrEnum):
    """The stored states. What people see is `core.states.status`."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    DEAD = "dead"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether a job in this state has ended."""
        return self in TERMINAL


LIVE = frozenset({State.WAITING, State.RUNNING, State.PAUSED})
TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.DEAD, State.CANCELLED})


class Frozen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of the records: frozen, keyword-only, changed by `evolve`."""

    def evolve(self, **changes: Any) -> Self:
        """A copy with `changes`. Raises `TypeError` for a field that does not exist."""
        return msgspec.structs.replace(self, **changes)


class Error(Frozen, frozen=True, kw_only=True):
    """Why a run failed: the type and message of the exception, and the end of its traceback."""

    type: str
    message: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


class Run(Frozen, frozen=True, kw_only=True):
    """One closed attempt. `claim` is the number of the claim it ran under; `attempt` counts in its sequence, from 1."""

    claim: int
    attempt: int
    outcome: str
    """succeeded, failed, timed_out, snoozed, skipped, cancelled, dead, interrupted or released"""
    started_at: int
    ended_at: int
    worker: str = ""
    error: Error | None = None
    note: str = ""
    """The reason given with a snooze, cancel, skip or death."""


class Ask(Frozen, frozen=True, kw_only=True):
    """What a call, a tick or a change wants: the part of a job that a newer ask replaces."""

    id: str
    """uuid7; tells a repeated call from a new one."""
    input: str
    due_at: int
    asked_at: int
    first_asked_at: int | None = None
    """When the first ask of this burst came; bounds a debounced burst (`max_wait`)."""
    priority: int = 50
    fingerprint: str | None = None
    """Digest of the watched values; an ask with the fingerprint of the newest one changes nothing."""
    order: int | None = None
    """The source's own order; an ask older than the newest one changes nothing."""
    force: bool = False
    """Run again whatever the fingerprint: somebody said so by hand."""
    start_by: int | None = None
    retry: dict[str, Any] | None = None
    timeout: int | None = None
    retention: int | None = None
    meta: dict[str, str] = {}


class Job(Frozen, frozen=True, kw_only=True):
    """One stored unit of work. Times are ms since the epoch, on the store's clock; durations are ms."""

    # -- header: columns, which stores select and order by -------------------------------------------------------
    id: str
    task: str
    queue: str = "default"
    state: State = State.WAITING
    priority: int = 50
    """0-100, higher first, strict within a queue."""
    due_at: int
    """While waiting: when it may start. While running: when the lease ends. So recovery is nothing but being due."""
    version: int = 0
    """Of the row this was read from; each write of the row adds one. 0 = not stored yet."""
    token: str = ""
    """The fence: fresh for every claim call, and written only there."""
    claims: int = 0
    """How often it has been claimed."""
    settled: int = 0
    """`claims` at the last settle; `claims - settled` (less the run under way) runs in a row vanished silently."""
    worker: str = ""
    """Who claimed it last."""
    started_at: int | None = None
    """When it was claimed last."""
    last_worker: str = ""
    """Who held the claim before; a claim moves `worker` here, so that a vanished run can be recorded."""
    last_started_at: int | None = None
    expires_at: int | None = None
    """When a terminal row may be purged. None = never; 0, saved with a terminal state, erases the row at once."""
    origin: str = "call"
    """What asked for it: call, or a schedule or a change trigger by name."""
    keyed: bool = False
    """True: the id is the digest of a key. Count caps never touch it."""
    created_at: int
    progress: str | None = None
    """The last progress, as JSON text."""

    # -- payload: stored apart, carried only where asked for -----------------------------------------------------
    input: str | None = None
    """The arguments as a JSON object (text). None = not carried: a save leaves the stored one alone."""
    result: str | None = None
    """The result as JSON text. None = not carried."""

    # -- body: opaque to the stores ------------------------------------------------------------------------------
    schema: int = SCHEMA
    key: str | None = None
    rule: Rule | None = None
    ask: str = ""
    """The id of the newest ask that was taken in."""
    asked_at: int = 0
    first_asked_at: int | None = None
    """When the first ask of a debounced burst came; bounds the burst (`max_wait`)."""
    scheduled_at: int = 0
    """The time that was asked for. Survives retries and snoozes; lag is measured from it."""
    fingerprint: str | None = None
    order: int | None = None
    start_by: int | None = None
    """Not started by then: ends as cancelled, reason expired."""
    attempts: int = 0
    """Closed attempts of the current sequence that count (successes, failures, timeouts)."""
    failed_at: int | None = None
    """The first failure of the current sequence."""
    error: Error | None = None
    """Of the last failed run. Success forgets it."""
    reason: str = ""
    """Why it ended as it did, if not by success: exhausted, poison, expired, or the handler's or operator's words."""
    finished_at: int | None = None
    has_result: bool = False
    runs: tuple[Run, ...] = ()
    """The last closed attempts, oldest first."""
    recorded: int = 0
    """The last claim that vanished and is in `runs`, or was given back: none is recorded twice, or wrongly."""
    again: Ask | None = None
    """The newest ask that came while it was running."""
    cancelling: str | None = None
    """A cancel was asked for while it was running; the reason."""
    erase: bool = False
    """A delete was asked for while it was running: erase at settle."""
    verdict: str | None = None
    """What the run counts as if it vanishes now: `timed_out`, or None (an interruption)."""
    misfit_since: int | None = None
    """Since when workers put it back, because its input is made for another version of its task; see `core.misfit`."""
    retry: dict[str, Any] | None = None
    """This job's own retry policy (`policy.Retry.to_dict`), over the task's."""
    timeout: int | None = None
    retention: int | None = None
    """How long to keep the row after it completed or was cancelled. None = the task's."""
    kept: int | None = None
    """How long to keep the row however it ends, over every other retention: a tick's, which its schedule counts."""
    meta: dict[str, str] = {}
    """Whatever the caller attached: trace ids, tenant, user."""
    extra: dict[str, Any] = {}
    """Body fields of a newer version that this one does not know; they survive a save."""

    @property
    def attempt(self) -> int:
        """The number of the attempt that is running or comes next, 1-based."""
        return self.attempts + 1

    @property
    def interruptions(self) -> int:
        """How many runs in a row vanished without a word. While running, the run under way does not count."""
        under_way = 1 if self.state is State.RUNNING else 0
        return max(0, self.claims - under_way - self.settled)
