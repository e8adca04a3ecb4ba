"""The client: brings calls to the store and news of jobs back. One belongs to one event loop.

It knows tasks (to validate a call by name) and transitions (to join, cancel and retry), and no worker.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from mainspring.batching import Batcher
from mainspring.core import states
from mainspring.core.clock import Clock
from mainspring.core.codec import decode_value
from mainspring.core.duration import Duration, milliseconds
from mainspring.core.handle import Caller, JobEvent, JobHandle
from mainspring.core.ids import new_id
from mainspring.core.job import Job, State
from mainspring.core.policy import Policy
from mainspring.core.request import CallOptions, Request
from mainspring.core.task import Task
from mainspring.errors import (
    Contended,
    DefinitionError,
    IllegalTransition,
    JobCancelled,
    JobFailed,
    JobNotFound,
    ResultTimeout,
    StoreError,
    StoreUnavailable,
)
from mainspring.follow import Hub
from mainspring.joining import SWAPS, Answer, Call, Joiner
from mainspring.snapshots import Snapshots
from mainspring.stores.base import BATCH_BYTES, BATCH_ROWS, Event, PartlyAdded, Store

__all__ = ["Client", "JobHandle", "decode_any"]

R = TypeVar("R")
ROW_BYTES = 512
"""What a row weighs in a batch besides its input."""
PATIENCE = 0.5
"""Seconds after which a batch that is not stored yet lets the next one go out beside it."""
REMEASURE = 30_000
"""ms after which the store's clock is read again, where no worker does."""


class Client:
    """Enqueues, cancels, retries, waits. Opens its store on first use, and closes it when its event loop ends."""

    def __init__(
        self, store: Store, clock: Clock, tasks: Mapping[str, Task[Any, Any]], caller: Caller | None = None
    ) -> None:
        self.store = store
        self.clock = clock
        self.tasks = tasks
        self.snapshots: Snapshots = Snapshots(store, clock, tasks)
        self._caller: Caller = caller or self
        self._joiner = Joiner(store, clock)
        self._puts = _batcher(partial(self._joiner.put, leave=True))
        self._held = _batcher(self._joiner.put)
        """For calls whose key somebody's open transaction holds: they wait without the others."""
        self._hub = Hub(store, clock)
        self._life: AsyncGenerator[None, None] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._measured_at = 0
        self._waking: asyncio.Task[None] | None = None

    # -- life ------------------------------------------------------------------------------------------------------

    async def open(self) -> Client:
        """Connect. Twice is once; every other method does it on first use."""
        # Not under a lock: that would let ten thousand first callers go on one by one, each in a batch of its own.
        while self._life is None:
            if self._opening is None or self._opening.done():
                self._opening = asyncio.create_task(self._open(), name="mainspring-open")
            await asyncio.wait([self._opening])
            self._opening.result()
        return self

    async def _open(self) -> None:
        await self.store.open()
        self._life = self._live()
        await anext(self._life)
        await self._measure()

    async def close(self) -> None:
        """Finish what was handed in, and let go of the store. Twice is once; a later call opens it again."""
        life, self._life = self._life, None
        if life is not None:
            await self._puts.drain()
            await self._held.drain()
            await life.aclose()

    async def _live(self) -> AsyncGenerator[None, None]:
        """Held open while the store is. An event loop that ends closes its generators, and so the store, by itself."""
        try:
            yield
        finally:
            self._life = None
            await self._hub.close()
            await self.store.close()

    async def _ready(self) -> None:
        if self._life is None:
            await self.open()
        elif self.clock.monotonic() - self._measured_at > REMEASURE:
            await self._measure()

    async def _measure(self) -> None:
        asked = self.clock.monotonic()
        now = await self.store.time()
        self.clock.adjust(asked, self.clock.monotonic(), now)
        self._measured_at = asked

    # -- asking ----------------------------------------------------------------------------------------------------

    async def enqueue_request(self, request: Request[R]) -> JobHandle[R]:
        """Store one call; concurrent ones share round trips. Answers when the store has accepted it.

        Raises `StoreError`, and `Contended` where its key changed hands all the time.
        """
        await self._ready()
        call = Call(request.to_job(self.clock.now()), request.max_wait)
        if request.within is None:
            return self._handle(request, await self._put(call))
        [answer] = await self._joiner.put([call], request.within)
        return self._handle(request, answer)

    async def enqueue_many(self, requests: Iterable[Request[R]], within: Any = None) -> list[JobHandle[R]]:
        """Store many calls, in order, in as few round trips as their size allows. Answers their handles, in order.

        Where it raises, some batches may be stored: repeat it only with keys. `within` makes it all or nothing.
        Raises `DefinitionError` for requests with transactions of their own.
        """
        requests = _requests(requests)
        if any(request.within not in (None, within) for request in requests):
            raise DefinitionError("requests with within= of their own. Give within= to enqueue_many, for all of them.")
        await self._ready()
        answers = await self._put_all(_batches(requests, self.clock.now()), within)
        return [self._handle(request, answer) for request, answer in zip(requests, answers, strict=True)]

    async def _put_all(self, batches: Iterator[list[Call]], within: Any) -> list[Answer]:
        """Store batches in order: the next is built, and goes out, while the one before is on its way.

        That makes 30,000 jobs a second of 20,000 on Redis. A caller's transaction takes one at a time.
        """
        answers: list[Answer] = []
        in_flight: deque[asyncio.Task[list[Answer]]] = deque()
        try:
            for batch in batches:
                if within is not None:
                    answers += await self._joiner.put(batch, within)
                    continue
                in_flight.append(asyncio.create_task(self._joiner.put(batch)))
                await asyncio.sleep(0)  # it is sent
                if len(in_flight) > 1:
                    answers += await in_flight.popleft()
            while in_flight:
                answers += await in_flight.popleft()
        finally:
            await asyncio.gather(*in_flight, return_exceptions=True)
        return answers

    async def enqueue_named(
        self, name: str, input: Mapping[str, Any] | None = None, options: CallOptions | None = None
    ) -> JobHandle[Any]:
        """Store a call by the name of its task, known here or to any worker of this store.

        Raises `UnknownTask`, `InputError`, `DefinitionError`.
        """
        return await self.enqueue_request(await self.request_named(name, input, options))

    async def request_named(
        self, name: str, input: Mapping[str, Any] | None = None, options: CallOptions | None = None
    ) -> Request[Any]:
        """A validated call by name, not stored yet."""
        task = self.tasks.get(name)
        if task is not None:
            return task.request({} if input is None else input).with_options(options or {})
        await self._ready()
        return await self.snapshots.request(name, {} if input is None else input, options or {})

    async def encode_input(self, name: str, input: Mapping[str, Any]) -> str:
        """The input of a task as JSON text: checked by the task where it is known here, else by its parameters' names.

        Raises `UnknownTask`, `InputError`.
        """
        task = self.tasks.get(name)
        if task is not None:
            return task.input_text(input)
        await self._ready()
        return await self.snapshots.encode_input(name, input)

    async def put(self, job: Job) -> JobHandle[Any]:
        """Store a job that is made already. Raises `StoreError`."""
        await self._ready()
        answer = await self._put(Call(job))
        if isinstance(answer, Exception):
            raise answer
        return self.handle(answer.row.id, answer.row.task)

    async def _put(self, call: Call) -> Answer:
        answer = await self._puts.put(call)
        return await self._held.put(call) if isinstance(answer, PartlyAdded) else answer

    def _handle(self, request: Request[R], answer: Answer) -> JobHandle[R]:
        if isinstance(answer, Exception):
            raise answer
        row, created = answer
        return JobHandle(self._caller, row.id, row.task, request.decode or decode_any, created=created)

    def handle(self, id: str, task: str = "") -> JobHandle[Any]:
        """A handle of a job by its id. The result is validated where its task is known here."""
        known = self.tasks.get(task)
        return JobHandle(self._caller, id, task, decode_any if known is None else known.decode_result)

    # -- looking ---------------------------------------------------------------------------------------------------

    async def get(self, id: str) -> Job:
        """The row as it is stored now. Raises `JobNotFound`."""
        await self._ready()
        [job] = await self.store.get([id])
        if job is None:
            raise JobNotFound(id)
        return job

    async def status(self, id: str) -> str:
        """The state as shown to people. Raises `JobNotFound`."""
        return states.status(await self.get(id), self.clock.now())

    async def ended(self, id: str, timeout: Duration | None = None) -> Job:
        """The completed job, waited for. Raises `JobFailed`, `JobCancelled`, `ResultTimeout`, `JobNotFound`."""
        seconds = None if timeout is None else milliseconds(timeout, "timeout") / 1000
        await self._ready()
        try:
            async with asyncio.timeout(seconds):
                job = await self._hub.ended(id)
        except TimeoutError as e:
            raise ResultTimeout(
                f"job {id} has not ended within {seconds:g} s. It goes on: wait longer, or ask for its status."
            ) from e
        return _completed(job)

    async def events(self, id: str) -> AsyncIterator[JobEvent]:
        """Follow a job until it has ended. Raises `JobNotFound`."""
        await self._ready()
        events = self._hub.events(id)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    # -- changing --------------------------------------------------------------------------------------------------

    async def cancel(self, id: str, reason: str = "cancelled") -> bool:
        """Cancel a job: what waits ends now, what runs is asked to. False: it had ended already, or is gone."""
        try:
            policy = await self.policy((await self.get(id)).task)
            row = await self.change(id, lambda job: states.cancel(job, self.clock.now(), policy, reason))
        except JobNotFound:
            return False
        return row is not None

    async def retry(self, id: str) -> JobHandle[Any]:
        """Run a job (again) as soon as possible, with new attempts and its history kept.

        Raises `JobNotFound`, and `IllegalTransition` for a paused one.
        """
        ask = new_id()
        row = await self.change(id, lambda job: states.rerun(job, self.clock.now(), ask))
        return self.handle(id, "" if row is None else row.task)

    async def change(self, id: str, transition: Callable[[Job], Job | None]) -> Job | None:
        """Save what `transition` makes of a job, by swap. Answers the new row; None where it said that nothing changes.

        Raises `JobNotFound`, `Contended`, and what the transition raises.
        """
        await self._ready()
        in_doubt: Job | None = None
        for _ in range(SWAPS):
            job = await self.get(id)
            try:
                changed = transition(job)
            except IllegalTransition:
                if in_doubt is None or not _went_through(job, in_doubt):
                    raise
                return job
            if changed is None:
                return None if in_doubt is None else job
            try:
                [row] = await self.store.save([changed.evolve(input=None, result=None)])
            except StoreUnavailable:
                if in_doubt is not None:
                    raise
                in_doubt = changed
                continue
            if row is not None:
                await self._tell(row)
                return row
        raise Contended(f"job {id} changed {SWAPS} times in a row. Nothing was done; try again.")

    async def policy(self, task: str) -> Policy:
        """The policy of a task: its own where it is known here, else what a worker has told of it."""
        known = self.tasks.get(task)
        return known.policy if known is not None else await self.snapshots.policy(task)

    async def publish_tasks(self, tasks: Sequence[Task[Any, Any]]) -> set[str]:
        """Tell the store what these tasks are, so that others can enqueue them by name. Writes what has changed.
        Answers the queues that they were in before."""
        await self._ready()
        return await self.snapshots.publish(tasks)

    def wake_queues(self) -> None:
        """Let the workers in this loop look at their queues; see `Clients.wake_all`."""
        if self._life is not None:
            self._waking = asyncio.create_task(self._wake_queues(), name="mainspring-wake")

    async def _wake_queues(self) -> None:
        try:
            for queue in {task.queue for task in self.tasks.values()}:
                await self.store.wake(queue)
        except StoreError:
            pass  # a hint; the store may be closed by now

    async def _tell(self, job: Job) -> None:
        """Hints: whoever runs it or could run it, and whoever follows it."""
        now = self.clock.now()
        status = states.status(job, now)
        event = Event(job_id=job.id, task=job.task, queue=job.queue, kind="state", status=status, at=now)
        try:
            await self.store.publish([event])
            if job.state is State.RUNNING:
                await self.store.wake(job.worker)
            elif job.state is State.WAITING:
                await self.store.wake(job.queue)
        except StoreError:
            pass  # hints may be lost


def _requests(requests: Iterable[Request[R]]) -> list[Request[R]]:
    # Once: a generator is at its end when it has been looked at.
    found: list[Any] = list(requests) if isinstance(requests, Iterable) else [requests]
    strange = [one for one in found if not isinstance(one, Request)]
    if strange or not isinstance(requests, Iterable):
        wrong = strange[0] if strange else requests
        raise DefinitionError(f"cannot enqueue {wrong!r} as many. Expected a list of calls, made by task.job(...).")
    return found


def _went_through(job: Job, sent: Job) -> bool:
    """Whether a change whose answer was lost is why it cannot be made again: it stands, or what waited has moved on."""
    return sent.state is State.WAITING or job.state is sent.state


def _completed(job: Job) -> Job:
    if job.state is State.COMPLETED:
        return job
    if job.state is State.CANCELLED:
        raise JobCancelled(job.id, job.state.value, job.reason)
    error = job.error
    reason = str(error) if error is not None else job.reason
    failed = JobFailed(job.id, job.state.value, reason, "" if error is None else error.traceback)
    if error is not None:
        failed.type, failed.message = error.type, error.message
    raise failed


def decode_any(text: str | None) -> Any:
    """A result of a task that is not known here."""
    return None if text is None else decode_value(text)


def _batcher(put: Callable[[list[Call]], Awaitable[list[Answer]]]) -> Batcher[Call, Answer]:
    return Batcher(put, most=BATCH_ROWS, size=_size_of, most_size=BATCH_BYTES, patience=PATIENCE)


def _size_of(call: Call) -> int:
    return ROW_BYTES + len(call.job.input or "")


def _batches(requests: Sequence[Request[Any]], now: int) -> Iterator[list[Call]]:
    """The calls of `requests`, in order, cut into batches that a store takes in one round trip."""
    batch: list[Call] = []
    size = 0
    for request in requests:
        call = Call(request.to_job(now), request.max_wait)
        weight = _size_of(call)
        if batch and (size + weight > BATCH_BYTES or len(batch) == BATCH_ROWS):
            yield batch
            batch, size = [], 0
        batch.append(call)
        size += weight
    if batch:
        yield batch
