"""A rolling deploy under load: old and new code on one store, workers replaced one by one, callers of both versions.

Nothing that was accepted is lost, dead, or dropped as unknown, and each job runs to its end once.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from mainspring import JobHandle, Mainspring
from mainspring.admin.doctor import examine
from mainspring.core.job import Job, State
from tests.chaos import deploy_new, deploy_old
from tests.chaos.fleet import Fleet
from tests.chaos.places import Place, places

pytestmark = pytest.mark.slow

WORKERS = 2
Ask = Callable[[int], Awaitable[JobHandle[str]]]


class Version(Fleet):
    """One worker of one version, on the store that all share."""

    def __init__(self, chaos: Fleet, driver: str, number: int) -> None:
        folder = chaos.folder / f"{driver}-{number}"
        folder.mkdir()
        super().__init__(folder, chaos.url, 1, concurrency=10)
        self.driver = f"tests.chaos.{driver}"
        self.trace_file = chaos.trace_file

    async def works(self) -> None:
        await self.until(lambda: "worker.started" in self.log(), f"a worker of {self.driver}")


class Callers:
    """Programs that enqueue without a pause. What the store has accepted is in `accepted`."""

    def __init__(self, old: deploy_old.Old, new: deploy_new.New, nameless: Mainspring) -> None:
        self.accepted: dict[str, str] = {}
        """The name of the call, by the job's id."""
        self._stopped: set[str] = set()
        self._running: dict[str, asyncio.Task[None]] = {}
        self.by_old: dict[str, Ask] = {
            "old welcome": lambda n: old.welcome.enqueue(f"{n}@example.com"),
            "old invoice": lambda n: old.invoice.enqueue(n),
            "old legacy": lambda n: old.legacy.enqueue(n),
            "old resize": lambda n: old.resize.enqueue(n),
            "old flaky": lambda n: old.flaky.enqueue(n),
            "nameless welcome": lambda n: nameless.enqueue("welcome", {"to": f"{n}@example.com"}),
            "nameless invoice": lambda n: nameless.enqueue("invoice", {"number": n}),
            "nameless resize": lambda n: nameless.enqueue("resize", {"n": n}),
        }
        self.by_new: dict[str, Ask] = {
            "new greet": lambda n: new.greet.enqueue(f"{n}@example.com"),
            "new welcome": lambda n: new.app.enqueue("welcome", {"to": f"{n}@example.com"}),
            "new invoice": lambda n: new.invoice.enqueue(n),
            "new invoice with a note": lambda n: new.app.enqueue(new.with_note(n)),
            "new resize": lambda n: new.resize.enqueue(n),
            "new flaky": lambda n: new.flaky.enqueue(n),
        }

    def start(self, asks: dict[str, Ask], pace: Callable[[], Awaitable[object]]) -> None:
        for name, ask in asks.items():
            self._running[name] = asyncio.create_task(self._call(name, ask, pace))

    async def stop(self, *names: str) -> None:
        """These, or all; what is under way is awaited, and what went wrong is raised."""
        for name in names or tuple(self._running):
            self._stopped.add(name)
            await self._running.pop(name)

    async def _call(self, name: str, ask: Ask, pace: Callable[[], Awaitable[object]]) -> None:
        n = 0
        while name not in self._stopped:
            n += 1
            job = await ask(n)
            assert job.created
            self.accepted[job.id] = name
            await pace()

    async def made(self, fleet: Fleet, more: int) -> None:
        """Wait until so many more jobs have been accepted."""
        goal = len(self.accepted) + more
        await fleet.until(lambda: len(self.accepted) >= goal or any(t.done() for t in self._running.values()), "load")


@places("sqlite", "redis7", "mongo")
async def test_a_rolling_deploy_under_load(chaos: Fleet, place: Place) -> None:
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(Mainspring(chaos.url)) for _ in range(3)]
        callers = Callers(deploy_old.define(apps[0]), deploy_new.define(apps[1]), apps[2])
        olds = [await stack.enter_async_context(Version(chaos, "deploy_old", n)) for n in range(WORKERS)]
        first = olds[0]
        for fleet in olds:
            await fleet.works()

        async def pace() -> None:
            await first.store.wait(["callers"], 0.1)

        callers.start(callers.by_old, pace)
        await callers.made(first, 100)
        callers.start(callers.by_new, pace)  # before the first worker that knows what they want
        await callers.made(first, 100)
        news: list[Version] = []
        for n, fleet in enumerate(olds):
            news.append(await stack.enter_async_context(Version(chaos, "deploy_new", n)))
            await news[-1].works()
            await callers.made(first, 100)
            if n == WORKERS - 1:
                await callers.stop("old legacy")
            assert await fleet.end() == 0
        await callers.made(first, 100)

        # A caller that nobody has told yet: its job waits for code that knows it, and is shown.
        late = await callers.by_old["old legacy"](0)
        callers.accepted[late.id] = "old legacy"
        assert "legacy" in (await apps[2].queues.stats("default")).no_handler
        shown = await examine(apps[2])
        assert any("no living worker runs: legacy" in finding.found for finding in shown)
        await callers.stop()
        again = await stack.enter_async_context(Version(chaos, "deploy_old", WORKERS))
        await again.works()
        assert await late.result(timeout=60) == "old"
        assert await again.end() == 0

        await first.until(lambda: pulses_each(apps[2], 2), "the schedule of the new code")
        await apps[2].schedules.pause("pulse")
        await first.until(first.all_ended, "all jobs to end")
        check(await jobs_with_results(first), callers.accepted, first)
        for version in news:
            assert await version.end() == 0
    place.check()


async def pulses_each(app: Mainspring, seconds: int) -> bool:
    info = await app.schedules.get("pulse")
    return info is not None and info.every == seconds


async def jobs_with_results(fleet: Fleet) -> list[Job]:
    ids = [job.id for job in await fleet.jobs()]
    found = [await fleet.store.get(ids[n : n + 500]) for n in range(0, len(ids), 500)]
    return [job for page in found for job in page if job is not None]


def check(jobs: list[Job], accepted: dict[str, str], fleet: Fleet) -> None:
    ends = Counter(step.job_id for step in fleet.steps() if step.what == "end")
    ticks = [job for job in jobs if job.origin == "schedule:pulse"]
    assert {job.id for job in jobs} - {job.id for job in ticks} == set(accepted), "none is lost, none is made up"
    by_call: dict[str, Counter[str]] = defaultdict(Counter)
    for job in jobs:
        assert job.state is State.COMPLETED, (job.task, job.reason, job.error, job.runs)
        assert ends[job.id] == 1, (job.task, ends[job.id], job.runs)
        assert job.settled == job.claims
        by_call[accepted.get(job.id, "pulse")][json.loads(job.result or "null")] += 1
        outcomes = Counter(run.outcome for run in job.runs)
        assert outcomes["succeeded"] == 1
        assert set(outcomes) <= {"succeeded", "released", "snoozed", "failed"}
        assert outcomes["failed"] == (job.task == "flaky" and outcomes.total() <= 5), job.runs
    times = [job.scheduled_at for job in ticks]
    assert len(times) == len(set(times)), "no tick is fired twice"
    print({name: dict(versions) for name, versions in sorted(by_call.items())}, f"{len(ticks)} ticks")
    assert set(by_call["new greet"]) == set(by_call["new invoice with a note"]) == {"new"}
    assert set(by_call["old legacy"]) == {"old"}
    for name in ("old welcome", "old invoice", "old resize", "old flaky", "nameless welcome", "nameless invoice"):
        assert set(by_call[name]) == {"old", "new"}, "both versions ran what both know"
    left = [job for job in jobs if any(run.outcome == "snoozed" for run in job.runs)]
    assert left, "old workers met calls that they did not understand, and left them"
    assert {accepted[job.id] for job in left} == {"new invoice with a note"}
    print(f"{len(jobs)} jobs, {len(left)} left for the new version")
