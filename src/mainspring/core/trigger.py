"""When something is due again and again: by cron, by an interval, or once at a time.

A trigger says which instants it names, as a pure function of the instant that it is asked about; all are ms since the
epoch. What is done at a tick, and what about ticks that were missed, is no concern of this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mainspring.core.cron import Cron
from mainspring.core.duration import LONGEST
from mainspring.errors import DefinitionError

SHORTEST = 1_000
LATEST = 253_370_764_800_000
"""The year 9999, of which no zone's local time is beyond what a `datetime` can say."""
COUNTED = 1_000
"""Ticks of a cron are counted up to here: 1,000 take 10 ms of a cron of each second, 30 ms of a daily one."""


@dataclass(frozen=True, slots=True)
class Every:
    """Ticks at `start + k * period` for k >= 0. Elapsed time: zones and changes of clocks play no part.

    Raises `DefinitionError` for a period of less than a second or more than 100 years.
    """

    period: int
    start: int

    def __post_init__(self) -> None:
        if not _whole(self.period) or not SHORTEST <= self.period <= LONGEST:
            raise DefinitionError(
                f"bad interval: {self.period!r} ms. Expected from 1 second to 100 years; "
                "for work more often than that let one run do several rounds."
            )
        if not _whole(self.start):
            raise DefinitionError(f"bad start of an interval: {self.start!r}. Expected whole ms since the epoch.")

    def next_after(self, now: int) -> int:
        """The first tick strictly after `now`."""
        return self.start + max(0, (now - self.start) // self.period + 1) * self.period


@dataclass(frozen=True, slots=True)
class At:
    """One tick, at `at`."""

    at: int

    def __post_init__(self) -> None:
        if not _whole(self.at):
            raise DefinitionError(f"bad time: {self.at!r}. Expected whole ms since the epoch.")

    def next_after(self, now: int) -> int | None:
        """`at` while it is to come."""
        return self.at if self.at > now else None


Trigger = Cron | Every | At


@dataclass(frozen=True, slots=True)
class Ticks:
    """The ticks in a stretch of time: how many (`count` or more where not `exact`), and the newest, ascending."""

    count: int
    exact: bool
    newest: list[int]


def latest(trigger: Trigger, first: int, now: int, keep: int) -> Ticks:
    """The ticks in [first, now], where `first` is known to be one, and not after `now`; at most `keep` of them by name.

    Cheap however long the stretch: the ticks of a cron are counted up to 1,000, and the newest found from the end.
    """
    if isinstance(trigger, At):
        return Ticks(1, True, [first][:keep])
    if isinstance(trigger, Every):
        count = (now - first) // trigger.period + 1
        newest = first + (count - 1) * trigger.period
        return Ticks(count, True, [newest - k * trigger.period for k in reversed(range(min(keep, count)))])
    seen = _walk(trigger, first - 1, now, COUNTED + 1)
    if len(seen) <= COUNTED:
        return Ticks(len(seen), True, seen[-keep:] if keep > 0 else [])
    return Ticks(COUNTED, False, _newest_since(trigger, first - 1, now, keep))


def span(trigger: Trigger, after: int, count: int) -> int:
    """How long it takes from `after` until `count` more ticks have been, in ms; at most 100 years, which is also the
    answer where so many never come. Of a cron more than 1,000 are reckoned from the first 1,000."""
    if count <= 0:
        return 0
    if isinstance(trigger, Every):
        return min(trigger.next_after(after) - after + (count - 1) * trigger.period, LONGEST)
    walked = upcoming(trigger, after, min(count, COUNTED))
    if len(walked) < min(count, COUNTED):
        return LONGEST
    return min((walked[-1] - after) * count // len(walked), LONGEST)


def upcoming(trigger: Trigger, start: int, count: int) -> list[int]:
    """The next `count` ticks after `start`; fewer where it ends before."""
    return [tick for tick, _ in zip(_ticks(trigger, start), range(count), strict=False) if tick < LATEST]


def _ticks(trigger: Trigger, after: int) -> Iterator[int]:
    tick = trigger.next_after(after)
    while tick is not None:
        yield tick
        tick = trigger.next_after(tick)


def _walk(trigger: Trigger, after: int, until: int, most: int) -> list[int]:
    """The first `most` ticks in (after, until]."""
    found: list[int] = []
    for tick in _ticks(trigger, after):
        if tick > until or len(found) == most:
            break
        found.append(tick)
    return found


def _newest_since(trigger: Trigger, after: int, until: int, keep: int) -> list[int]:
    """The last `keep` ticks in (after, until]: from the end, in windows that double until they hold enough."""
    if keep <= 0:
        return []
    newest: list[int] = []
    end, window = until, keep * SHORTEST
    while len(newest) < keep and end > after:
        start = max(after, end - window)
        newest = _newest(trigger, start, end, keep - len(newest)) + newest
        end, window = start, window * 2
    return newest


def _newest(trigger: Trigger, after: int, until: int, keep: int) -> list[int]:
    """The last `keep` ticks in (after, until]: by halves, as a cron may be silent for a year and then burst."""
    found = _walk(trigger, after, until, keep + 8)
    if len(found) < keep + 8 or until - after <= SHORTEST:
        return found[-keep:]
    middle = max(found[0], (after + until) // 2)
    newest = _newest(trigger, middle, until, keep)
    return newest if len(newest) == keep else _newest(trigger, after, middle, keep - len(newest)) + newest


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
