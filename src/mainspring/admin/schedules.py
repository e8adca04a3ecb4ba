"""Schedules as operators handle them: made at run time, looked at, changed, paused, run by hand.

What a schedule does is decided in `core.ticks`; every act here is a swap of its record, so that a tick that is fired
meanwhile is neither lost nor doubled.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Unpack

from mainspring.admin.connection import App
from mainspring.admin.schedule_list import SchedulePage, list_schedules
from mainspring.admin.schedule_view import Execution, ScheduleInfo, executions_of, info_of
from mainspring.admin.upcoming import describe_times, preview_times
from mainspring.client import Client
from mainspring.core import schedule_acts, states, ticks
from mainspring.core.codec import decode_value
from mainspring.core.handle import JobHandle
from mainspring.core.ids import new_token
from mainspring.core.job import LIVE, Job, State
from mainspring.core.naming import check_count, check_name, check_reason
from mainspring.core.records import SCHEDULE, Record
from mainspring.core.schedule import Schedule, decode_schedule, encode_schedule
from mainspring.core.schedule_options import PreviewOptions, ScheduleOptions
from mainspring.core.schedule_status import by_entry, looked_up, newest
from mainspring.core.task import Task
from mainspring.errors import (
    Contended,
    DefinitionError,
    IllegalTransition,
    JobNotFound,
    ScheduleExists,
    ScheduleNotFound,
    StoreError,
)
from mainspring.stores.base import BATCH_ROWS
from mainspring.triggers.clock import forget, placing_of, rows_of
from mainspring.triggers.duty import wake_on_duty

ATTEMPTS = 50
"""Lost swaps in a row before a call gives up."""
Change = Callable[[Schedule, int], Schedule]
"""What a schedule becomes, at a time."""


class Schedules:
    """Schedules: made, looked at, changed, paused, run by hand: `app.schedules`.

    A schedule is named by people, and keeps its history and its id whatever is changed in it. The acts take a `reason`
    for the audit trail; without one it is that of `app.acting`. Raises `DefinitionError` for what no record can carry.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    # -- making and changing ---------------------------------------------------------------------------------------

    async def create(
        self,
        name: str,
        task: Task[..., Any] | str,
        input: Mapping[str, Any] | None = None,
        *,
        paused: bool = False,
        reason: str = "",
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleInfo:
        """Make a schedule of `task` with these arguments; for the options see `ScheduleOptions`.

        Raises `ScheduleExists`, `UnknownTask`, `InputError`, `DefinitionError`; then nothing is stored.
        """
        check_name(name, "schedule")
        check_reason(reason)
        if not isinstance(paused, bool):
            raise DefinitionError(f"bad paused: {paused!r}. Expected True or False.")
        client = await self._app.connect()
        task_name = _name_of(task)
        text = await client.encode_input(task_name, {} if input is None else input)
        now = client.clock.now()
        made = schedule_acts.new_schedule(name, task_name, text, options, now)
        made = made.evolve(paused=True) if paused else made
        async with self._app.audit.act("schedules.create", name, reason=reason) as act:
            act.detail = {"task": task_name, "paused": paused, **options}
            [won] = await client.store.write([_record(made, Record(kind=SCHEDULE, name=name), now)])
            if won is None:
                raise ScheduleExists(name)
            act.changed = 1
        await _wake(client)
        return info_of(made, {}, now)

    async def update(
        self,
        name: str,
        *,
        task: Task[..., Any] | str | None = None,
        input: Mapping[str, Any] | None = None,
        reason: str = "",
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleInfo:
        """Change what is given, and leave the rest; other times count from now. Raises as `create`, `ScheduleNotFound`.

        A decorated schedule keeps the change until its code says something new.
        """
        check_reason(reason)
        client = await self._app.connect()
        task_name = None if task is None else _name_of(task)
        fields: dict[str, Any] = {}
        if task_name is not None or input is not None:
            stored = await self._stored(client, name)
            fields["task"] = task_name or stored.task
            fields["input"] = await client.encode_input(fields["task"], _input_of(stored) if input is None else input)
        detail: dict[str, Any] = {**options} | ({} if task_name is None else {"task": task_name})
        return await self._changed(
            "schedules.update",
            name,
            lambda schedule, now: schedule_acts.changed(schedule, now, options, **fields),
            detail if input is None else detail | {"input": "changed"},  # arguments are nowhere but with their job
            reason,
        )

    async def delete(self, name: str, reason: str = "") -> bool:
        """Delete it with its history. What runs goes on, what waits does not begin. False: there is none."""
        check_reason(reason)
        client = await self._app.connect()
        async with self._app.audit.act("schedules.delete", name, reason=reason) as act:
            for _ in range(ATTEMPTS):
                record = await client.store.read(SCHEDULE, name)
                if record is None:
                    return False
                if await client.store.erase(record):
                    act.changed = 1
                    await _erase_runs(client, record)
                    return True
            raise _contended(name)

    # -- looking ---------------------------------------------------------------------------------------------------

    async def get(self, name: str) -> ScheduleInfo | None:
        """The schedule as it is now; None where there is none."""
        client = await self._app.connect()
        record = await client.store.read(SCHEDULE, name)
        return None if record is None else await _info(client, decode_schedule(record.value), output=True)

    async def list(
        self,
        *,
        status: str | Sequence[str] | None = None,
        task: str | None = None,
        search: str | None = None,
        sort: str = "name",
        descending: bool = False,
        offset: int = 0,
        limit: int = 100,
    ) -> SchedulePage:
        """Some of the schedules, and how many there are in all.

        `status`: one or several of active, paused, running, completed, failed, retry-scheduled, retired. `search`: text
        that the name, the task or the description holds. `sort`: name, next_run, last_run, created_at or updated_at.
        Reads every schedule, and with `status` the last run of each. Raises `DefinitionError`.
        """
        client = await self._app.connect()
        return await list_schedules(client, status, task, search, sort, descending, offset, limit)

    async def executions(self, name: str, limit: int = 50, *, output: bool = True) -> builtins.list[Execution]:
        """Its last runs, newest first, attempt by attempt. `output=False` spares a round trip per run.

        Raises `ScheduleNotFound`.
        """
        check_count(limit, "limit", 1, 500)
        client = await self._app.connect()
        schedule = await self._stored(client, name)
        entries = list(reversed(schedule.recent))[:limit]
        rows = await rows_of(client.store, [schedule.job_id(entry) for entry in entries])
        found: builtins.list[Execution] = []
        for entry in entries:
            job = rows[schedule.job_id(entry)]
            if job is None:
                continue
            lines = await client.store.tail(job.id, 0, BATCH_ROWS) if output else []
            found += executions_of(entry, job, lines)
            if len(found) >= limit:
                break
        return found[:limit]

    # -- acts ------------------------------------------------------------------------------------------------------

    async def pause(self, name: str, reason: str = "") -> ScheduleInfo:
        """Fire nothing until it is resumed; what runs goes on. The reason is shown with it, too. Raises
        `ScheduleNotFound`, `IllegalTransition` where it is paused already."""
        check_reason(reason)

        def paused(schedule: Schedule, now: int) -> Schedule:
            if schedule.paused:
                raise IllegalTransition("pause", name, "paused", "one that is not paused", what="schedule")
            return schedule_acts.pause(schedule, reason, now).evolve(updated_at=now)

        return await self._changed("schedules.pause", name, paused, reason=reason)

    async def resume(self, name: str, reason: str = "") -> ScheduleInfo:
        """Go on with the first time from now. Raises `ScheduleNotFound`, `IllegalTransition` where it is not paused."""
        check_reason(reason)

        def resumed(schedule: Schedule, now: int) -> Schedule:
            if not schedule.paused:
                raise IllegalTransition("resume", name, "not paused", "one that is paused", what="schedule")
            return schedule_acts.resume(schedule, now).evolve(updated_at=now)

        return await self._changed("schedules.resume", name, resumed, reason=reason)

    async def run(self, name: str, input: Mapping[str, Any] | None = None, reason: str = "") -> JobHandle[Any]:
        """Run it once now, whatever its times and whether it is paused; `input` instead of its own.

        The run is in its history, and its times take account of it as of any other. Raises `ScheduleNotFound`.
        """
        check_reason(reason)
        client = await self._app.connect()
        text = None
        if input is not None:
            text = await client.encode_input((await self._stored(client, name)).task, input)
        entry = f"run-{client.clock.now()}-{new_token()[:6]}"
        dropped: builtins.list[str] = []

        def noted(schedule: Schedule, now: int) -> Schedule:
            made, out = ticks.note_run(schedule, entry)
            dropped[:] = [schedule.job_id(one) for one in out]
            return made

        async with self._app.audit.act("schedules.run", name, reason=reason) as act:
            # Noted first: a death in between leaves an entry without a job, which nobody sees.
            schedule = await self._change(client, name, noted)
            now = client.clock.now()
            job = ticks.job_of(schedule, entry, now, now, await placing_of(client, schedule.task))
            handle: JobHandle[Any] = await client.put(job if text is None else job.evolve(input=text))
            act.changed, act.detail = 1, {"job": handle.id}
            await forget(client, dropped)
            return handle

    async def reset_retries(self, name: str, reason: str = "") -> ScheduleInfo:
        """Give a run that waits for a retry all its attempts again, and forget the failure of one that has none left.

        Raises `ScheduleNotFound`.
        """
        check_reason(reason)
        client = await self._app.connect()
        schedule = await self._stored(client, name)
        rows = await _rows(client, schedule)
        for entry in schedule.live:
            job = rows[entry]
            if job is not None and job.state is State.WAITING and job.attempts:
                await _reset(client, job.id)
        return await self._changed(
            "schedules.reset_retries",
            name,
            lambda found, now: found.evolve(cleared=_failure(found, rows), updated_at=now),
            reason=reason,
        )

    # -- times -----------------------------------------------------------------------------------------------------

    def preview(
        self, *, start: datetime | None = None, count: int = 5, **timing: Unpack[PreviewOptions]
    ) -> builtins.list[datetime]:
        """The first `count` times of a schedule after `start` (default: now), aware, in its zone. Needs no store.

        Raises `DefinitionError`.
        """
        return preview_times(start, count, timing)

    def describe(self, **timing: Unpack[PreviewOptions]) -> str:
        """The times of a schedule in words, with a warning where daylight saving touches them. Needs no store.

        Raises `DefinitionError`.
        """
        return describe_times(timing)

    # -- reading and swapping --------------------------------------------------------------------------------------

    async def _stored(self, client: Client, name: str) -> Schedule:
        record = await client.store.read(SCHEDULE, name)
        if record is None:
            raise ScheduleNotFound(name)
        return decode_schedule(record.value)

    async def _changed(
        self, action: str, name: str, change: Change, detail: Mapping[str, Any] | None = None, reason: str = ""
    ) -> ScheduleInfo:
        client = await self._app.connect()
        async with self._app.audit.act(action, name, reason=reason) as act:
            schedule = await self._change(client, name, change)
            act.changed, act.detail = 1, dict(detail or {})
        return await _info(client, schedule)

    async def _change(self, client: Client, name: str, change: Change) -> Schedule:
        for _ in range(ATTEMPTS):
            record = await client.store.read(SCHEDULE, name)
            if record is None:
                raise ScheduleNotFound(name)
            now = client.clock.now()
            made = change(decode_schedule(record.value), now)
            if (await client.store.write([_record(made, record, now)]))[0] is not None:
                await _wake(client)
                return made
        raise _contended(name)


def _name_of(task: Task[..., Any] | str) -> str:
    if isinstance(task, Task):
        return task.name
    if not isinstance(task, str):
        raise DefinitionError(
            f"bad task: {task!r}. Expected a task, @app.task above a function makes one, or its name."
        )
    return task


def _record(schedule: Schedule, old: Record, now: int) -> Record:
    value = encode_schedule(schedule, old.value)
    due, expires = ticks.due_at(schedule, now), schedule_acts.expires_at(schedule, now)
    return old.evolve(written_at=now, due_at=due, expires_at=expires, value=value)


async def _info(client: Client, schedule: Schedule, output: bool = False) -> ScheduleInfo:
    rows = await _rows(client, schedule)
    last = newest(schedule, rows)
    lines = await client.store.tail(last[1].id, 0, BATCH_ROWS) if output and last is not None else []
    return info_of(schedule, rows, client.clock.now(), lines)


async def _rows(client: Client, schedule: Schedule) -> dict[str, Job | None]:
    """The jobs by which it is said how a schedule is, by their entries."""
    return by_entry(schedule, await rows_of(client.store, [schedule.job_id(entry) for entry in looked_up(schedule)]))


async def _wake(client: Client) -> None:
    try:
        await wake_on_duty(client.store, client.clock.now())
    except StoreError:
        pass  # a hint; the clock looks again by itself


async def _erase_runs(client: Client, record: Record) -> None:
    try:
        schedule = decode_schedule(record.value)
    except DefinitionError:
        return  # what cannot be read is gone now; its runs go when their time is over
    ids = list(dict.fromkeys(schedule.job_id(entry) for entry in (*schedule.recent, *schedule.live)))
    rows = (await rows_of(client.store, ids)).values()
    for job in rows:
        if job is not None and job.state in (State.WAITING, State.PAUSED):
            await _cancel(client, job)
    await forget(client, ids)


async def _cancel(client: Client, job: Job) -> None:
    policy = await client.policy(job.task)

    def cancelled(row: Job) -> Job | None:
        if row.state is State.RUNNING or row.state not in LIVE:
            return None  # it has begun: let it go on
        return states.cancel(row, client.clock.now(), policy, "its schedule was deleted", erase=True)

    try:
        await client.change(job.id, cancelled)
    except JobNotFound:
        pass


async def _reset(client: Client, id: str) -> None:
    try:
        await client.change(id, states.reset)
    except JobNotFound:
        pass


def _failure(schedule: Schedule, rows: Mapping[str, Job | None]) -> str:
    """The entry whose failure is forgotten: the newest, unless it goes on."""
    last = newest(schedule, rows)
    return "" if last is None or last[1].state in LIVE else last[0]


def _input_of(schedule: Schedule) -> dict[str, Any]:
    value: dict[str, Any] = decode_value(schedule.input)
    return value


def _contended(name: str) -> Contended:
    return Contended(f"schedule {name!r} was written by others {ATTEMPTS} times in a row. Nothing was done; try again.")
