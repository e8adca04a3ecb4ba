"""The books: what the store holds afterwards, against what was asked for and a direct computation."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from mainspring import Job, Mainspring, State
from mainspring.demo.fleet import Kill
from mainspring.demo.plan import CALLS, Plan

LATE = 5_000
"""ms that the delayed job and the killed worker's jobs may take to start. Usually it is a hundredth of that."""


class Check(NamedTuple):
    holds: bool
    name: str
    found: str


@dataclass(frozen=True)
class Books:
    """Everything that the checks look at."""

    plan: Plan
    kill: Kill
    jobs: dict[str, Job]
    wrong: list[str]
    """Jobs whose result is not what this process computes."""

    @property
    def runs(self) -> Counter[str]:
        return Counter(run.outcome for job in self.jobs.values() for run in job.runs)


async def read_books(app: Mainspring, plan: Plan, kill: Kill) -> Books:
    """All jobs of the store, and the results of the work, computed once more."""
    jobs: dict[str, Job] = {}
    cursor: str | None = None
    while True:
        page = await app.jobs.list(limit=500, cursor=cursor)
        jobs |= {job.id: job for job in page}
        cursor = page.cursor
        if cursor is None:
            break
    return Books(plan, kill, jobs, await _wrong_results(plan, jobs))


async def _wrong_results(plan: Plan, jobs: dict[str, Job]) -> list[str]:
    done = [id for id in plan.work if id in jobs and jobs[id].state is State.COMPLETED]
    results = await asyncio.gather(*(plan.work[id][0].result(timeout=30) for id in done))
    answers = dict(zip(done, results, strict=True))
    return [id for id, (_, direct, path) in plan.work.items() if id not in answers or answers[id] != direct(path)]


def check(books: Books) -> Iterator[Check]:
    """One by one."""
    yield _nothing_lost(books)
    yield _results(books)
    yield _runs_add_up(books)
    yield _interrupted(books)
    yield _taken_over(books)
    yield _retried(books)
    yield _dead(books)
    yield _burst(books)
    yield _delayed(books)


def _nothing_lost(books: Books) -> Check:
    ended = {job.id for job in books.jobs.values() if job.state.terminal}
    asked = books.plan.ids
    states = Counter(job.state.value for job in books.jobs.values())
    found = f"{len(asked):,} accepted, {len(ended):,} ended: " + ", ".join(f"{n:,} {s}" for s, n in states.items())
    return Check(asked == ended == set(books.jobs), "every accepted job has ended", found)


def _results(books: Books) -> Check:
    right = len(books.plan.work) - len(books.wrong)
    found = f"{right:,} of {len(books.plan.work):,} are what this process computes from the same files"
    return Check(not books.wrong, "every result is right", found)


def _runs_add_up(books: Books) -> Check:
    """A completed job succeeded once, at last; no claim has two runs; each claim became a run or was given back."""
    claims = sum(job.claims for job in books.jobs.values())
    runs = books.runs
    given_back = claims - runs.total()
    sound = all(
        len({run.claim for run in job.runs}) == len(job.runs) <= job.claims
        and [run.outcome for run in job.runs].count("succeeded") == (job.state is State.COMPLETED)
        and (job.state is not State.COMPLETED or job.runs[-1].outcome == "succeeded")
        for job in books.jobs.values()
    )
    parts = " + ".join(f"{n:,} {outcome}" for outcome, n in runs.most_common())
    found = f"{claims:,} claims = {parts}" + (f" + {given_back:,} given back unbegun" if given_back else "")
    return Check(sound and given_back >= 0, "the runs add up", found)


def _interrupted(books: Books) -> Check:
    kill = books.kill
    lost = {job.id for job in books.jobs.values() for run in job.runs if run.outcome == "interrupted"}
    found = (
        f"pid {kill.pid} died with {len(kill.held):,} jobs in its hands; {len(lost):,} runs are recorded as interrupted"
    )
    return Check(bool(kill.held) and kill.held == lost, "the killed worker's runs are known", found)


def _taken_over(books: Books) -> Check:
    kill = books.kill
    held = [books.jobs[id] for id in kill.held if id in books.jobs]
    starts = [min((r.started_at for r in job.runs if r.started_at >= kill.at), default=None) for job in held]
    waits = [start - kill.at for start in starts if start is not None]
    found = f"the last of them ran again {max(waits, default=0) / 1000:.2f} s after the kill"
    completed = all(job.state is State.COMPLETED for job in held)
    in_time = len(waits) == len(kill.held) and max(waits, default=0) <= LATE
    return Check(completed and in_time, "its jobs were taken over", found)


def _retried(books: Books) -> Check:
    unlucky = [books.jobs[id] for id in books.plan.unlucky if id in books.jobs]
    good = [
        job for job in unlucky
        if job.state is State.COMPLETED and [run.outcome for run in job.runs].count("failed") == 1
    ]  # fmt: skip
    found = f"{len(good):,} of {len(books.plan.unlucky):,} failed once and then succeeded"
    return Check(len(good) == len(books.plan.unlucky) > 0, "what failed was retried", found)


def _dead(books: Books) -> Check:
    dead = [job for job in books.jobs.values() if job.state is State.DEAD]
    hopeless = books.plan.hopeless
    expected = hopeless is not None and [job.id for job in dead] == [hopeless.id]
    story = f"{dead[0].attempts} attempts, {dead[0].reason}: {dead[0].error}" if dead else "none"
    tried = expected and dead[0].attempts == 3
    return Check(tried, "the hopeless job is the one dead letter", f"{len(dead)}: {story}")


def _burst(books: Books) -> Check:
    ids = {handle.id for handle in books.plan.burst}
    job = books.jobs.get(next(iter(ids), ""))
    runs = [] if job is None else [run for run in job.runs if run.outcome != "interrupted"]
    found = f"{len(books.plan.burst)} calls, {len(ids)} job, {len(runs)} run"
    return Check(len(books.plan.burst) == CALLS and len(ids) == len(runs) == 1, "the burst became one run", found)


def _delayed(books: Books) -> Check:
    delayed = books.plan.delayed
    job = None if delayed is None else books.jobs.get(delayed.id)
    if job is None or not job.runs:
        return Check(False, "the delayed job ran on time", "it did not run")
    late = job.runs[0].started_at - job.scheduled_at
    return Check(0 <= late <= LATE, "the delayed job ran on time", f"asked for in 3 s, {late} ms late")
