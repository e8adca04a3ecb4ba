"""The schedule: what is to be asked for when, and what has come of it, as it is stored in a record.

A schedule is frozen and changes by `evolve`; what becomes of it when its time has come is decided in `core.ticks`. It
names its runs by entries: a tick by its time in ms as text, a run that was asked for by hand by a text of its own.
From an entry follows the id of its job: the schedule finds its runs without an index, and nobody adds a tick twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec

from mainspring.core.cron import Cron, DstGap, DstOverlap
from mainspring.core.ids import key_id
from mainspring.core.job import Frozen, Job
from mainspring.core.trigger import At, Every, Trigger
from mainspring.errors import DefinitionError

CatchUp = Literal["skip", "one", "all"]
Overlap = Literal["skip", "queue", "allow"]
ORIGIN = "schedule:"
"""What the origin of a job begins with that a schedule asked for; its name follows."""
HISTORY = 50


class Missed(Frozen, frozen=True, kw_only=True):
    """Ticks that found no worker, and were not caught up. Times in ms."""

    first: int
    last: int
    count: int
    exact: bool = True
    """False: there were at least so many."""


class Schedule(Frozen, frozen=True, kw_only=True):
    """What is asked for when, and what has come of it so far. Times and durations in ms."""

    id: str
    """Its own, whatever its name: one that is made anew under an old name has other ticks."""
    name: str
    task: str
    input: str = "{}"
    """The arguments, as JSON text."""
    description: str = ""
    # -- when ----------------------------------------------------------------------------------------------------
    cron: str | None = None
    every: int | None = None
    at: int | None = None
    start: int | None = None
    """Of an interval: the first tick, from which all others are counted."""
    fixed_delay: bool = False
    """An interval is counted from the end of the run before."""
    recurring: bool = True
    """False: it ends with its first run."""
    timezone: str = "UTC"
    dst_gap: DstGap = "run_after"
    dst_overlap: DstOverlap = "first"
    catch_up: CatchUp = "one"
    catch_up_window: int | None = None
    catch_up_max: int = 100
    overlap: Overlap = "skip"
    jitter: int = 0
    # -- how -----------------------------------------------------------------------------------------------------
    retry: dict[str, Any] | None = None
    timeout: int | None = None
    queue: str | None = None
    priority: int | None = None
    history: int = HISTORY
    # -- its life ------------------------------------------------------------------------------------------------
    definition: str = ""
    """Digest of what the code says, of a decorated one. Empty: it was made at run time."""
    retired: bool = False
    """No code declares it any more."""
    paused: bool = False
    pause_reason: str = ""
    created_at: int = 0
    updated_at: int = 0
    span: int = 0
    """About how long its history reaches back: what `history` runs take."""
    # -- what has come of it -------------------------------------------------------------------------------------
    next: int | None = None
    """The first tick that has not been dealt with. None: there is none, or it follows from the end of a run."""
    backlog: tuple[int, ...] = ()
    """Ticks whose turn comes when the run before has ended."""
    live: tuple[str, ...] = ()
    """Entries whose job had not ended when it was last looked at."""
    recent: tuple[str, ...] = ()
    """The last entries, oldest first."""
    last_tick: int | None = None
    """The newest tick that was dealt with: fired, skipped or missed."""
    fired: int = 0
    missed: int = 0
    skipped: int = 0
    """Ticks that came while a run was going on."""
    last_missed: Missed | None = None
    last_skipped: int | None = None
    cleared: str = ""
    """The entry whose failure is no longer to be shown."""

    @property
    def trigger(self) -> Trigger:
        """When its ticks are. Raises `DefinitionError` where this version cannot read it."""
        return _trigger(self.cron, self.every, self.at, self.start or 0, self.timezone, self.dst_gap, self.dst_overlap)

    @property
    def origin(self) -> str:
        """The origin of its jobs."""
        return ORIGIN + self.name

    @property
    def over(self) -> bool:
        """Whether nothing of it is to come, unless somebody changes it."""
        return self.retired or (not self.recurring and self.next is None and not self.backlog)

    @property
    def follows_runs(self) -> bool:
        """Whether the end of a run may make it due: then whoever ends one looks at once."""
        return self.fixed_delay or self.overlap == "queue" or self.catch_up == "all"

    @property
    def waits(self) -> bool:
        """Whether it waits for the end of a run now."""
        return bool(self.backlog) or (self.fixed_delay and self.next is None and bool(self.live))

    def job_id(self, entry: str) -> str:
        """The id of the job of an entry: the same for whoever adds it, and for any task it may be of."""
        return _job_id(self.id, entry)


@lru_cache(maxsize=8192)  # asked for six times in a tick; it was a seventh of firing
def _job_id(schedule: str, entry: str) -> str:
    return key_id("", "tick", f"{schedule}/{entry}")


@lru_cache(maxsize=4096)
def _trigger(
    cron: str | None, every: int | None, at: int | None, start: int, zone: str, gap: DstGap, overlap: DstOverlap
) -> Trigger:
    if cron is not None:
        return Cron(cron, zone, gap, overlap)
    if every is not None:
        return Every(every, start)
    if at is not None:
        return At(at)
    raise DefinitionError("a schedule without a time. Expected one of cron=, every= and at=.")


_FIELDS = frozenset(Schedule.__struct_fields__)
WHEN = ("cron", "every", "at", "start", "fixed_delay", "recurring", "timezone", "dst_gap", "dst_overlap")
"""The fields that say when."""
LIFE = (
    "id", "paused", "pause_reason", "created_at", "next", "backlog", "live", "recent", "last_tick", "fired", "missed",
    "skipped", "last_missed", "last_skipped", "cleared",
)  # fmt: skip
"""The fields that no code declares: what operators said, and what has come of it."""


def decode_schedule(value: Mapping[str, Any]) -> Schedule:
    """The schedule of a stored value. Raises `DefinitionError` for one that is none."""
    try:
        return msgspec.convert({name: value[name] for name in value if name in _FIELDS}, Schedule)
    except msgspec.ValidationError as e:
        raise DefinitionError(f"the stored schedule {value.get('name')!r} cannot be read: {e}. Delete it.") from e


def encode_schedule(schedule: Schedule, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The value to store, with the fields of newer versions that `stored` has."""
    unknown = {name: value for name, value in stored.items() if name not in _FIELDS}
    made: dict[str, Any] = msgspec.to_builtins(schedule)
    return unknown | made


def meant_for(job: Job) -> int:
    """The time that a job is meant for, in ms. A tick keeps its own, however much later somebody lets it run again."""
    entry = (job.key or "").rpartition("/")[2]
    return int(entry) if job.origin.startswith(ORIGIN) and entry.isdigit() else job.scheduled_at
