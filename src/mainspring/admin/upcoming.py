"""The times of a schedule before there is one: the next of them, and all of them in words. Needs no store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from mainspring.core import schedule_acts
from mainspring.core.clock import wall_ms
from mainspring.core.describe import describe
from mainspring.core.naming import check_count
from mainspring.core.request import unknown_option
from mainspring.core.schedule import Schedule
from mainspring.core.schedule_options import PreviewOptions, moment
from mainspring.core.trigger import Every, upcoming


def preview_times(start: datetime | None, count: int, timing: Mapping[str, Any]) -> list[datetime]:
    """The first `count` times after `start`, in the schedule's zone. Raises `DefinitionError`."""
    check_count(count, "count", 1, 1_000)
    now = wall_ms() if start is None else moment(start, "start", wall_ms())
    schedule = _schedule(timing, now)
    # An interval's first time is told by its start; a time that is just now is one to come.
    begin = now - 1 if isinstance(schedule.trigger, Every) or schedule.at is not None else now
    times = upcoming(schedule.trigger, begin, count)
    return [_local(at, schedule.timezone) for at in times]


def _local(at: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at / 1000, ZoneInfo(zone))


def describe_times(timing: Mapping[str, Any]) -> str:
    """The times in words. Raises `DefinitionError`."""
    now = wall_ms()
    return describe(_schedule(timing, now).trigger, now)


def _schedule(timing: Mapping[str, Any], now: int) -> Schedule:
    known = tuple(PreviewOptions.__annotations__)
    unknown = [name for name in timing if name not in known]
    if unknown:
        raise unknown_option(unknown[0], known, "the times of a schedule")
    return schedule_acts.new_schedule("preview", "preview", "{}", timing, now)
