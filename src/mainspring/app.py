"""The app: where tasks, clients, workers and administration of one store come together. Nothing is decided here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, Self, TypeVar, Unpack, cast, overload

from mainspring.audit import Audit, acting
from mainspring.client import Client
from mainspring.clients import Clients, Make
from mainspring.core.app_event import EventName, check_event
from mainspring.core.clock import Clock
from mainspring.core.duration import Duration
from mainspring.core.handle import JobEvent, JobHandle
from mainspring.core.job import Job
from mainspring.core.options import TaskOptions
from mainspring.core.request import CallOptions, Request, transaction_of, unknown_option
from mainspring.core.schedule_options import ScheduleOptions
from mainspring.core.task import Task
from mainspring.errors import DefinitionError, MainspringError, ResultTimeout
from mainspring.leases import Locks
from mainspring.registry import ByCode, Define, OnClock
from mainspring.stores import open_store
from mainspring.stores.base import Store
from mainspring.sync import Sync
from mainspring.transactions import TIMEOUT, run_in_transaction
from mainspring.triggers.reconcile import Declared
from mainspring.worker.hooks import Hooks
from mainspring.worker.lifespan import LifespanFunction
from mainspring.worker.listeners import Listener
from mainspring.worker.middleware import Middleware, check_middleware
from mainspring.worker.settings import WORKER_OPTIONS, WorkerOptions, WorkerSettings
from mainspring.worker.telling import tell_enqueued

if TYPE_CHECKING:
    from mainspring.admin import DeadLetters, Jobs, Queues, Schedules, Workers
    from mainspring.worker.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=Middleware)
L = TypeVar("L", bound=Listener)


class Attached(Protocol):
    """A worker, as a clock of that kind sees it."""

    worker: Worker

    async def until(self) -> int | None:
        """Wait until nothing is left that is due now; answers when something is due next, in ms."""
        ...

    async def hold(self, now: int) -> None:
        """Keep what is held, for the time is about to be `now`."""
        ...


HELD = 30
"""Seconds, of the wall clock, for which a job is waited for without a timeout where a test holds the clock: what is due
later never comes while the test waits."""


class TimeSource(Protocol):
    """A clock of the caller's own, for tests: `mainspring.testing.FakeClock`."""

    def now(self) -> int: ...

    def listen(self, listener: Callable[[], object]) -> None: ...

    def attach(self, worker: Attached) -> None: ...

    def detach(self, worker: Attached) -> None: ...


class Mainspring:
    """Background tasks on one store: `app = Mainspring("sqlite:///mainspring.db")`.

    Connects on first use, once per event loop, and lets go when that loop ends; `async with app:` does both by hand.
    `lifespan`: an async context manager of the app, entered by each worker before it claims anything and left when its
    last handler has ended; the mapping that it yields is `ctx.state`. Raises `DefinitionError`, also for a URL that
    names no store.
    """

    def __init__(
        self, store: str | Store, *, clock: TimeSource | None = None, lifespan: LifespanFunction | None = None
    ) -> None:
        now = None if clock is None else clock.now
        self._tasks: dict[str, Task[Any, Any]] = {}
        self.hooks: Hooks = Hooks(lifespan)
        """What workers call beside the handlers."""
        self._declared: dict[str, Declared] = {}
        self._away = False
        self._stand_on(open_store(store, now) if isinstance(store, str) else store, clock)
        self.task: Define = Define(self._tasks, self, TaskOptions())
        self.sync: Sync = Sync(self)

    def _stand_on(self, store: Store, clock: TimeSource | None, client: Make = Client) -> None:
        """All that depends on the store and its clock; the rest of an app does not know which these are."""
        self._store = store
        self.url: str = store.url
        self.time: TimeSource | None = clock
        """The clock of a test, where there is one."""
        self.clock: Clock = Clock() if clock is None else Clock(clock.now, clock.now)
        self._clients = Clients(store, self.clock, self._tasks, self, client)
        self.audit: Audit = Audit(self._connected, self.clock)
        """The audit trail, to be read: who did what."""
        self.locks: Locks = Locks(self._connected, self.clock, self.audit)
        if clock is not None:
            clock.listen(self._clients.wake_all)

    @contextmanager
    def _elsewhere(self, store: Store, clock: TimeSource | None, client: Make = Client) -> Iterator[None]:
        """Use another store and clock, in the whole process, and then the own ones again: `mainspring.testing`."""
        if self._away:
            raise MainspringError("this app is in a test kit already. Use that one, or end it first.")
        before = dict(vars(self))
        self._away = True
        self._stand_on(store, clock, client)
        own = {name: value for name, value in before.items() if vars(self)[name] is not value}
        try:
            yield
        finally:
            vars(self).update(own)

    @property
    def tasks(self) -> Mapping[str, Task[Any, Any]]:
        """The tasks that are defined, by name; one with aliases under each of its names."""
        return self._tasks

    def discover(self, target: str | Path) -> list[str]:
        """Import the modules of a package ("myapp.tasks") or of a folder (its path), one handler per file, and define
        their tasks. Answers the names of the tasks that came to be; twice is once.

        Raises `DefinitionError`, which names the file.
        """
        from mainspring.discover import discover

        return discover(self, target)

    def use_builtins(self, *, allow_private: bool = False, only: Sequence[str] | None = None) -> None:
        """Define the tasks that come with Mainspring: cleanup-logs, database-stats, webhook; or `only` some of them.

        `allow_private`: webhooks may go to addresses that are not public. Twice is once. Raises `DefinitionError`.
        """
        from mainspring.builtins import use_builtins

        use_builtins(self, allow_private=allow_private, only=only)

    # -- around the runs ---------------------------------------------------------------------------------------------

    def middleware(self, function: M, /) -> M:
        """Put `async def name(call_next, ctx)` around every run: `@app.middleware`. The first is the outermost.

        It awaits `call_next(ctx)`, sees what comes back or is raised, and may return or raise something else, which
        then counts as the handler's. Within the task's timeout. Raises `DefinitionError`.
        """
        check_middleware(function)
        self.hooks.middleware.append(function)
        return function

    @overload
    def on(self, event: EventName, /) -> Callable[[L], L]: ...

    @overload
    def on(self, event: EventName, listener: Listener, /) -> Callable[[], None]: ...

    def on(self, event: EventName, listener: Listener | None = None, /) -> Any:
        """Call `listener(event)`, plain or async, when something happens in this process; see `EVENTS` and `AppEvent`.

        Answers a function that ends it: `unsubscribe = app.on("job.dead", tell_me)`; `@app.on("job.dead")` decorates.
        A listener changes nothing: no run waits for it, what it raises is logged. Raises `DefinitionError`.
        """
        if listener is not None:
            return self.hooks.listeners.add(event, listener)
        check_event(event)

        def decorate(function: L) -> L:
            self.hooks.listeners.add(event, function)
            return function

        return decorate

    @property
    def dependency_overrides(self) -> MutableMapping[Callable[..., Any], Callable[..., Any]]:
        """Providers and what is called in their place, for tests. Setting one may raise `DefinitionError`."""
        return self.hooks.overrides

    @contextmanager
    def override(self, providers: Mapping[Callable[..., Any], Callable[..., Any]]) -> Iterator[None]:
        """Call other providers while the block runs: `with app.override({get_session: fake}): ...`.

        Raises `DefinitionError` for one that could not be called.
        """
        with self.hooks.overrides.during(providers):
            yield

    # -- schedules -------------------------------------------------------------------------------------------------

    def cron(
        self,
        expression: str,
        /,
        *,
        name: str | None = None,
        input: Mapping[str, Any] | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> OnClock:
        """Run a function, or a task, when a cron expression says so: `@app.cron("0 9 * * 1", timezone="Asia/Tokyo")`.

        5 fields, or 6 with seconds first, or @daily and its like. `name`: the schedule's; default: the task's. `input`:
        the arguments. The other options: `ScheduleOptions`. It is stored when a worker starts, once, under its name.
        Raises `DefinitionError`, `UnknownOption`.
        """
        return OnClock(self.task, self._declared, ByCode(name, input or {}, {"cron": expression, **options}))

    def every(
        self,
        interval: Duration,
        /,
        *,
        name: str | None = None,
        input: Mapping[str, Any] | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> OnClock:
        """Run a function, or a task, again and again: `@app.every("5m")`. The first time is one interval after the
        schedule came to be, or `start`; `fixed_delay=True` counts from the end of the run before. The rest: `cron`.
        """
        return OnClock(self.task, self._declared, ByCode(name, input or {}, {"every": interval, **options}))

    @property
    def declared(self) -> Mapping[str, Declared]:
        """The schedules that the code declares, by name."""
        return self._declared

    # -- life ------------------------------------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """The client of the running event loop; it connects on first use."""
        return self._clients.here()

    async def connect(self) -> Client:
        """The client of the running event loop, connected."""
        return await self._clients.here().open()

    async def open(self) -> None:
        """Connect now, so that what is wrong with the store shows now. Twice is once."""
        await self.connect()

    async def close(self) -> None:
        """Finish what was handed in, and let go of the store in this event loop. Twice is once."""
        await self.hooks.listeners.close_here()
        await self._clients.close_here()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _connected(self) -> Store:
        return (await self.connect()).store

    # -- enqueueing ------------------------------------------------------------------------------------------------

    @overload
    async def enqueue(self, task: Request[R], /) -> JobHandle[R]: ...

    @overload
    async def enqueue(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]: ...

    @overload
    async def enqueue(
        self, task: str, input: Mapping[str, Any] | None = None, /, **options: Unpack[CallOptions]
    ) -> JobHandle[Any]: ...

    async def enqueue(self, task: Any, /, *args: Any, **kwargs: Any) -> JobHandle[Any]:
        """Store a call: a request; a task and its arguments; or a name, an input and options.

        Raises `UnknownTask`, `InputError`, `DefinitionError`, `StoreError`; then nothing is stored.
        """
        if isinstance(task, Task):
            return await self.enqueue_request(task.job(*args, **kwargs))
        if isinstance(task, str):
            if len(args) > 1:
                raise DefinitionError(
                    f"{len(args)} arguments beside the name {task!r}. Expected one object, the input; options are "
                    f"given by name: app.enqueue({task!r}, {{...}}, delay=5)."
                )
            input = args[0] if args else None
            return await self.enqueue_request(await self.client.request_named(task, input, cast(CallOptions, kwargs)))
        if not isinstance(task, Request):
            raise DefinitionError(f"cannot enqueue {task!r}. Expected a task, task.job(...), or the name of a task.")
        if args or kwargs:
            given = ", ".join((*map(repr, args), *kwargs))
            raise DefinitionError(
                f"{given} beside a call of {task.task!r} that is made already. Expected it alone: "
                "task.options(...).job(...)."
            )
        return await self.enqueue_request(task)

    async def enqueue_many(
        self, requests: Iterable[Request[R]], within: Any = None, *, session: Any = None
    ) -> list[JobHandle[R]]:
        """Store many calls made by `task.job(...)`, in order; see `Client.enqueue_many`. `session` is `within`."""
        session = transaction_of(within, session)
        if not self.hooks.listeners.wants("job.enqueued"):
            return await self.client.enqueue_many(requests, session)
        requests = list(requests) if isinstance(requests, Iterable) else requests
        handles = await self.client.enqueue_many(requests, session)
        if session is None:
            tell_enqueued(self.hooks.listeners, requests, handles, self.clock.now())
        return handles

    async def enqueue_request(self, request: Request[R]) -> JobHandle[R]:
        """Store a call made by `task.job(...)`; as `enqueue`."""
        handle = await self.client.enqueue_request(request)
        if self.hooks.listeners.wants("job.enqueued"):
            tell_enqueued(self.hooks.listeners, [request], [handle], self.clock.now())
        return handle

    async def with_transaction(self, callback: Callable[[Any], Awaitable[R]], *, timeout: Duration = TIMEOUT) -> R:
        """Await `callback(session)` in a transaction of the store's own database, commit, and answer its value.

        `session` is the driver's own object, for your statements and for `session=`: jobs enqueued with it exist when
        it commits. Where another writer was faster it is rolled back and the callback runs again, for up to `timeout`;
        so it does nothing that a rollback does not undo. Any other exception rolls back and is raised.
        Raises `DefinitionError` where the store has no transactions, `StoreUnavailable` after `timeout`.
        """
        store = await self._connected()
        return await run_in_transaction(store.transaction, callback, self.clock, timeout)

    # -- jobs ------------------------------------------------------------------------------------------------------

    @overload
    def job(self, id: str, task: None = None) -> JobHandle[Any]: ...

    @overload
    def job(self, id: str, task: Task[..., R]) -> JobHandle[R]: ...

    def job(self, id: str, task: Task[..., Any] | None = None) -> JobHandle[Any]:
        """A handle of a job by its id; with its task, the result is validated. The job need not exist."""
        return self._clients.handle(id, task)

    async def get(self, id: str) -> Job:
        """The job as it is stored now. Raises `JobNotFound`."""
        return await self.client.get(id)

    async def status(self, id: str) -> str:
        """Its status as a word: pending, running, completed, … Raises `JobNotFound`."""
        return await self.client.status(id)

    async def cancel(self, id: str, reason: str = "cancelled") -> bool:
        """Cancel it; a running one is asked to end. False: it had ended already, or is gone."""
        return await self.client.cancel(id, reason)

    async def ended(self, id: str, timeout: Duration | None = None) -> Job:
        """Wait for its end; answers the completed job. Raises what `JobHandle.result` raises."""
        if timeout is not None or self.time is None:
            return await self.client.ended(id, timeout)
        try:
            return await self.client.ended(id, HELD)
        except ResultTimeout:
            raise ResultTimeout(
                f"job {id} is {await self.status(id)!r} after {HELD} s of real time, under a clock that a test holds. "
                "Nothing but the test lets it run: `await clock.advance(...)`, or `drain()` in a kit, before it asks "
                "for the result. If its handler takes that long, say `timeout=`."
            ) from None

    def events(self, id: str) -> AsyncIterator[JobEvent]:
        """Follow it until it has ended; see `JobHandle.events`."""
        return self.client.events(id)

    @cached_property
    def jobs(self) -> Jobs:
        """To look at jobs and steer them."""
        from mainspring.admin import Jobs

        return Jobs(self)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """Jobs that failed for good, to be retried or purged."""
        from mainspring.admin import DeadLetters

        return DeadLetters(self)

    @cached_property
    def queues(self) -> Queues:
        """Queues: what lies in them, pause and throttle."""
        from mainspring.admin import Queues

        return Queues(self)

    @cached_property
    def schedules(self) -> Schedules:
        """Schedules: to make, look at and steer them."""
        from mainspring.admin import Schedules

        return Schedules(self)

    @cached_property
    def workers(self) -> Workers:
        """The workers that live, and what each does."""
        from mainspring.admin import Workers

        return Workers(self)

    def acting(self, actor: str | None = None, *, reason: str = "") -> AbstractContextManager[None]:
        """`with app.acting("alice", reason="ticket 12"):` acts in the block are hers in the audit trail; else they are
        those of the user of this process at its host. Raises `DefinitionError`."""
        return acting(actor, reason=reason)

    # -- working ---------------------------------------------------------------------------------------------------

    def worker(self, **settings: Unpack[WorkerOptions]) -> Worker:
        """A worker of this app: `async with app.worker(concurrency=20): ...`. See `WorkerSettings`.

        Raises `DefinitionError`, `UnknownOption`, `UnknownTask`.
        """
        from mainspring.worker.worker import Worker

        unknown = [name for name in settings if name not in WORKER_OPTIONS]
        if unknown:
            raise unknown_option(unknown[0], WORKER_OPTIONS, "a worker")
        return Worker(self, WorkerSettings(**settings))

    async def run_worker(self, **settings: Unpack[WorkerOptions]) -> None:
        """Work until the worker ends or this is cancelled; then stop it in good order."""
        async with self.worker(**settings) as worker:
            await worker.join()
