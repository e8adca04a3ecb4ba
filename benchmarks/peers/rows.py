"""The rows of the page: what each says, in which unit, and which end of it is good."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    more_is_better: bool = False
    digits: int = 0
    nothing: str = "–"
    """What stands where a system has no number."""
    compared: bool = True
    """False for a row that says how something was measured: it has no best and no ratio."""


RATES = (
    Row("single", "enqueue one by one, awaited, jobs/s", True),
    Row("concurrent", "enqueue, 100 calls at once, jobs/s", True),
    Row("bulk", "bulk enqueue by 1,000, jobs/s", True, nothing="it has none"),
    Row("drain-10", "drain no-op jobs, 1 process, concurrency 10, jobs/s", True),
    Row("drain-100", "drain no-op jobs, 1 process, concurrency 100, jobs/s", True),
    Row("drain-2", "drain no-op jobs, 2 processes, concurrency 10 each, jobs/s", True),
    Row("io", "2,000 jobs of 10 ms, 100 at once, s (0.2 is possible)", digits=2),
    Row("pick-up-p50", "pick-up by an idle worker, p50, ms", digits=2),
    Row("pick-up-p99", "pick-up by an idle worker, p99, ms", digits=1),
    Row("load-p50", "pick-up at half load, p50, ms", digits=2),
    Row("load-p99", "pick-up at half load, p99, ms", digits=1),
    Row("load", "half load: jobs/s offered", compared=False),
)
COSTS = (
    Row("single-cpu", "CPU of the client per enqueue, one by one, µs"),
    Row("concurrent-cpu", "CPU of the client per enqueue, 100 at once, µs"),
    Row("bulk-cpu", "CPU of the client per bulk enqueue, µs"),
    Row("drain-10-commands", "commands per job, concurrency 10, those within scripts included", digits=1),
    Row("drain-10-requests", "requests read by the server per job, concurrency 10", digits=2),
    Row("drain-10-server", "CPU of the server per job, concurrency 10, µs"),
    Row("drain-10-cpu", "CPU of the worker per job, concurrency 10, µs"),
    Row("drain-100-commands", "commands per job, concurrency 100", digits=1),
    Row("drain-100-requests", "requests read by the server per job, concurrency 100", digits=2),
    Row("drain-100-server", "CPU of the server per job, concurrency 100, µs"),
    Row("drain-100-cpu", "CPU of the worker per job, concurrency 100, µs"),
    Row("idle-requests", "idle worker: requests/s", digits=1),
    Row("idle-cpu", "idle worker: CPU, % of a core", digits=1),
    Row("idle-memory", "idle worker: memory of all its processes, MB"),
    Row("bytes", "bytes in the server per queued job (input of 100 bytes)"),
)
RECOVERY = (
    Row(
        "recovery",
        "200 jobs of 0.5 s, worker killed in the middle, new one at once: s until all are done",
        False,
        1,
        "> 120",
    ),
    Row("recovery-running", "… jobs that ran at the kill", compared=False),
    Row("recovery-lost", "… jobs not done within 120 s"),
    Row("recovery-doubled", "… jobs done twice"),
)
ALL = {row.name: row for row in (*RATES, *COSTS, *RECOVERY)}
