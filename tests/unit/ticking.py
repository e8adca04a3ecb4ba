"""A small world for the tests of `core.ticks`: one schedule, the rows of its jobs, and schedulers that look and die."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from mainspring.core.job import LIVE, Job, State
from mainspring.core.schedule import Schedule
from mainspring.core.schedule_acts import new_schedule
from mainspring.core.ticks import Placing, Plan, due_at, job_of, open_entries, plan, stands

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 1_893_456_000_000
"""2030-01-01, a Tuesday."""


def at(ms: int) -> datetime:
    """A time that many ms after the start."""
    return datetime.fromtimestamp(START / 1000, UTC) + timedelta(milliseconds=ms)


class World:
    """Times are ms since `START`. A job begins in `begin` and ends in `end`, as its worker would have it."""

    def __init__(self, **options: Any) -> None:
        self.now = 0
        self.schedule: Schedule = new_schedule("s", "t", "{}", options, START)
        self._written = (self.schedule, due_at(self.schedule, START))
        self.version = 1
        self.rows: dict[str, Job] = {}
        self.ran: list[int] = []
        """The ticks whose handlers ran, in order."""
        self.together = 0
        """The most runs at once so far."""

    # -- schedulers ------------------------------------------------------------------------------------------------

    def read(self) -> tuple[Schedule, int]:
        return self.schedule, self.version

    def planned(self, schedule: Schedule) -> Plan:
        entries = open_entries(schedule, START + self.now)
        return plan(schedule, {entry: self.rows.get(entry) for entry in entries}, START + self.now)

    def look(self, now: int | None = None) -> Plan:
        """One scheduler looks until nothing is due any more, and answers what it did last."""
        self.now = self.now if now is None else now
        made = Plan(self.schedule, (), self.due)
        for _ in range(1_000):
            # Whoever ends a run looks at once, where that is waited for.
            if not self.schedule.waits and (self.due is None or self.due > START + self.now):
                return made
            made = self.act(*self.read())
            if self.due is None or self.due > START + self.now:
                return made
        raise AssertionError("due for ever")

    @property
    def due(self) -> int | None:
        """When somebody is to look, as it is stored."""
        known, due = self._written
        return due if known is self.schedule else due_at(self.schedule, START + self.now)

    def act(self, schedule: Schedule, version: int, dies: bool = False) -> Plan:
        """Add the jobs, and write, unless somebody has written since, or this one dies."""
        made = self.planned(schedule)
        for tick in made.ticks:
            self.rows.setdefault(str(tick), job_of(schedule, str(tick), tick, START + self.now, Placing()))
        if not dies and version == self.version:
            self.schedule, self.version = made.schedule, version + 1
            self._written = (made.schedule, made.due_at)
            for entry in made.dropped:
                if entry in self.rows and self.rows[entry].state not in LIVE:
                    del self.rows[entry]
        return made

    # -- workers ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """What waits and is due begins, where it stands."""
        for entry, row in self.rows.items():
            if row.state is not State.WAITING or row.due_at > START + self.now:
                continue
            if stands(self.schedule, row):
                self.rows[entry] = row.evolve(state=State.RUNNING, started_at=START + self.now)
                self.ran.append(row.scheduled_at - START)
            else:
                self.rows[entry] = row.evolve(state=State.CANCELLED, finished_at=START + self.now)
        self.together = max(self.together, len(self.running))

    def end(self, state: State = State.COMPLETED) -> None:
        """All that runs ends."""
        for entry in self.running:
            self.rows[entry] = self.rows[entry].evolve(state=state, finished_at=START + self.now)

    @property
    def running(self) -> list[str]:
        return [entry for entry, row in self.rows.items() if row.state is State.RUNNING]

    def run(self, now: int | None = None) -> None:
        """Look, and let all that is due run and end, until nothing is left to do."""
        self.now = self.now if now is None else now
        for _ in range(1_000):
            before = self.schedule
            self.look()
            self.begin()
            if before == self.schedule and not self.running:
                return
            self.end()

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.schedule.fired, self.schedule.missed, self.schedule.skipped

    @property
    def next(self) -> int | None:
        return None if self.schedule.next is None else self.schedule.next - START
