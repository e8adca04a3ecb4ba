"""The store contract: all that Mainspring asks of a database.

A store inserts a job unless its id exists, claims, and compares-and-swaps one row. It holds no policy: what a row
becomes is decided in `core.states`. Times are passed in as integer milliseconds and never read inside (but for
`time`). A batch is one round trip; callers keep a batch within `BATCH_ROWS` rows and `BATCH_BYTES` bytes.

Every call has a deadline; `StoreUnavailable` means: try again later. An exception does not prove that nothing
happened: repeat an `add`; after a failed `save`, `states.landed` tells; after a failed `claim`, find what carries the
token and give it back.

Any store must pass the suite in `tests/conformance`. A method has no default body, on purpose: a default that is not
atomic is a fault waiting for load.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from mainspring.core.job import Frozen, Job, State
from mainspring.core.records import Record
from mainspring.errors import StoreUnavailable

BATCH_ROWS = 500
BATCH_BYTES = 1_000_000


class Claim(NamedTuple):
    """What a claim took, and when to look again."""

    jobs: list[Job]
    next_due: int | None
    """The first time at which there may be something to claim that was not there now: the next due job or lease end of
    the named tasks, or the end of a throttle. At or before `now`: at once, for `limit` cut the answer. None: none."""


class PartlyAdded(StoreUnavailable):
    """Of an `add` some jobs are stored; of the others it is not known: somebody's open transaction holds their ids."""

    def __init__(self, why: StoreUnavailable, rows: Sequence[Job | None]) -> None:
        super().__init__(str(why))
        self.why = why
        self.rows = list(rows)
        """In order what is stored; None: not known."""


class Beat(NamedTuple):
    """A sign of life for one held job."""

    id: str
    token: str
    progress: str | None = None
    """JSON text to store, None to leave what is stored."""


class Query(Frozen, frozen=True, kw_only=True):
    """Which jobs; everything given must hold. Empty tuples and None mean: any."""

    states: tuple[State, ...] = ()
    queue: str | None = None
    task: str | None = None
    worker: str | None = None
    """Who claimed it last."""
    origin: str | None = None
    keyed: bool | None = None
    created_after: int | None = None
    """Inclusive, ms."""
    created_before: int | None = None
    """Exclusive, ms."""
    error: str | None = None
    """Text that the last error holds, in any case of letters."""
    oldest_first: bool = False
    after: str | None = None
    """The cursor of the page before."""
    limit: int = 100
    """1 to `BATCH_ROWS`."""


class Page(NamedTuple):
    jobs: list[Job]
    cursor: str | None
    """For `Query.after`; None: this was the last page."""


class Count(NamedTuple):
    queue: str
    task: str
    state: State
    jobs: int


class LogLine(NamedTuple):
    job_id: str
    claim: int
    """The claim under which it was written."""
    at: int
    level: str
    text: str
    seq: int = 0
    """Given by the store: grows within a job."""


class Event(Frozen, frozen=True, kw_only=True):
    """Something happened to a job. Events are hints for eyes and waiters; they may be lost, never needed."""

    job_id: str
    task: str
    queue: str
    kind: str
    """state or progress"""
    status: str
    at: int
    data: dict[str, Any] = {}  # noqa: RUF012  (msgspec copies it)


class Fact(NamedTuple):
    """Something that a store knows of what it stands on. Without an opinion: `mainspring doctor` has those."""

    name: str
    value: str | int | float | None
    """None: it could not be read."""
    why: str = ""
    """Why it could not be read."""


class Store(ABC):
    """The contract. One instance belongs to one event loop; `clone` makes another for another loop or thread."""

    url: str

    # -- life --------------------------------------------------------------------------------------------------

    @abstractmethod
    async def open(self) -> None:
        """Connect, create or migrate the schema. Twice is once.

        Raises `StoreUnusable` for a foreign, damaged or newer database, `StoreReadOnly`, `StoreUnavailable`.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of all connections. Twice is once; calls after it raise `StoreUnavailable`."""

    @abstractmethod
    def clone(self) -> Store:
        """Another store over the same data, not opened yet, for another event loop or thread."""

    # -- clock -------------------------------------------------------------------------------------------------

    @abstractmethod
    async def time(self) -> int:
        """The store's clock, in ms since the epoch. All leases and due times are told by it."""

    # -- jobs --------------------------------------------------------------------------------------------------

    @abstractmethod
    async def add(self, jobs: Sequence[Job], within: Any = None) -> list[Job]:
        """Insert each job unless its id exists; answer, in order, what is stored, without payload.

        A new row gets version 1. Twice is once: a repeated add answers the same row. Two jobs of one batch with the
        same id: the first is inserted, both answers are that row. Jobs keep the order of the batch.
        `within`: the caller's own open transaction; the rows exist when it commits. Raises `DefinitionError` where
        that is not of this store. Wakes a waiter of each queue that got something due.
        May raise `PartlyAdded`, so that a job which somebody's transaction holds up holds up no other.
        """

    @abstractmethod
    async def claim(
        self,
        queue: str,
        tasks: Mapping[str, int | None],
        worker: str,
        token: str,
        now: int,
        until: int,
        limit: int,
        cap: int | None = None,
    ) -> Claim:
        """Take up to `limit` due jobs of the named `tasks` in `queue`, in one atomic step.

        Lapsed leases first (running, due), then waiting jobs by priority, the highest first; within a priority lanes
        go by the due time of their first job, within a lane jobs by due time and id. Nothing is taken from a queue or
        a task whose gate is closed at `now`, nor of a task that is not named. `tasks` gives each task's cap: the most
        of its jobs, in all queues, whose lease may be alive at `now` after this call (None = no cap); `cap` is the
        same for the queue.

        A taken row gets: state running, `due_at` = `until`, `token`, `worker`, `started_at` = `now`, claims + 1,
        version + 1; `last_worker` and `last_started_at` become what `worker` and `started_at` were. Answered with
        input. A claim that takes nothing writes nothing.
        """

    @abstractmethod
    async def renew(self, beats: Sequence[Beat], until: int) -> list[Job]:
        """Lengthen the leases that are still owned: running, and with the beat's token.

        `due_at` becomes the later of what it is and `until`; version + 1; progress where given. Answers, in the order
        of the beats, the rows that were renewed, without payload; a beat without answer has lost its job.
        """

    @abstractmethod
    async def save(self, jobs: Sequence[Job], within: Any = None) -> list[Job | None]:
        """Replace each row whose stored version and token equal the job's; answer, in order, the new row or None.

        The new row is the job as given, with version + 1. All header and body fields are written, but token, claims,
        worker, started_at and their `last_` twins stay as stored; input and result only where carried. A terminal job
        with `expires_at` 0 is erased (and answered). One lost swap does not hinder the others.
        """

    @abstractmethod
    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        """The jobs with these ids, in order, with payload; None where there is none."""

    @abstractmethod
    async def find(self, query: Query) -> Page:
        """A page of jobs without payload, newest first (by insertion) unless the query says otherwise."""

    @abstractmethod
    async def count(self, query: Query) -> list[Count]:
        """How many jobs there are, per queue, task and state. Cheap by state, queue, task, origin and keyed alone."""

    # -- records -----------------------------------------------------------------------------------------------

    @abstractmethod
    async def read(self, kind: str, name: str) -> Record | None:
        """The record, expired or not, or None."""

    @abstractmethod
    async def write(self, records: Sequence[Record], within: Any = None) -> list[Record | None]:
        """Write each record whose stored version equals its own (0: must not exist).

        Answers the new ones, None where the swap was lost. The first version is `written_at`, each later one adds one.
        """

    @abstractmethod
    async def scan(
        self, kind: str, due: int | None = None, after: str | None = None, limit: int = BATCH_ROWS
    ) -> list[Record]:
        """Records of a kind by name, after the name `after`; with `due`: only those due by then, by due time."""

    @abstractmethod
    async def erase(self, record: Record) -> bool:
        """Erase the record if its stored version is this one's. False: it is gone or was written since."""

    # -- logs --------------------------------------------------------------------------------------------------

    @abstractmethod
    async def append(self, lines: Sequence[LogLine], keep: int) -> None:
        """Append to the logs of jobs that exist; the last `keep` lines of each stay."""

    @abstractmethod
    async def tail(self, id: str, after: int = 0, limit: int = BATCH_ROWS) -> list[LogLine]:
        """The lines of a job whose `seq` is greater than `after`, oldest first."""

    # -- upkeep ------------------------------------------------------------------------------------------------

    @abstractmethod
    async def purge(self, now: int, limit: int) -> int:
        """Erase up to `limit` terminal jobs (with payload and logs), and as many records, that expired by `now`.

        The test is part of the erasing step, so a job that was revived meanwhile stays. Answers how many went.
        """

    @abstractmethod
    async def facts(self) -> list[Fact]:
        """What this store knows of the server or the file that it stands on: each name once, and first `store`, its
        kind. What cannot be read is answered with the reason. For people who ask: may take a second."""

    # -- transactions ------------------------------------------------------------------------------------------

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """A transaction on this store's own database, for the caller's writes and for `within`, in this event loop.

        What it gives is the driver's own object. Committed when the block ends, rolled back by an exception, which is
        raised on. Raises, at the call, `DefinitionError` where the store has none. `StoreUnavailable` from it or its
        block means that it lost against another writer, or never began: nothing was committed, run all of it again.
        That goes for the caller's own statements too: where one of them lost, this is what leaves the block. A commit
        whose answer was lost is asked again here; where it stays unknown, another `StoreError` is raised.
        """

    # -- hints -------------------------------------------------------------------------------------------------
    # May be lost or late, and may come for nothing; never needed for correctness. A name is a queue or a worker id;
    # queue names never contain ":", worker ids always do.

    @abstractmethod
    async def wake(self, name: str) -> None:
        """End the next wait for `name`: one waiter's, not the whole fleet's, where the database can."""

    @abstractmethod
    async def wait(self, names: Sequence[str], timeout: float) -> bool:
        """Sleep until one of `names` is woken or `timeout` seconds are over. True: woken.

        What was woken (or added) after this store's last claim of that queue began ends the wait at once.
        """

    @property
    @abstractmethod
    def followed(self) -> bool:
        """Whether anybody may be following, as far as this store knows: False spares the making of events."""

    @abstractmethod
    async def publish(self, events: Sequence[Event]) -> None:
        """Tell the followers. Costs nothing where nobody follows."""

    @abstractmethod
    def subscribe(self) -> AsyncGenerator[list[Event], None]:
        """Follow: events published from now on, in batches. An empty batch now and then says that it is alive."""
