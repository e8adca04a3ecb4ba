"""Triggers in words, for people who check whether they wrote what they meant; and what daylight saving does to them.

Common shapes have words of their own, the others those of `cronsim`. This module decides nothing: when something is
due is `core.cron` and `core.trigger`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cronsim import CronSim
from cronsim.explain import Expression

from mainspring.core.cron import Cron, Touched
from mainspring.core.duration import UNITS
from mainspring.core.trigger import At, Every, Trigger

WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
AHEAD = 2 * 366 * UNITS["d"]
"""How far ahead changes of clocks are looked for."""
_TIMES = 4
_EPOCH = datetime(1970, 1, 1)


def describe(trigger: Trigger, now: int) -> str:
    """`trigger` in words, such as "every Monday at 09:00, America/New_York".

    Where a change of clocks in the two years after `now` (ms) skips or repeats one of its times, the first of each
    follows: "; on 2030-03-10 02:30 does not exist: it runs at 03:00 (dst_gap="run_after")".
    """
    match trigger:
        case Every():
            return f"every {_duration(trigger.period)}"
        case At():
            return f"once, at {_moment(trigger.at)} UTC"
        case Cron():
            return "; ".join([f"{_shape(trigger.fields)}, {trigger.timezone}", *_warnings(trigger, now)])


def _shape(fields: tuple[str, ...]) -> str:
    """The expression without its zone."""
    fields = _without_idle_days(fields)
    second, minute, hour, *date = fields
    if date == ["*", "*", "*"] and (interval := _interval(second, minute, hour)):
        return f"every {interval}"
    times, days = _times(second, minute, hour), _days(*date)
    if times and days:
        return f"{days} at {times}"
    return _explained(fields)


def _without_idle_days(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Where both day and weekday are restricted either will do; so if one of them names all, it is every day."""
    *_, day, month, weekday = fields
    if day.startswith("*") or weekday.startswith("*"):
        return fields
    parsed = CronSim(" ".join(fields), _EPOCH)
    every_day = parsed.days >= set(range(1, 32)) or (parsed.weekdays >= set(range(1, 7)) and parsed.weekdays & {0, 7})
    return (*fields[:3], "*", month, "*") if every_day else fields


def _interval(second: str, minute: str, hour: str) -> str | None:
    """Of an expression for every day, where its ticks are evenly spaced: "5 minutes"."""
    match second, minute, hour:
        case _, "*", "*":
            return _step(second, 60, "second") or (_step("*", 60, "minute") if second == "0" else None)
        case "0", _, "*" if (every := _step(minute, 60, "minute")) is not None:
            return every
        case "0", _, "*" if (at := _numbers(minute)) and len(at) == 1:
            return f"hour at minute {at[0]}" if at[0] else "hour"
        case "0", "0", _:
            return _step(hour, 24, "hour")
    return None


def _step(field: str, of: int, unit: str) -> str | None:
    """ "*" or "*/5" in words, where the step divides its unit, so that it is the same throughout."""
    if field == "*":
        return unit
    star, _, step = field.partition("/")
    if star != "*" or not step.isdecimal() or of % int(step):
        return None
    return unit if int(step) == 1 else f"{int(step)} {unit}s"


def _times(second: str, minute: str, hour: str) -> str | None:
    """A few times of day: "09:00 and 17:00"."""
    seconds, minutes, hours = _numbers(second), _numbers(minute), _numbers(hour)
    if not seconds or not minutes or not hours or len(seconds) * len(minutes) * len(hours) > _TIMES:
        return None
    ends = "" if seconds == [0] else ":{:02}"
    return _listed([f"{h:02}:{m:02}" + ends.format(s) for h in hours for m in minutes for s in seconds])


def _days(day: str, month: str, weekday: str) -> str | None:
    """A plain choice of days: "every Monday", "on day 1 of every month", "every year on 24 December"."""
    if month != "*":
        months, days = _numbers(month), _numbers(day)
        once = weekday == "*" and months and days and len(months) == len(days) == 1
        return f"every year on {days[0]} {MONTHS[months[0] - 1]}" if once and months and days else None
    if day == "*":
        return "every day" if weekday == "*" else _weekdays(weekday)
    if weekday == "*":
        return _monthly(day)
    # Either of them, unless one begins with "*".
    of_month, of_week = _monthly(day), _weekdays(weekday)
    return f"{of_month} and {of_week}" if of_month and of_week else None


def _monthly(field: str) -> str | None:
    if field == "L":
        return "on the last day of every month"
    if not (days := _numbers(field)):
        return None
    return f"on {'day' if len(days) == 1 else 'days'} {_listed([str(day) for day in days])} of every month"


def _weekdays(field: str) -> str | None:
    names = {name[:3].upper(): str(number) for number, name in enumerate(WEEKDAYS[:7])}
    first, dash, last = (names.get(part, part) for part in field.partition("-"))
    if dash and first.isdecimal() and last.isdecimal():
        return f"every day from {WEEKDAYS[int(first)]} to {WEEKDAYS[int(last)]}"
    days = _numbers(",".join(names.get(part, part) for part in field.split(",")))
    return f"every {_listed(list(dict.fromkeys(WEEKDAYS[day] for day in days)))}" if days else None


def _explained(fields: tuple[str, ...]) -> str:
    try:
        words = str(Expression(list(fields)).explain())
    except Exception:
        # It knows fewer shapes than the parser does, and nobody should be refused a schedule for that.
        words = ""
    return words[:1].lower() + words[1:] if words else f"at the times of cron {' '.join(fields)!r}"


def _warnings(cron: Cron, now: int) -> list[str]:
    """A sentence on the first gap and on the first overlap that a policy decides about."""
    touched = cron.touched(now, now + AHEAD)
    gaps = [_gap(cron, found) for found in touched if found.change.after > found.change.before]
    overlaps = [_overlap(cron, found) for found in touched if found.change.after < found.change.before]
    return gaps[:1] + overlaps[:1]


def _gap(cron: Cron, found: Touched) -> str:
    skipped = _moment(found.local * 1000)
    end = _moment((found.change.at + found.change.after) * 1000)
    same_day = end[:10] == skipped[:10]
    then = f"it runs at {end[11:] if same_day else end}" if cron.dst_gap == "run_after" else "it does not run"
    return f'on {skipped} does not exist: {then} (dst_gap="{cron.dst_gap}")'


def _overlap(cron: Cron, found: Touched) -> str:
    then = {"first": "at the first", "last": "at the last", "both": "at both"}[cron.dst_overlap]
    return f'on {_moment(found.local * 1000)} exists twice: it runs {then} (dst_overlap="{cron.dst_overlap}")'


def _moment(at: int) -> str:
    """ms as "2030-01-31 12:00", with seconds where there are some."""
    try:
        moment = _EPOCH + timedelta(milliseconds=at)
    except OverflowError:
        return f"{at} ms after 1970"
    return moment.strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00")


def _duration(amount: int) -> str:
    """ "5 minutes", "1 hour 30 minutes"; one of a kind goes without its number."""
    parts: list[str] = []
    for unit, name in (("d", "day"), ("h", "hour"), ("m", "minute"), ("s", "second")):
        count, amount = divmod(amount, UNITS[unit])
        if unit == "s" and amount:
            parts.append(f"{count + amount / 1000:g} seconds")
        elif count:
            parts.append(f"{count} {name}{'s' if count > 1 else ''}")
    return parts[0][2:] if len(parts) == 1 and parts[0].startswith("1 ") else " ".join(parts)


def _numbers(field: str) -> list[int] | None:
    """The numbers of a field that is a list of numbers, ascending."""
    parts = field.split(",")
    return sorted({int(part) for part in parts}) if all(part.isdecimal() for part in parts) else None


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
