"""The rows of the tables, and one table more than `peers` has: how we compare with each of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.peers.results import NEAR, Results
from benchmarks.peers.rows import Row
from benchmarks.peers.systems import OURS, System

RATES = (
    Row("single", "enqueue one by one, awaited, jobs/s", True),
    Row("concurrent", "enqueue, 100 calls at once, jobs/s", True),
    Row("bulk", "bulk enqueue by 1,000, jobs/s", True, nothing="it has none"),
    Row("drain-10", "drain no-op jobs, 1 process, concurrency 10, jobs/s", True),
    Row("drain-100", "drain no-op jobs, 1 process, concurrency 100, jobs/s", True),
    Row("drain-2", "drain no-op jobs, 2 processes, concurrency 100 each, jobs/s", True),
    Row("pick-up-p50", "pick-up by an idle worker, p50, ms", digits=1),
    Row("pick-up-p99", "pick-up by an idle worker, p99, ms", digits=1),
    Row("load-p50", "pick-up at half load, p50, ms", digits=1),
    Row("load-p99", "pick-up at half load, p99, ms", digits=1),
    Row("load", "half load: jobs/s offered", compared=False),
)
COSTS = (
    *(
        Row(f"{row}-{who}", f"CPU of the {name} per {what}, µs")
        for row, what in (
            ("single", "enqueue, one by one"),
            ("concurrent", "enqueue, 100 at once"),
            ("bulk", "bulk enqueue"),
        )
        for who, name in (("cpu", "client"), ("server", "server"))
    ),
    *(
        Row(f"{row}-{what}", f"{title}, {how}", digits=digits)
        for row, how in (("drain-10", "concurrency 10"), ("drain-100", "concurrency 100"), ("drain-2", "2 processes"))
        for what, title, digits in (
            ("commands", "operations per job", 2),
            ("requests", "requests per job", 3),
            ("server", "CPU of the server per job, µs", 0),
            ("cpu", "CPU of the worker per job, µs", 0),
        )
    ),
    Row("idle-requests", "idle worker: requests/s", digits=1),
    Row("idle-operations", "idle worker: operations/s", digits=1),
    Row("idle-server", "idle worker: CPU of the server, % of a core", digits=1),
    Row("idle-cpu", "idle worker: CPU, % of a core", digits=1),
    Row("idle-memory", "idle worker: memory of all its processes, MB"),
    Row("bytes", "bytes of documents per queued job (input of 100 bytes)"),
)


def ratios(results: Results, systems: Sequence[System]) -> Iterator[str]:
    """How many times better we are than each of the others, row by row; below 1: worse."""
    others = [system.name for system in systems if system.name != OURS]
    yield f"| Mainspring against | {' | '.join(others)} |"
    yield "|---" * (len(others) + 1) + "|"
    for row in (*RATES, *COSTS):
        ours = results.median(NEAR, OURS, row.name)
        if ours and row.compared:
            cells = [_ratio(ours, results.median(NEAR, other, row.name), row) for other in others]
            yield f"| {row.title} | {' | '.join(cells)} |"


def _ratio(ours: float, theirs: float | None, row: Row) -> str:
    if not theirs or ours <= 0 or theirs <= 0:
        return "–"
    return f"{ours / theirs if row.more_is_better else theirs / ours:.2f}"
