"""What a schedule does now, as pure functions: which ticks to fire, which were missed, which jobs they are.

All policy of schedules is decided here: catch-up, overlap, fixed delay, jitter. The caller looks up which runs still go
on, adds the jobs of the answer and writes the schedule, in that order; so a death in between costs nothing, for the
next one adds the same ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from mainspring.core.duration import UNITS
from mainspring.core.ids import new_id
from mainspring.core.job import LIVE, Job, State
from mainspring.core.schedule import Missed, Schedule
from mainspring.core.trigger import Ticks, latest

ON_TIME = UNITS["m"]
"""ms by which a tick may be late and still run under catch_up="skip": a busy worker is not one that was down."""
RECHECK = 10_000
"""ms after which a schedule that waits for the end of a run looks again. Whoever ends the run looks at once."""
RECHECK_WAITING = 60_000
"""The same while that run only waits, for a retry: somebody may cancel or erase it, and nobody looks then."""
LONGEST_QUEUE = 100
"""Ticks that may wait for their turn; more are left out, but for those that are caught up at once."""
KEPT = 90 * UNITS["d"]
"""The least time for which the row of a run is kept, if its schedule does not count it out before; and how long a
schedule is kept that is over."""
NOTED = 20
"""Entries that are looked up for whether they still go on, where nothing hangs on it: runs may overlap."""
AT_ONCE = 500
"""The same where a tick does not run beside another run: only runs that are asked for by hand can be so many."""


class Plan(NamedTuple):
    """What to do: add a job for each of `ticks`, then store `schedule`, due at `due_at`; `dropped` entries may go."""

    schedule: Schedule
    ticks: tuple[int, ...]
    due_at: int | None
    dropped: tuple[str, ...] = ()


class Placing(NamedTuple):
    """Where the jobs of a task go, as the task says. `expires` in ms."""

    queue: str = "default"
    priority: int = 50
    expires: int | None = None


# -- firing ------------------------------------------------------------------------------------------------------


def plan(schedule: Schedule, rows: Mapping[str, Job | None], now: int) -> Plan:
    """What `schedule` does at `now`. `rows`: the jobs of its `open_entries`, None for those that are not there.

    It fires nothing but what anybody would who reads the same schedule, however much later: its backlog, and its next
    tick. Where more have come meanwhile, what becomes of them is written down first, and fired then.
    """
    schedule, dropped_before = _take_back(schedule, rows)
    schedule, taken_in, dropped = _take_in(schedule, rows, now)
    dropped = dropped_before + dropped
    ended = tuple(entry for entry in schedule.live if not _goes_on(rows.get(entry)))
    schedule = schedule.evolve(live=tuple(entry for entry in schedule.live if entry not in ended))
    if asleep(schedule):
        return Plan(schedule, (), None, dropped)
    schedule = _count_from_end(schedule, [rows.get(entry) for entry in ended], now)
    schedule, ticks, out = _fire(schedule)
    arrived = schedule.next is not None and schedule.next <= now
    if arrived and (taken_in or rows.get(str(schedule.next)) is not None):
        return Plan(schedule, ticks, now, dropped + out)
    if schedule.next is not None and arrived:
        schedule, several = _arrive(schedule, schedule.next, now)
        if several and _release(schedule)[1]:
            return Plan(schedule, ticks, now, dropped + out)
    schedule, more, gone = _fire(schedule)
    return Plan(schedule, ticks + more, due_at(schedule, now, rows), dropped + out + gone)


def open_entries(schedule: Schedule, now: int) -> tuple[str, ...]:
    """The entries whose jobs a plan must know: those that may go on, the next tick, which somebody may have added and
    died over it, and those that were left out last, which somebody may have added in that very moment."""
    known = (*schedule.live, *(str(tick) for tick in _left_out(schedule)))
    if schedule.next is None or schedule.next > now:
        return known
    return (*known, str(schedule.next))


def _left_out(schedule: Schedule) -> list[int]:
    """Ticks that were next when they were counted as missed or skipped, and nothing was fired since."""
    noted = next((int(entry) for entry in reversed(schedule.recent) if entry.isdigit()), -1)
    missed = None if schedule.last_missed is None else schedule.last_missed.first
    return sorted(tick for tick in {missed, schedule.last_skipped} if tick is not None and tick > noted)


def _take_back(schedule: Schedule, rows: Mapping[str, Job | None]) -> tuple[Schedule, tuple[str, ...]]:
    """The schedule with those noted that were left out while somebody else added their job, which began before they
    were: `stands` let it, and it is to be known that it runs."""
    dropped: tuple[str, ...] = ()
    for tick in _left_out(schedule):
        row = rows.get(str(tick))
        if row is None or not row.claims or row.state is State.CANCELLED:
            continue  # nor will it run
        schedule, out = _note(schedule.evolve(fired=schedule.fired + 1), [str(tick)])
        dropped += out
        if tick == schedule.last_skipped:
            schedule = schedule.evolve(skipped=schedule.skipped - 1, last_skipped=None)
        elif schedule.last_missed is not None:
            count = schedule.last_missed.count - 1
            story = schedule.last_missed.evolve(count=count) if count else None
            schedule = schedule.evolve(missed=schedule.missed - 1, last_missed=story)
    return schedule, dropped


def _take_in(schedule: Schedule, rows: Mapping[str, Job | None], now: int) -> tuple[Schedule, bool, tuple[str, ...]]:
    """The schedule with its next tick noted, where its job is there: so that it is not missed, and nothing overlaps.
    Answers whether it is, and what its history drops."""
    tick = schedule.next
    if tick is None or tick > now or rows.get(str(tick)) is None:
        return schedule, False, ()
    if schedule.overlap == "allow" and schedule.backlog:
        return schedule, False, ()  # these first: the history is in the order of ticks, or `stands` would be misled
    noted, dropped = _note(schedule.evolve(fired=schedule.fired + 1, last_tick=tick), [str(tick)])
    return noted.evolve(next=_next(schedule, tick)), True, dropped


def asleep(schedule: Schedule) -> bool:
    """Whether it fires nothing, whatever the time."""
    return schedule.paused or schedule.retired


def due_at(schedule: Schedule, now: int, rows: Mapping[str, Job | None] | None = None) -> int | None:
    """When to look at it again. `rows`: the jobs of its `open_entries`, where they are known."""
    if asleep(schedule):
        return None
    times = [schedule.next] if schedule.next is not None else []
    return min([*times, _recheck(schedule, rows or {}, now)] if schedule.waits else times, default=None)


def _recheck(schedule: Schedule, rows: Mapping[str, Job | None], now: int) -> int:
    """When to look again at a schedule that waits for the end of a run."""
    known = [row for entry in schedule.live if (row := rows.get(entry)) is not None]
    if len(known) < len(schedule.live) or not all(row.state is State.WAITING for row in known):
        return now + RECHECK
    return min(now + RECHECK_WAITING, max(now, *(row.due_at for row in known)) + RECHECK)


def _goes_on(row: Job | None) -> bool:
    return row is not None and row.state in LIVE


def _count_from_end(schedule: Schedule, ended: list[Job | None], now: int) -> Schedule:
    """The next tick of an interval that is counted from the end of a run, once that has ended."""
    if not schedule.fixed_delay or schedule.next is not None or schedule.live or schedule.every is None:
        return schedule
    times = [row.finished_at for row in ended if row is not None and row.finished_at is not None]
    return schedule.evolve(next=max(times, default=now) + schedule.every)


def _arrive(schedule: Schedule, first: int, now: int) -> tuple[Schedule, bool]:
    """Deal with the ticks from `first` to `now`: into the backlog, or counted as missed or skipped. Answers whether
    there were several."""
    found, following = overdue(schedule, first, now)
    chosen = _caught_up(schedule, found.newest, now)
    missed = found.count - len(chosen)
    if missed:
        last = max(tick for tick in found.newest if not chosen or tick < chosen[0])
        story = Missed(first=first, last=last, count=missed, exact=found.exact)
        schedule = schedule.evolve(missed=schedule.missed + missed, last_missed=story)
    if schedule.fixed_delay and schedule.every is not None and not chosen:
        following = now + schedule.every  # there is no run from whose end to count
    schedule = schedule.evolve(last_tick=found.newest[-1], next=following)
    busy = bool(schedule.live or schedule.backlog)
    if schedule.overlap == "skip" and busy and len(chosen) == 1:
        return schedule.evolve(skipped=schedule.skipped + 1, last_skipped=chosen[0]), False
    return _queue(schedule, chosen), found.count > 1


def overdue(schedule: Schedule, first: int, now: int) -> tuple[Ticks, int | None]:
    """The ticks from `first` to `now`, and the one that follows."""
    following = _next(schedule, first)
    if following is None or following > now:  # the usual case: on time
        return Ticks(count=1, exact=True, newest=[first]), following
    most = schedule.catch_up_max if schedule.catch_up == "all" else 1
    # One more than may run: it is the last that was missed.
    return latest(schedule.trigger, first, now, most + 1), _next(schedule, now)


def _caught_up(schedule: Schedule, newest: list[int], now: int) -> list[int]:
    """Those of the newest ticks that are to run."""
    if schedule.catch_up == "skip":
        return [tick for tick in newest[-1:] if now - tick <= ON_TIME]
    window = schedule.catch_up_window
    young = [tick for tick in newest if window is None or now - tick <= max(window, ON_TIME)]
    return young[-1:] if schedule.catch_up == "one" else young[-schedule.catch_up_max :]


def _next(schedule: Schedule, now: int) -> int | None:
    if not schedule.recurring or schedule.fixed_delay:
        return None
    return schedule.trigger.next_after(now)


def _queue(schedule: Schedule, ticks: list[int]) -> Schedule:
    backlog = (*schedule.backlog, *ticks)
    left_out = backlog[max(LONGEST_QUEUE, len(ticks)) :] if schedule.overlap == "queue" else ()
    if left_out:
        schedule = schedule.evolve(skipped=schedule.skipped + len(left_out), last_skipped=left_out[-1])
    return schedule.evolve(backlog=backlog[: len(backlog) - len(left_out)])


def _release(schedule: Schedule) -> tuple[Schedule, tuple[int, ...]]:
    """Take what may run now out of the backlog: all of it, or the first where runs come one after another."""
    one_by_one = schedule.overlap != "allow"
    ticks = schedule.backlog if not one_by_one else schedule.backlog[: 0 if schedule.live else 1]
    return schedule.evolve(backlog=schedule.backlog[len(ticks) :], fired=schedule.fired + len(ticks)), ticks


def _fire(schedule: Schedule) -> tuple[Schedule, tuple[int, ...], tuple[str, ...]]:
    """Release what may run now, and note it. Answers it, and what the history drops."""
    schedule, ticks = _release(schedule)
    schedule, dropped = _note(schedule, [str(tick) for tick in ticks])
    return schedule, ticks, dropped


def _note(schedule: Schedule, entries: list[str]) -> tuple[Schedule, tuple[str, ...]]:
    """The schedule with new entries, and the entries that its history has no place for any more."""
    if not entries:
        return schedule, ()
    recent = (*schedule.recent, *entries)
    cut = max(0, len(recent) - schedule.history)
    most = NOTED if schedule.overlap == "allow" else AT_ONCE
    return schedule.evolve(recent=recent[cut:], live=(*schedule.live, *entries)[-most:]), recent[:cut]


def note_run(schedule: Schedule, entry: str) -> tuple[Schedule, tuple[str, ...]]:
    """The schedule with a run that was asked for by hand, and the entries that its history drops. What counts from the
    end of a run counts from the end of this one."""
    counted = schedule.fixed_delay and schedule.recurring and not asleep(schedule)
    return _note(schedule.evolve(cleared="", next=None if counted else schedule.next), [entry])


# -- jobs --------------------------------------------------------------------------------------------------------


def job_of(schedule: Schedule, entry: str, tick: int, now: int, placing: Placing) -> Job:
    """The job of an entry, meant for `tick`. The same entry gives the same id, so that it is added once."""
    due = tick + (_jitter(schedule, tick) if entry.isdigit() else 0)  # whoever asks by hand means now
    return Job(
        id=schedule.job_id(entry), task=schedule.task, queue=schedule.queue or placing.queue,
        priority=placing.priority if schedule.priority is None else schedule.priority, due_at=due, created_at=now,
        origin=schedule.origin, keyed=True, input=schedule.input, key=f"{schedule.name}/{entry}", rule="once",
        ask=new_id(), asked_at=now, scheduled_at=tick,
        start_by=None if placing.expires is None else max(due, now) + placing.expires, retry=schedule.retry,
        timeout=schedule.timeout, kept=max(KEPT, 2 * schedule.span), meta={"schedule": schedule.name},
    )  # fmt: skip


def _jitter(schedule: Schedule, tick: int) -> int:
    """Up to `jitter` ms, the same for whoever asks for the same tick."""
    if not schedule.jitter:
        return 0
    digest = hashlib.blake2b(f"{schedule.id}/{tick}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % (schedule.jitter + 1)


SUPERSEDED = "its schedule does not ask for it any more"


def stands(schedule: Schedule | None, job: Job) -> bool:
    """Whether a tick's job that begins is one that its schedule asked for. It is not where the schedule is gone, where
    it was paused while the tick was being fired, and where a scheduler that slept for long has added a tick that had
    its run and was forgotten."""
    entry = _entry(job)
    if schedule is None or schedule.job_id(entry) != job.id:
        return False
    if not entry.isdigit():
        return True
    if schedule.paused and schedule.recurring and not job.runs:
        return False  # it has waited for its jitter or for a place
    if entry in schedule.recent or entry in schedule.live:
        return True
    if not _is_past(schedule, int(entry)):
        # Not noted yet: whoever added it is about to, or has died over it. A single run has its turn after a pause,
        # and its id is the same then: so it may as well be now.
        return not asleep(schedule) or not schedule.recurring
    ticks = [int(noted) for noted in schedule.recent if noted.isdigit()]
    return schedule.overlap == "allow" and bool(ticks) and int(entry) < ticks[0]  # it has waited for long


def superseded(schedule: Schedule | None, job: Job) -> bool:
    """Whether a tick that was added just now should not have been: its schedule is past it, and does not know it."""
    entry = _entry(job)
    if schedule is None or schedule.job_id(entry) != job.id:
        return True
    known = entry in schedule.recent or entry in schedule.live
    return entry.isdigit() and not known and _is_past(schedule, int(entry))


def _is_past(schedule: Schedule, tick: int) -> bool:
    return schedule.last_tick is not None and tick <= schedule.last_tick and tick not in schedule.backlog


def _entry(job: Job) -> str:
    return (job.key or "").rpartition("/")[2]
