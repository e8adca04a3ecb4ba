"""How a schedule, a list of schedules, their runs and their times look in a terminal and in a pipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from mainspring.admin import Execution, ScheduleInfo, SchedulePage
from mainspring.admin.schedule_view import MissedRuns
from mainspring.admin.view import schedule_view
from mainspring.cli.output import (
    When,
    clean,
    note,
    on_terminal,
    print_block,
    print_fields,
    print_json,
    print_json_lines,
    print_rows,
    say,
)
from mainspring.core.duration import humanize, instant


def show_schedules(page: SchedulePage, offset: int, now: int, as_json: bool) -> None:
    """A row a schedule. What is left out is said."""
    if as_json:
        print_json_lines([schedule_view(info) for info in page])
    elif len(page):
        columns = ("name", "task", "status", "when", "next run", "last run", "last result")
        print_rows(columns, [_row(info, now) for info in page], whole=("name", "status", "next run", "last run"))
    else:
        note("no schedules.")
    if offset + len(page) < page.total:
        note(f"these are {len(page)} of {page.total}: raise --limit, go on by --offset, or narrow them by filters.")


def _row(info: ScheduleInfo, now: int) -> tuple[object, ...]:
    next_run, last_run = _when(info.next_run, now, short=True), _when(info.last_run, now, short=True)
    return info.name, info.task, info.status, _words(info)[0], next_run, last_run, _ended(info.last_execution)


def _words(info: ScheduleInfo) -> tuple[str, list[str]]:
    """When it runs, and the warnings about daylight saving, for which a list has no room."""
    words, *warnings = info.when.split("; on ")
    return words + (", the first time only" if info.at is None and not info.recurring else ""), warnings


def _ended(execution: Execution | None) -> str:
    if execution is None:
        return ""
    return execution.status if execution.error is None else f"{execution.status}: {execution.error}"


def _when(at: datetime | None, now: int, *, short: bool = False) -> When:
    return When(None if at is None else instant(at), now, short=short)


def show_created(info: ScheduleInfo, done: str, now: int, as_json: bool) -> None:
    """The answer to `create` and `update`: for eyes also what the schedule has become."""
    if as_json:
        print_json(schedule_view(info))
        return
    say(f"{done} {info.name}")
    ahead = info.status if info.next_run is None else f"next run {_when(info.next_run, now)}"
    note(f"{info.when}. {ahead}")


# -- one schedule ------------------------------------------------------------------------------------------------------


def show_schedule(info: ScheduleInfo, upcoming: Sequence[datetime], now: int) -> None:
    """All that is known of a schedule."""
    words, warnings = _words(info)
    print_fields(
        [
            ("name", info.name),
            ("task", info.task),
            ("status", info.status),
            ("paused for", info.pause_reason),
            ("about", info.description),
            ("input", json.dumps(info.input, ensure_ascii=False)),
            ("made", "by code" if info.declared else "at run time"),
            ("when", words),
            *[("daylight saving", f"on {warning}") for warning in warnings],
            ("next run", _when(info.next_run, now)),
            ("last run", _when(info.last_run, now)),
            ("retries", _retries(info, now)),
            ("runs", info.runs),
            ("missed", _missed(info.missed, info.last_missed, now)),
            ("skipped", info.skipped or ""),
            *_policies(info),
            ("created", _when(info.created_at, now)),
            ("updated", _when(info.updated_at, now)),
            ("id", info.id),
        ]
    )
    if upcoming:
        print_block("next runs", "\n".join(_moment(at, now) for at in upcoming))
    if info.last_execution is not None:
        print_block("last execution", "")
        _show_execution(info.last_execution, now)


def _policies(info: ScheduleInfo) -> list[tuple[str, object]]:
    """What it does about times that were missed, that overlap or fail; what is as the task says is left out."""
    catch_up = info.catch_up + (f", at most {info.catch_up_max}" if info.catch_up == "all" else "")
    window = "" if info.catch_up_window is None else f", of the last {_length(info.catch_up_window)}"
    zones = f"gap {info.dst_gap}, overlap {info.dst_overlap}"
    return [
        ("catch-up", catch_up + window),
        ("overlap", info.overlap),
        ("fixed delay", "counts from the end of each run" if info.fixed_delay else ""),
        ("on clock change", "" if info.cron is None or info.timezone == "UTC" else zones),
        ("jitter", _length(info.jitter) if info.jitter else ""),
        ("max retries", info.max_retries),
        ("timeout", "" if info.timeout is None else _length(info.timeout)),
        ("queue", info.queue),
        ("priority", info.priority),
        ("history", info.history),
    ]


def _retries(info: ScheduleInfo, now: int) -> str:
    if not info.retry_count:
        return ""
    last = f", the last decided {_when(info.last_retry, now)}" if info.last_retry else ""
    return f"{info.retry_count}{last}"


def _missed(count: int, last: MissedRuns | None, now: int) -> str:
    if not count or last is None:
        return ""
    newest = f"{'' if last.exact else 'at least '}{last.count} from {_when(last.first, now)} to {_when(last.last, now)}"
    return f"{count}; lately {newest}"


def _length(seconds: float) -> str:
    return humanize(round(seconds * 1000))


# -- runs --------------------------------------------------------------------------------------------------------------

COLUMNS = ("started", "took", "status", "attempt", "error")


def show_executions(executions: Sequence[Execution], now: int, output: bool) -> None:
    """A row a run; with `output`, below each what it has printed."""
    if not executions:
        note("no executions.")
    if output:
        for one in executions:
            _show_output(one, now)
    elif executions:
        rows = [_execution_row(one, now) for one in executions]
        print_rows(COLUMNS, rows, whole=("started", "took", "status"))


def _show_output(execution: Execution, now: int) -> None:
    started, took, status, attempt, error = _execution_row(execution, now)
    if on_terminal():
        title = (str(started), took, status, f"attempt {attempt}", error)
        print_block(clean("  ".join(str(part) for part in title if part)), execution.output)
        return
    print_rows(COLUMNS, [(started, took, status, attempt, error)])
    for line in execution.output.splitlines():
        say(f"  {line}")


def _execution_row(execution: Execution, now: int) -> tuple[When, str, str, int, str]:
    started = _when(execution.started_at, now)
    return started, _took(execution), execution.status, execution.attempt, execution.error or ""


def _took(execution: Execution) -> str:
    """For eyes as people say it, for programs in seconds."""
    if execution.duration is None:
        return ""
    return _length(execution.duration) if on_terminal() else f"{execution.duration:.3f}"


def _show_execution(execution: Execution, now: int) -> None:
    print_fields(
        [
            ("  job", execution.job_id),
            ("  status", execution.status),
            ("  asked for", "by hand" if execution.manual else ""),
            ("  scheduled", _when(execution.scheduled_at, now)),
            ("  started", _when(execution.started_at, now)),
            ("  took", "" if execution.duration is None else _length(execution.duration)),
            ("  attempt", execution.attempt),
            ("  worker", execution.worker),
            ("  error", execution.error),
            ("  result", "" if execution.result is None else json.dumps(execution.result, ensure_ascii=False)),
        ]
    )
    if execution.output:
        print_block("output", execution.output)


# -- times -------------------------------------------------------------------------------------------------------------


def show_times(times: Sequence[datetime], now: int, as_json: bool) -> None:
    """A time a line, with its offset: for eyes with its weekday and how long it is until then."""
    for at in times:
        if as_json:
            print_json_lines([{"at": _iso(at), "utc": _iso(at.astimezone(UTC))}])
        else:
            say(_moment(at, now))


def _moment(at: datetime, now: int) -> str:
    if not on_terminal():
        return _iso(at)
    return f"{at:%a} {at.isoformat(sep=' ', timespec='seconds')}  {When(instant(at), now, short=True)}"


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
