"""A fleet of worker processes under test: started, watched through the store, killed, stopped; and its trace read."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from mainspring.core.job import TERMINAL, Job, State
from mainspring.core.records import Record
from mainspring.errors import StoreUnavailable
from mainspring.stores import open_store
from mainspring.stores.base import Query
from tests.servers.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
QUICK = {"lease": 2, "beat": 0.5, "grace": 2, "poll": 0.5, "concurrency": 5, "log_level": "INFO"}


class Step(NamedTuple):
    what: str
    job_id: str
    claim: int
    pid: int
    at: float


class Fleet:
    """`processes` workers under one supervisor, over the store at `url`; their trace and log are in `folder`."""

    driver = "tests.chaos.driver"
    """The program that starts the supervisor."""

    def __init__(self, folder: Path, url: str, processes: int = 2, **settings: Any) -> None:
        self.folder = folder
        self.url = url
        self.trace_file = folder / "trace"
        self.log_file = folder / "log"
        self.processes = processes
        self.settings = QUICK | settings
        self.parent: subprocess.Popen[bytes] | None = None
        self.store = open_store(self.url)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "MAINSPRING_CHAOS_URL": self.url,
            "MAINSPRING_CHAOS_TRACE": str(self.trace_file),
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        }

    async def __aenter__(self) -> Self:
        await self.store.open()
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.parent is not None and self.parent.poll() is None:
            for pid in self.children():
                os.kill(pid, signal.SIGKILL)
            self.parent.kill()
            self.parent.wait()
        await self.store.close()
        if kind is not None:
            print(self.log()[-8_000:])

    def start(self) -> None:
        with self.log_file.open("ab") as log:
            self.parent = subprocess.Popen(
                [sys.executable, "-m", self.driver, str(self.processes), json.dumps(self.settings)],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def children(self) -> list[int]:
        """The pids of the living children."""
        assert self.parent is not None
        path = Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children")
        try:
            return [int(pid) for pid in path.read_text().split()]
        except OSError:
            return []

    def kill(self) -> None:
        """SIGKILL to all at once: nobody is left who could tell."""
        assert self.parent is not None
        for pid in [self.parent.pid, *self.children()]:
            os.kill(pid, signal.SIGKILL)
        self.parent.wait()

    async def stop(self, pid: int) -> None:
        """SIGSTOP to a child, where it is not in the middle of a transaction: in an embedded database that one keeps
        all others out for as long as it stands still, and no take-over can be seen."""
        nothing = [Record(kind="chaos", name="may I write?", version=1)]
        while True:
            os.kill(pid, signal.SIGSTOP)
            try:
                await self.store.write(nothing)
                return
            except StoreUnavailable:
                os.kill(pid, signal.SIGCONT)
                await self.until(lambda: self.store.write(nothing), "the transaction to end")

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Signal the supervisor and wait for it; answers its exit code."""
        assert self.parent is not None
        self.parent.send_signal(number)
        return await asyncio.to_thread(self.parent.wait, 60)

    # -- looking -------------------------------------------------------------------------------------------------------

    async def until(self, true: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Wait until `true` (a function, or a coroutine function) answers something; answers it."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        answer = true()
                        answer = await answer if asyncio.iscoroutine(answer) else answer
                        if answer:
                            return answer
                        await self.store.wait(["chaos"], 0.02)
                    except StoreUnavailable:
                        continue
        except TimeoutError:
            raise AssertionError(f"waited {seconds} s in vain for: {what}\n{self.log()[-4_000:]}") from None

    async def jobs(self, *states: State) -> list[Job]:
        found: list[Job] = []
        query = Query(states=states, limit=500)
        while True:
            page = await self.store.find(query)
            found += page.jobs
            if page.cursor is None:
                return found
            query = query.evolve(after=page.cursor)

    async def all_ended(self) -> bool:
        counts = await self.store.count(Query())
        return bool(counts) and all(row.state in TERMINAL for row in counts if row.jobs)

    def steps(self) -> list[Step]:
        if not self.trace_file.exists():
            return []
        lines = [line.split() for line in self.trace_file.read_text().splitlines()]
        return [Step(what, id, int(claim), int(pid), float(at)) for what, id, claim, pid, at in lines]

    def most_at_once(self, alive: set[int] | None = None) -> int:
        """The most runs between their start and end at one moment; a run without an end counts for nothing."""
        steps = self.steps()
        ends = {(s.job_id, s.claim): s.at for s in steps if s.what == "end"}
        moments = [(s.at, 1) for s in steps if s.what == "start" and (s.job_id, s.claim) in ends]
        moments += [(at, -1) for at in ends.values()]
        now = most = 0
        for _, change in sorted(moments):
            now += change
            most = max(most, now)
        return most


def check_runs_add_up(jobs: list[Job], steps: list[Step]) -> None:
    """Every claim of every job is accounted for, and the result is the one of the claim that was settled."""
    starts: dict[str, set[int]] = defaultdict(set)
    for step in steps:
        if step.what == "start":
            assert step.claim not in starts[step.job_id], f"two runs under claim {step.claim} of {step.job_id}"
            starts[step.job_id].add(step.claim)
    for job in jobs:
        assert job.state is State.COMPLETED, (job.id, job.state, job.reason, job.error)
        assert job.settled == job.claims, job
        assert starts[job.id] <= set(range(1, job.claims + 1)), (job.id, starts[job.id], job.claims)
        known = {run.claim: run.outcome for run in job.runs}
        assert known[job.claims] == "succeeded", job.runs
        assert [run.outcome for run in job.runs].count("succeeded") == 1, job.runs
        released = [run for run in job.runs if run.outcome == "released"]
        interrupted = [run for run in job.runs if run.outcome == "interrupted"]
        assert len(job.runs) == 1 + len(released) + len(interrupted)
