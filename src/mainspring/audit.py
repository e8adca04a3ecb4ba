"""The audit trail: who did what to jobs, queues, schedules and locks, when, and to how many.

An entry is a record that expires. Its name counts down, so a scan by name gives the newest first, and a look at the
first one the next number; what lies beyond the number of entries to keep is erased every hundred entries. An act costs
one small look and one small write, however many jobs it changes; acts at the same moment share them.

The trail may not undo or hide an act: where it cannot be written, that is told in the log, and the act stands.
"""

from __future__ import annotations

import asyncio
import builtins
import getpass
import logging
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import Any
from weakref import WeakKeyDictionary

from mainspring.batching import Batcher
from mainspring.core.clock import Clock
from mainspring.core.duration import Duration, instant, milliseconds
from mainspring.core.naming import check_count, check_reason, is_text
from mainspring.core.policy import DAY
from mainspring.core.records import AUDIT, Record
from mainspring.errors import Contended, DefinitionError, MainspringError
from mainspring.events import emit
from mainspring.stores.base import BATCH_ROWS, Store

ACTIONS = (
    "jobs.retry", "jobs.cancel", "jobs.delete", "jobs.pause", "jobs.resume",
    "dead_letters.retry", "dead_letters.retry_all", "dead_letters.purge",
    "queues.pause", "queues.resume", "queues.throttle", "queues.unthrottle", "queues.pause_task", "queues.resume_task",
    "schedules.create", "schedules.update", "schedules.delete", "schedules.pause", "schedules.resume", "schedules.run",
    "schedules.reset_retries",
    "workers.pause", "workers.resume", "locks.force_release",
)  # fmt: skip
"""All that is audited: the part of the app, and its method."""
KEEP = 10_000
"""Entries at the most, give or take a hundred."""
KEPT_FOR = 90 * DAY
TRIM_EVERY = 100
ATTEMPTS = 20
"""Numbers that others were faster to take, in a row, before a write gives up."""
TOP = 10**12
SLACK = 60_000
"""ms by which an entry may be older than one with a smaller number: two processes wrote at once."""
LONGEST_TEXT = 500
LONGEST_LIST = 20

Connect = Callable[[], Awaitable[Store]]
"""Gives the open store of the running event loop."""


# -- who ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Acting:
    actor: str | None = None
    reason: str = ""


_NOBODY = _Acting()
_acting: ContextVar[_Acting] = ContextVar("mainspring_acting", default=_NOBODY)


@contextmanager
def acting(actor: str | None = None, *, reason: str = "") -> Iterator[None]:
    """What is done in this block is done by `actor` (None: whoever it was outside), for `reason` where the act itself
    says none. Raises `DefinitionError` for what no record can carry."""
    if actor is not None and (not isinstance(actor, str) or not 0 < len(actor) <= 200 or not is_text(actor)):
        raise DefinitionError(f"bad actor: {actor!r}. Expected text of 1 to 200 characters.")
    outer = _acting.get()
    token = _acting.set(_Acting(outer.actor if actor is None else actor, check_reason(reason) or outer.reason))
    try:
        yield
    finally:
        _acting.reset(token)


@cache
def default_actor() -> str:
    """The user of this process and its host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}"


# -- what --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One act. Times in ms on the store's clock."""

    id: str
    """Entries are numbered; a later one has a greater number, but for acts at the same moment."""
    at: int
    actor: str
    action: str
    """One of `ACTIONS`."""
    target: str = ""
    """The id of the job; the name of the queue, task, schedule or lock. Empty: those that `filters` name."""
    filters: dict[str, Any] = field(default_factory=dict)
    """As they were given, long lists and texts cut."""
    changed: int = 0
    """How many jobs, gates, schedules or locks it changed."""
    reason: str = ""
    outcome: str = "done"
    """done; or failed or interrupted, after `changed` of them."""
    detail: dict[str, Any] = field(default_factory=dict)
    """What else is to be known: whose lock it was, until when a task is held, the error."""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some entries, to iterate over, and where the next ones are."""

    entries: tuple[AuditEntry, ...]
    cursor: str | None
    """None: there are no more."""

    def __iter__(self) -> Iterator[AuditEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


@dataclass(slots=True)
class Act:
    """An act under way: what it has changed so far."""

    changed: int = 0
    detail: dict[str, Any] = field(default_factory=dict)


# -- the trail ---------------------------------------------------------------------------------------------------------


class Audit:
    """Who did what, when, to how many: `app.audit`. The parts of the app that administer write it, by `act`."""

    def __init__(self, connect: Connect, clock: Clock, keep: int = KEEP) -> None:
        self._connect = connect
        self._clock = clock
        self._keep = keep
        self._writers: WeakKeyDictionary[asyncio.AbstractEventLoop, Batcher[AuditEntry, None]] = WeakKeyDictionary()
        self._writing: set[asyncio.Task[None]] = set()

    async def list(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        action: str | None = None,
        actor: str | None = None,
        since: Duration | datetime | None = None,
    ) -> AuditPage:
        """A page of up to `limit` (500 at most) entries, newest first.

        `action`: one of `ACTIONS`, or a part of the app such as "jobs". `since`: an aware datetime, or how long ago.
        `page.cursor` is the `cursor` of the next page; None: this was the last. Raises `DefinitionError`.
        """
        check_count(limit, "limit", 1, BATCH_ROWS)
        if action is not None and action not in ACTIONS and action not in _parts():
            raise DefinitionError(
                f"unknown action: {action!r}. Expected one such as {ACTIONS[0]!r}, or all of a part: "
                f"{', '.join(_parts())}."
            )
        store, now = await self._connect(), self._clock.now()
        earliest = _moment(since, now)
        found: builtins.list[AuditEntry] = []
        while True:
            records = await store.scan(AUDIT, after=cursor, limit=min(BATCH_ROWS, limit + 1))
            for record in records:
                if record.written_at < earliest - SLACK:
                    return AuditPage(tuple(found), None)
                if not _meant(record, action, actor, earliest, now):
                    continue
                if len(found) == limit:
                    return AuditPage(tuple(found), _name(int(found[-1].id)))
                found.append(_entry(record))
            if len(records) < min(BATCH_ROWS, limit + 1):
                return AuditPage(tuple(found), None)
            cursor = records[-1].name

    @asynccontextmanager
    async def act(
        self, action: str, target: str = "", *, filters: Mapping[str, Any] | None = None, reason: str = ""
    ) -> AsyncIterator[Act]:
        """Around an act, which says in what it gets how many it has changed. What raises and has changed nothing is no
        act; what raises later is recorded with what it had changed."""
        assert action in ACTIONS, action
        act = Act()
        note = partial(self._note, act, action, target, dict(filters or {}), reason)
        try:
            yield act
        except BaseException as error:
            if act.changed:
                act.detail["error"] = str(error) or type(error).__name__
                await note("failed" if isinstance(error, Exception) else "interrupted")
            raise
        await note("done")

    async def _note(
        self, act: Act, action: str, target: str, filters: dict[str, Any], reason: str, outcome: str
    ) -> None:
        acting = _acting.get()
        entry = AuditEntry(
            id="", at=self._clock.now(), actor=acting.actor or default_actor(), action=action, target=_plain(target),
            filters=_plain({name: value for name, value in filters.items() if value is not None}), changed=act.changed,
            reason=reason or acting.reason, outcome=outcome, detail=_plain(act.detail),
        )  # fmt: skip
        told = {name: getattr(entry, name) for name in _TOLD}
        emit("audit", logging.INFO, **{name: value for name, value in told.items() if value not in ("", {})})
        # Shielded: an act that is done is noted, whoever gives up waiting for that.
        writing = asyncio.create_task(self._write(entry), name="mainspring-audit")
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        await asyncio.shield(writing)

    async def _write(self, entry: AuditEntry) -> None:
        try:
            await self._writer().submit(entry)
        except MainspringError as error:
            emit("audit.failed", logging.ERROR, action=entry.action, actor=entry.actor, error=str(error))

    def _writer(self) -> Batcher[AuditEntry, None]:
        loop = asyncio.get_running_loop()
        if loop not in self._writers:
            self._writers[loop] = Batcher(self._append, most=TRIM_EVERY)
        return self._writers[loop]

    async def _append(self, entries: builtins.list[AuditEntry]) -> Sequence[None]:
        store, left = await self._connect(), entries
        for attempt in range(ATTEMPTS):
            newest = await store.scan(AUDIT, limit=1)
            last = _number(newest[0]) if newest else 0
            first = last + 1 + random.randrange(attempt * len(left) + 1)  # after a clash: not where the others go, too
            written = await store.write([_record(entry, first + n) for n, entry in enumerate(left)])
            left = [entry for entry, record in zip(left, written, strict=True) if record is None]
            if (first + len(written)) // TRIM_EVERY > last // TRIM_EVERY:
                await self._trim(store, first + len(written) - 1)
            if not left:
                return [None] * len(entries)
        raise Contended(f"{len(left)} entries of the audit trail lost their number {ATTEMPTS} times in a row.")

    async def _trim(self, store: Store, newest: int) -> None:
        """Erase what lies beyond the entries to keep."""
        if newest <= self._keep:
            return
        try:
            while old := await store.scan(AUDIT, after=_name(newest - self._keep + 1)):
                for record in old:
                    await store.erase(record)
        except MainspringError as error:
            emit("audit.trim", logging.WARNING, error=str(error))  # they go the next time


def _parts() -> tuple[str, ...]:
    return tuple(dict.fromkeys(action.partition(".")[0] for action in ACTIONS))


def _meant(record: Record, action: str | None, actor: str | None, earliest: int, now: int) -> bool:
    done = str(record.value.get("action", ""))
    return (
        record.written_at >= earliest
        and (record.expires_at is None or record.expires_at > now)
        and (action is None or action in (done, done.partition(".")[0]))
        and (actor is None or actor == record.value.get("actor"))
    )


def _moment(since: Duration | datetime | None, now: int) -> int:
    if since is None:
        return 0
    return instant(since, "since") if isinstance(since, datetime) else now - milliseconds(since, "since")


def _name(number: int) -> str:
    return f"{TOP - number:012d}"


def _number(record: Record) -> int:
    return TOP - int(record.name)


_TOLD = ("actor", "action", "target", "filters", "changed", "reason", "outcome")
_FIELDS = ("actor", "action", "target", "filters", "changed", "reason", "outcome", "detail")


def _record(entry: AuditEntry, number: int) -> Record:
    value = {name: value for name in _FIELDS if (value := getattr(entry, name)) not in ("", {})}
    return Record(kind=AUDIT, name=_name(number), written_at=entry.at, expires_at=entry.at + KEPT_FOR, value=value)


def _entry(record: Record) -> AuditEntry:
    given = {name: record.value[name] for name in _FIELDS if name in record.value}
    return AuditEntry(id=str(_number(record)), at=record.written_at, **given)


def _plain(value: Any) -> Any:
    """`value` as a small JSON value."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        parts = [_plain(part) for part in list(value)[:LONGEST_LIST]]
        return parts if len(value) <= LONGEST_LIST else [*parts, f"and {len(value) - LONGEST_LIST} more"]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    text = text.encode(errors="replace").decode()
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
