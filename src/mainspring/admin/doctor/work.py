"""Whether what is stored moves: clocks, workers, queues, leases. The same for every store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from mainspring.admin.doctor.finding import NAMED, Finding, listed, note, ok, warning
from mainspring.admin.queue_stats import QueueStats, gather_stats, queue_names, workers
from mainspring.client import Client
from mainspring.core.duration import humanize
from mainspring.core.job import State
from mainspring.core.records import Record
from mainspring.stores.base import BATCH_ROWS, Query, Store

SKEW, LARGE_SKEW = 1_000, 60_000
"""ms that the clocks may differ without anybody's noticing; and from where times that were asked for come out wrong."""
LAPSED = 60_000
"""ms after the end of a lease by which somebody should have claimed the job."""
BEHIND = 300_000
LAG = 1_000


async def examine(client: Client, wall: Callable[[], int]) -> AsyncIterator[Finding]:
    """Findings about the work in a store."""
    yield await _clock(client.store, wall)
    alive = await workers(client)
    stats = await gather_stats(client, await queue_names(client))
    for finding in (*_jobs(stats), *_workers(alive, stats, client.clock.now())):
        yield finding
    for queue in stats:
        for finding in _queue(queue, client.clock.now()):
            yield finding
    lapsed = await _lapsed(client)
    if lapsed is not None:
        yield lapsed


async def _clock(store: Store, wall: Callable[[], int]) -> Finding:
    asked = wall()
    told = await store.time()
    skew = told - (asked + wall()) // 2
    found = f"the store's clock is {humanize(abs(skew))} {'before' if skew > 0 else 'behind'} this machine's"
    if abs(skew) <= SKEW:
        return ok("clock", found)
    advice = "set the clocks by NTP. Leases and delays keep to the store's clock alone; at= comes early or late"
    if abs(skew) <= LARGE_SKEW:
        return note("clock", found, "less than a second", advice)
    return warning("clock", found, "less than a second", advice)


def _jobs(stats: Sequence[QueueStats]) -> Iterator[Finding]:
    per_state = {state: sum(getattr(queue, state.value) for queue in stats) for state in State}
    counted = ", ".join(f"{number:,} {state.value}" for state, number in per_state.items() if number)
    yield ok("jobs", counted or "none")
    if per_state[State.DEAD]:
        found = f"{per_state[State.DEAD]:,} jobs are dead letters"
        yield note("dead letters", found, "", "mainspring dead list, then retry or purge them")


def _workers(alive: Sequence[Record], stats: Sequence[QueueStats], now: int) -> Iterator[Finding]:
    if alive:
        seen = [f"{w.name}, seen {humanize(max(0, now - w.written_at))} ago" for w in alive[:NAMED]]
        yield ok("workers", f"{len(alive)} alive: {listed(seen, len(alive))}")
    elif any(queue.waiting or queue.running for queue in stats):
        yield warning("workers", "none alive, and there are jobs", "at least one", "mainspring worker module:app")
    else:
        yield note("workers", "none alive", "at least one", "mainspring worker module:app")
    lagging = [f"{w.name} {w.value['loop_lag']} ms" for w in alive if w.value.get("loop_lag", 0) > LAG]
    if lagging:
        advice = "handlers block the event loop: make them plain functions, which run in threads"
        yield warning("loop lag", listed(lagging), "under 100 ms", advice)


def _queue(stats: QueueStats, now: int) -> Iterator[Finding]:
    name = f"queue {stats.queue}"
    if stats.is_paused:
        reason = f" ({stats.pause_reason})" if stats.pause_reason else ""
        since = "" if stats.paused_at is None else f" for {humanize(max(0, now - stats.paused_at))}"
        found = f"is paused{since}{reason}; {stats.waiting:,} jobs wait"
        yield note(name, found, "", f"mainspring queues resume {stats.queue}, when it may go on")
    if stats.throttled:
        held = listed(sorted(stats.throttled))
        yield note(name, f"is held back for {held}", "", "mainspring queues unthrottle TASK, when it may go on")
    if stats.no_handler:
        tasks = listed(list(stats.no_handler))
        advice = "deploy the code, let a worker serve the queue, or cancel these jobs"
        yield warning(name, f"jobs wait that no living worker runs: {tasks}", "a worker for each task", advice)
    elif stats.oldest_due is not None and stats.oldest_due > BEHIND and not stats.is_paused:
        found = f"its first job has been due for {humanize(stats.oldest_due)}"
        yield note(name, found, "", "more workers or more concurrency, if it goes on growing")


async def _lapsed(client: Client) -> Finding | None:
    query = Query(states=(State.RUNNING,), limit=BATCH_ROWS, oldest_first=True)
    page = await client.store.find(query)
    ended = [job for job in page.jobs if job.due_at < client.clock.now() - LAPSED]
    if not ended:
        return None
    longest = humanize(client.clock.now() - min(job.due_at for job in ended))
    found = f"of {len(ended)} jobs the lease is over, for up to {longest}, and nobody takes them"
    advice = "start a worker that knows them, or see whether their queue is paused or at its cap"
    return warning("leases", f"{found}: {listed([job.id for job in ended])}", "none", advice)
