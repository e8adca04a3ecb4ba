"""The systems that are measured: which packages each needs, how it is set, and where its driver lies.

A driver is a program for the system's own Python; this module imports none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DRIVERS = Path(__file__).parent / "drivers"
OURS = "mainspring"


@dataclass(frozen=True)
class System:
    name: str
    packages: tuple[str, ...]
    """What pip installs; empty: it runs in the environment of the harness."""
    settings: str
    """How it is set, for the page: usual production settings for work that may not be lost, results stored."""
    share: float = 1.0
    """Part of a workload's jobs that it is given: a slow system would take minutes for the number of a fast one."""
    module: str = ""
    variant: str = ""
    python: tuple[int, int] = (3, 11)
    queue: bool = True
    """False for a yardstick, which is no queue and takes no part in the comparison."""
    yardstick: tuple[str, ...] = ("enqueue",)
    """The workloads that a yardstick can do."""
    clients: tuple[str, ...] = ("redis", "hiredis")
    """Packages whose versions are told too, for what runs in the environment of the harness."""

    @property
    def driver(self) -> Path:
        return DRIVERS / f"{self.module or self.name}_driver.py"

    @property
    def environment(self) -> str:
        return self.module or self.name


SYSTEMS = (
    System(OURS, (), "all defaults: results, history of runs, 15 s leases with heartbeats"),
    System("bare", (), "a SET of 300 bytes by redis-py, awaited; no queue", queue=False),
    System(
        "taskiq-list",
        ("taskiq", "taskiq-redis", "hiredis"),
        "`ListQueueBroker` (takes a job off the list before it runs: a crash loses it), results 1 h",
        0.5,
        "taskiq",
    ),
    System(
        "taskiq-stream",
        ("taskiq", "taskiq-redis", "hiredis"),
        "`RedisStreamBroker`, acknowledged when the result is saved, results 1 h",
        0.5,
        "taskiq",
        "stream",
    ),
    System(
        "dramatiq", ("dramatiq[redis]", "hiredis"), "worker threads, `Results` middleware with `store_results`", 0.5
    ),
    System("saq", ("saq[redis]", "hiredis", "typing_extensions"), "defaults: results 10 min", 0.4),
    System(
        "huey",
        ("huey", "redis", "hiredis"),
        "`RedisHuey`, worker threads, results; no acknowledgement: a crash loses",
        0.5,
    ),
    System("arq", ("arq", "hiredis"), "defaults: results 1 h", 0.25),
    System("streaq", ("streaq",), "defaults: results 5 min; its client is coredis", 0.25),
    System("bullmq", ("bullmq", "hiredis"), "defaults: keeps completed jobs with their results", 0.4),
    System(
        "rq", ("rq", "hiredis"), "`worker-pool` of default workers (a fork per job), at most 10; results 500 s", 0.04
    ),
    System(
        "celery",
        ("celery", "redis", "hiredis", "packaging"),
        "`acks_late`, `reject_on_worker_lost`, results 1 day; prefork up to a concurrency of 10, threads beyond",
        0.2,
    ),
    System("pydocket", ("pydocket", "hiredis"), "defaults of its command: results 15 min", 0.2),
    System("ardiq", ("ardiq",), "defaults: results 5 min; worker loop and client in Rust", 0.5, python=(3, 12)),
)
"""Ours first, the yardstick beside it. The order of a run alternates."""


def named(names: str | None) -> list[System]:
    """The systems of a list such as `taskiq,huey`; a module's name stands for its variants. Ours is always there."""
    if not names:
        return list(SYSTEMS)
    wanted = {name.strip() for name in names.split(",")} | {OURS}
    known = {alias for system in SYSTEMS for alias in (system.name, system.environment)}
    if unknown := wanted - known:
        raise SystemExit(f"no such peer: {', '.join(sorted(unknown))}. Expected some of {', '.join(sorted(known))}.")
    return [system for system in SYSTEMS if wanted & {system.name, system.environment}]
