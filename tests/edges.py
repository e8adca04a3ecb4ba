"""Names the edge that a transition took, from the rows before and after it. Shared by all walks over the states."""

from __future__ import annotations

from mainspring.core.job import Job, State
from mainspring.core.outcome import Cancelled, Dead, Failure, Outcome, Skipped, Snoozed, Success

Edge = tuple[State, str, State]

_NAMES: dict[type, dict[State, str]] = {
    Success: {State.COMPLETED: "succeed"},
    Skipped: {State.COMPLETED: "skip"},
    Failure: {State.WAITING: "retry", State.FAILED: "fail", State.DEAD: "die", State.CANCELLED: "cancel"},
    Snoozed: {State.WAITING: "snooze", State.CANCELLED: "cancel"},
    Cancelled: {State.CANCELLED: "cancel"},
    Dead: {State.DEAD: "die"},
}


def settled(before: Job, after: Job, outcome: Outcome) -> Edge:
    """The edge of `states.settle`."""
    if after.state is State.WAITING and after.ask != before.ask:
        return before.state, "again", after.state
    return before.state, _NAMES[type(outcome)].get(after.state, f"{type(outcome).__name__}?"), after.state


def began(before: Job, after: Job) -> Edge:
    """The edge of `states.begin`."""
    if after.state is State.RUNNING:
        name = "begin"
    elif after.state is State.WAITING and after.ask != before.ask:
        name = "again"
    elif after.reason == "expired":
        name = "expire"
    else:
        name = {State.WAITING: "retry", State.DEAD: "die", State.FAILED: "fail", State.CANCELLED: "cancel"}[after.state]
    return before.state, name, after.state


def released(before: Job, after: Job) -> Edge:
    """The edge of `states.release`."""
    if after.state is State.CANCELLED:
        return before.state, "cancel", after.state
    name = "again" if after.ask != before.ask else "release"
    return before.state, name, after.state


def joined(before: Job, after: Job) -> Edge:
    """The edge of `states.join`."""
    return before.state, "revive" if before.state.terminal else "merge", after.state
