"""What becomes of a schedule by what somebody says: made, changed, declared anew, paused, resumed. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mainspring.core.ids import new_id
from mainspring.core.schedule import LIFE, WHEN, Missed, Schedule
from mainspring.core.schedule_options import TIMING, check_schedule, schedule_fields
from mainspring.core.ticks import KEPT, ON_TIME, asleep, overdue
from mainspring.core.trigger import Every, span
from mainspring.errors import DefinitionError

_RETRIES = ("max_retries", "retry_delay")


def new_schedule(name: str, task: str, input: str, options: Mapping[str, Any], now: int) -> Schedule:
    """A schedule that has not run yet. Raises `DefinitionError`, `UnknownOption`."""
    fields = schedule_fields(options, now)
    made = Schedule(id=new_id(), name=name, task=task, input=input, created_at=now, updated_at=now, **fields)
    return begin(check_schedule(made), now)


def changed(schedule: Schedule, now: int, options: Mapping[str, Any], **fields: Any) -> Schedule:
    """`schedule` with other options, and other `fields`. Where its times are others, its next tick is counted anew.

    Raises `DefinitionError`, `UnknownOption`.
    """
    options = _with_retries(options, schedule.retry)
    made = schedule.evolve(**schedule_fields(options, now), **fields, updated_at=now)
    check_schedule(made)
    if not any(name in options for name in TIMING):
        return made.evolve(span=_span(made, now))
    if schedule.at is not None and made.at is None and "recurring" not in options:
        made = made.evolve(recurring=True)
    if made.every is not None and made.every == schedule.every and "start" not in options:
        made = made.evolve(start=schedule.start)
    if _times(made) == _times(schedule):
        return going_on(made.evolve(span=_span(made, now)), now)
    return begin(_of_other_times(made, schedule, now), now)


def _with_retries(options: Mapping[str, Any], retry: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Where only the number of retries is given, or only the time before each, the other one is as it was. No number:
    the schedule says nothing of retries any more, and its task does."""
    if "max_retries" in options and options["max_retries"] is None and options.get("retry_delay") is None:
        return {"retry": None} | {name: value for name, value in options.items() if name not in _RETRIES}
    if retry is None or retry.get("backoff") != "fixed" or retry.get("max_attempts", 0) < 1:
        return options
    stored = dict(zip(_RETRIES, (retry["max_attempts"] - 1, retry["initial_delay"]), strict=True))
    given = {name: value for name, value in options.items() if name not in stored or value is not None}
    return stored | given if any(name in given for name in stored) else options


def redeclared(schedule: Schedule, declared: Schedule, now: int, started: bool = False) -> Schedule:
    """A stored schedule as the code declares it now, with its own life and history. `started`: the code says when its
    interval begins, and does not leave that to when it is asked."""
    made = declared.evolve(**{name: getattr(schedule, name) for name in LIFE}, updated_at=now)
    if made.every is not None and made.every == schedule.every and not started:
        made = made.evolve(start=schedule.start)
    return going_on(made, now) if _times(made) == _times(schedule) else begin(_of_other_times(made, schedule, now), now)


def _of_other_times(schedule: Schedule, before: Schedule, now: int) -> Schedule:
    """Without what waits for its turn of the times that were; what has come by them, and nobody has fired, is missed.
    Raises `DefinitionError` for one that is over before it begins."""
    had = -1 if schedule.last_tick is None else schedule.last_tick
    if schedule.at is not None and schedule.at != before.at and schedule.at <= had:
        at = datetime.fromtimestamp(schedule.at / 1000, UTC).isoformat(sep=" ")
        raise DefinitionError(
            f"bad at: {at}. Schedule {schedule.name!r} has had a later time already; expected one after it. To run it "
            "at once: app.schedules.run(...)."
        )
    before = _passed(before, now)
    skipped = schedule.skipped + len(schedule.backlog)
    return schedule.evolve(backlog=(), skipped=skipped, missed=before.missed, last_missed=before.last_missed)


def going_on(schedule: Schedule, now: int) -> Schedule:
    """A schedule whose times are as they were: one that was to run once, and has, does not begin again."""
    return schedule if schedule.next is not None or not schedule.recurring else begin(schedule, now)


def _passed(schedule: Schedule, now: int) -> Schedule:
    """With those ticks counted as missed that have come and that nobody has dealt with: they are given up now."""
    if schedule.next is None or schedule.next > now or asleep(schedule) or not schedule.recurring:
        return schedule
    try:
        found, _ = overdue(schedule, schedule.next, now)
    except DefinitionError:  # it cannot be read here, and is about to be mended
        return schedule
    story = Missed(first=schedule.next, last=found.newest[-1], count=found.count, exact=found.exact)
    return schedule.evolve(missed=schedule.missed + found.count, last_missed=story)


def _times(schedule: Schedule) -> tuple[object, ...]:
    return tuple(getattr(schedule, name) for name in WHEN)


def expires_at(schedule: Schedule, now: int) -> int | None:
    """When a schedule that is over may be forgotten; None: it is not over, or is still declared: forgotten, it would
    begin again with the next worker."""
    return now + KEPT if schedule.over and (schedule.retired or not schedule.definition) else None


def _span(schedule: Schedule, now: int) -> int:
    return span(schedule.trigger, now, schedule.history) if schedule.recurring else 0


def begin(schedule: Schedule, now: int) -> Schedule:
    """A schedule that is new, resumed or changed: its next tick from `now` on."""
    schedule = schedule.evolve(span=_span(schedule, now))
    if schedule.at is not None:
        done = schedule.last_tick is not None and schedule.last_tick >= schedule.at
        return schedule.evolve(next=None if done else schedule.at)
    trigger = schedule.trigger
    if schedule.last_tick is not None and now < schedule.last_tick <= now + ON_TIME:
        now = schedule.last_tick  # the clock of whoever fired it is ahead of this one: not twice
    if isinstance(trigger, Every) and schedule.fixed_delay and schedule.fired:
        # Counted from the end of a run that goes on; else from now.
        return schedule.evolve(next=None if schedule.live else now + trigger.period)
    if isinstance(trigger, Every):
        # One that starts now, starts now, but not twice.
        return schedule.evolve(next=trigger.next_after(now if schedule.last_tick == now else now - 1))
    return schedule.evolve(next=trigger.next_after(now))


def pause(schedule: Schedule, reason: str, now: int) -> Schedule:
    """It fires nothing until it is resumed; ticks that waited for their turn are left out."""
    skipped = schedule.skipped + len(schedule.backlog)
    return _passed(schedule, now).evolve(paused=True, pause_reason=reason, backlog=(), skipped=skipped)


def resume(schedule: Schedule, now: int) -> Schedule:
    """It goes on with its first tick from now; nothing of the pause is made up for, but for a single run whose time
    has come meanwhile."""
    awake = schedule.evolve(paused=False, pause_reason="")
    return awake if not schedule.recurring and schedule.next is None else begin(awake, now)
