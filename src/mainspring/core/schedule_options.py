"""The options of a schedule, checked where they are written down.

They become fields of a `core.schedule.Schedule`; what a schedule does with them is decided in `core.ticks`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict, get_args

from mainspring.core.cron import Cron, DstGap, DstOverlap
from mainspring.core.duration import Duration, humanize, instant, milliseconds
from mainspring.core.naming import check_count, check_name, check_priority, is_text
from mainspring.core.policy import Retry
from mainspring.core.request import retry_of, unknown_option
from mainspring.core.schedule import CatchUp, Overlap, Schedule
from mainspring.core.trigger import LATEST, Every
from mainspring.errors import DefinitionError

RETRY_DELAY = "1m"


class TimingOptions(TypedDict, total=False):
    """When a schedule runs; one of cron, every, at and schedule.

    cron         5 fields, or 6 with seconds first; or @hourly, @daily, @weekly, @monthly, @yearly.
    every        a duration of at least a second, counted from `start` (default: one duration from now).
    at           an aware datetime, or "now".
    schedule     any of them as text: "0 3 * * *", "@daily", "every 5m", "now".
    start        of `every`: when the first run is, an aware datetime or "now".
    fixed_delay  of `every`: count from the end of the run before, not from its time. Default False.
    recurring    False: run once, at the first time, then be completed. Default True.
    timezone     IANA name of the zone in which a cron is meant. Default "UTC".
    dst_gap      a time that daylight saving leaves out: "run_after" (default), at the first instant after it; "skip".
    dst_overlap  a time that exists twice: "first" (default), "last", "both".
    """

    cron: str
    every: Duration
    at: datetime | str
    schedule: str
    start: datetime | str
    fixed_delay: bool
    recurring: bool
    timezone: str
    dst_gap: DstGap
    dst_overlap: DstOverlap


class PreviewOptions(TypedDict, total=False):
    """Those of `TimingOptions` that say when, for somebody who only asks."""

    cron: str
    every: Duration
    at: datetime | str
    schedule: str
    timezone: str
    dst_gap: DstGap
    dst_overlap: DstOverlap


class RunOptions(TypedDict, total=False):
    """How a schedule's runs are asked for.

    catch_up     runs that were missed while no worker was there: "one" (default): a single run makes up for all of
                 them; "all": each, oldest first; "skip": none.
    catch_up_window  missed runs older than this are not made up for. Default: however old.
    catch_up_max     of "all": at most so many, the newest ones. Default 100.
    overlap      a time comes while a run goes on: "skip" (default): it is left out; "queue": it runs after; "allow".
    jitter       start each run this much later at the most, at random.
    max_retries, retry_delay   retries of a run that failed (None: as the task says), and the time before each (default
                 "1m").
    retry        a full policy instead: Retry(...). Default: the task's.
    timeout, queue, priority   instead of the task's.
    history      runs that are kept. Default 50.
    description  for people.
    """

    catch_up: CatchUp
    catch_up_window: Duration | None
    catch_up_max: int
    overlap: Overlap
    jitter: Duration
    max_retries: int | None
    retry_delay: Duration
    retry: Retry | None
    timeout: Duration | None
    queue: str | None
    priority: int | None
    history: int
    description: str


class ScheduleOptions(TimingOptions, RunOptions, total=False):
    """All options of a schedule: `TimingOptions` and `RunOptions`."""


TIMING = tuple(TimingOptions.__annotations__)
OPTIONS = tuple(ScheduleOptions.__annotations__)
_WHEN = ("cron", "every", "at", "schedule")
_ELSEWHERE = {
    "interval": "is every",
    "tz": "is timezone",
    "retries": "is max_retries",
    "handler": "is the task, the second argument",
    "params": "is the input, the third argument",
    "retention": "is history: how many runs are kept",
    "misfire_grace_time": "is catch_up_window",
    "coalesce": 'is catch_up="one"',
    "max_instances": "is overlap",
}


def schedule_fields(options: Mapping[str, Any], now: int) -> dict[str, Any]:
    """The fields of a `Schedule` that options give; only these. Raises `DefinitionError`, `UnknownOption`."""
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        raise unknown_option(unknown[0], OPTIONS, "a schedule", _ELSEWHERE)
    fields = _timing(options, now) | _running(options) | _retrying(options)
    zone = {name: options[name] for name in ("timezone", "dst_gap", "dst_overlap") if name in options}
    return fields | zone


def check_schedule(schedule: Schedule) -> Schedule:
    """`schedule` if its fields make sense together. Raises `DefinitionError`."""
    check_name(schedule.name, "schedule")
    # Where no cron looks at them they are checked all the same: a cron may be set later.
    Cron("@daily", schedule.timezone, schedule.dst_gap, schedule.dst_overlap)
    _ = schedule.trigger
    if schedule.every is not None and schedule.jitter > schedule.every:
        raise DefinitionError(
            f"bad jitter: {humanize(schedule.jitter)}. Expected no more than the interval, which is "
            f"{humanize(schedule.every)}."
        )
    if schedule.at is not None and schedule.recurring:
        raise DefinitionError("recurring=True with at. A time comes once: expected cron= or every= beside it.")
    if schedule.fixed_delay and schedule.every is None:
        raise DefinitionError("fixed_delay without every. Expected an interval: every=..., fixed_delay=True.")
    if schedule.fixed_delay and not schedule.recurring:
        raise DefinitionError("fixed_delay with recurring=False. Expected one of them: a single run follows none.")
    if schedule.fixed_delay and schedule.overlap != "skip":
        raise DefinitionError(
            f"fixed_delay with overlap={schedule.overlap!r}. A run that begins after the end of the one before never "
            "meets it: expected no overlap."
        )
    return schedule


def _timing(options: Mapping[str, Any], now: int) -> dict[str, Any]:
    given = [name for name in _WHEN if options.get(name) is not None]
    if len(given) > 1:
        raise DefinitionError(f"both {' and '.join(given)}. A schedule has one: expected one of them.")
    fields: dict[str, Any] = {}
    if given:
        name, value = _plain(given[0], options[given[0]])
        fields = {"cron": None, "every": None, "at": None, "start": None}
        fields |= {} if name == "every" else {"fixed_delay": False}
        fields |= _when(name, value, options.get("start"), now)
    elif options.get("start") is not None:
        raise DefinitionError("start without every. Expected the interval beside it: every=..., start=...")
    for name in ("fixed_delay", "recurring"):
        if name in options:
            fields[name] = _flag(options[name], name)
    return fields


def _plain(name: str, value: Any) -> tuple[str, Any]:
    """`schedule="every 5m"` is every="5m", and so on."""
    if name != "schedule":
        return name, value
    if not isinstance(value, str):
        raise DefinitionError(f'bad schedule: {value!r}. Expected text: "0 3 * * *", "@daily", "every 5m" or "now".')
    if value.strip().lower() == "now":
        return "at", "now"
    word, rest = (*value.split(None, 1), "", "")[:2]
    return ("every", rest) if word.lower() == "every" else ("cron", value)


def _when(name: str, value: Any, start: Any, now: int) -> dict[str, Any]:
    if start is not None and name != "every":
        raise DefinitionError(f"start beside {name}. Expected it beside every alone.")
    if name == "cron":
        if not isinstance(value, str):
            raise DefinitionError(f'bad cron: {value!r}. Expected text such as "0 9 * * 1".')
        return {"cron": value}
    if name == "at":
        return {"at": moment(value, "at", now), "recurring": False}
    period = milliseconds(value, "every")
    first = now + period if start is None else moment(start, "start", now)
    Every(period, first)  # checked here
    return {"every": period, "start": first}


def moment(value: Any, name: str, now: int) -> int:
    """A time that a schedule can have, in ms: an aware datetime, or "now". Raises `DefinitionError`."""
    if isinstance(value, str) and value.strip().lower() == "now":
        return now
    if isinstance(value, datetime):
        found = instant(value, name)
        if not 0 <= found < LATEST:
            raise DefinitionError(f"bad {name}: {value!r}. Expected a time in the years 1970 to 9998.")
        return found
    raise DefinitionError(f'bad {name}: {value!r}. Expected an aware datetime, or "now".')


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise DefinitionError(f"bad {name}: {value!r}. Expected True or False.")
    return value


def _running(options: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, kind in (("catch_up", CatchUp), ("overlap", Overlap)):
        if name in options:
            fields[name] = _one_of(options[name], name, get_args(kind))
    for name in ("catch_up_window", "timeout", "jitter"):
        if name in options:
            value = options[name]
            fields[name] = (0 if name == "jitter" else None) if value is None else milliseconds(value, name)
    if fields.get("timeout") == 0:
        raise DefinitionError(f"bad timeout: {options['timeout']!r}. Expected more than 0.")
    if options.get("queue") is not None:
        check_name(options["queue"], "queue")
    if options.get("priority") is not None:
        check_priority(options["priority"])
    fields |= {name: options[name] for name in ("queue", "priority") if name in options}
    if "catch_up_max" in options:
        fields["catch_up_max"] = check_count(options["catch_up_max"], "catch_up_max", 1, 500)
    if "history" in options:
        fields["history"] = check_count(options["history"], "history", 1, 500)
    if "description" in options:
        fields["description"] = _text(options["description"], "description")
    return fields


def _retrying(options: Mapping[str, Any]) -> dict[str, Any]:
    count, delay = options.get("max_retries"), options.get("retry_delay")
    if options.get("retry") is not None and (count is not None or delay is not None):
        raise DefinitionError("both retry and max_retries or retry_delay. Expected the policy, or the numbers.")
    if delay is not None and count is None:
        raise DefinitionError("retry_delay without max_retries. Expected both: max_retries=3, retry_delay='5m'.")
    if count is not None:
        check_count(count, "max_retries", 0)
        fixed = milliseconds(RETRY_DELAY if delay is None else delay, "retry_delay") / 1000
        policy = Retry(max_attempts=count + 1, backoff="fixed", initial_delay=fixed, max_delay=max(fixed, 1), jitter=0)
        return {"retry": policy.to_dict()}
    if "retry" not in options:
        return {}
    policy_given = retry_of(options, None)
    if policy_given is not None and policy_given.retry_on is not None:
        raise DefinitionError("retry_on in the retry of a schedule: it cannot be stored. It belongs to the task.")
    return {"retry": None if policy_given is None else policy_given.to_dict()}


def _one_of(value: Any, name: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise DefinitionError(f"bad {name}: {value!r}. Expected one of: {', '.join(known)}.")
    return str(value)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) > 2_000 or not is_text(value):
        raise DefinitionError(f"bad {name}: {value!r}. Expected text of at most 2,000 characters.")
    return value


def definition_of(name: str, task: str, input: str, options: Mapping[str, Any]) -> str:
    """A digest of what the code says of a schedule; another one means that the code has changed."""
    said = repr((name, task, input, sorted((option, repr(value)) for option, value in options.items())))
    return hashlib.blake2b(said.encode(), digest_size=12).hexdigest()
