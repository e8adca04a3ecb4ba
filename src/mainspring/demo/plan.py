"""What the demo asks for, and what must come of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mainspring import JobHandle, Mainspring, Request
from mainspring.demo.library import docstrings_of, hash_of, lines_of, source_files, unlucky
from mainspring.demo.tasks import count_lines, extract_docstrings, hash_file, publish, remind

CALLS = 100
DELAY = 3.0


@dataclass
class Plan:
    """The jobs that the store has accepted."""

    work: dict[str, tuple[JobHandle[Any], Callable[[str], Any], str]] = field(default_factory=dict)
    """By id: the handle, and what computes its result directly from which file."""
    unlucky: set[str] = field(default_factory=set)
    """Jobs whose first attempt is to fail."""
    burst: list[JobHandle[int]] = field(default_factory=list)
    delayed: JobHandle[str] | None = None
    hopeless: JobHandle[int] | None = None

    @property
    def ids(self) -> set[str]:
        """All jobs; the calls of the burst are one."""
        extra = [*self.burst, *(job for job in (self.delayed, self.hopeless) if job is not None)]
        return set(self.work) | {job.id for job in extra}


async def ask_for_work(app: Mainspring, plan: Plan) -> None:
    """Three jobs for each file, in a few round trips."""
    files = source_files()
    kinds: list[tuple[Callable[[str], Request[Any]], Callable[[str], Any]]] = [
        (hash_file.job, hash_of),
        (count_lines.job, lines_of),
        (extract_docstrings.job, docstrings_of),
    ]
    wanted = [(request(path), direct, path) for path in files for request, direct in kinds]
    handles = await app.enqueue_many([request for request, _, _ in wanted])
    for handle, (_, direct, path) in zip(handles, wanted, strict=True):
        plan.work[handle.id] = (handle, direct, path)
        if handle.task == hash_file.name and unlucky(path):
            plan.unlucky.add(handle.id)


async def ask_for_more(plan: Plan) -> None:
    """While the workers are busy: a reminder for later, a job that cannot succeed, and a burst of calls."""
    plan.delayed = await remind.options(delay=DELAY).enqueue("tea is ready")
    plan.hopeless = await count_lines.enqueue("there/is/no/such_file.py")
    for version in range(1, CALLS + 1):
        plan.burst.append(await publish.enqueue(version))
        await asyncio.sleep(0)
