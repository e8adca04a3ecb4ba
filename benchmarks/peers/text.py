"""The words around the tables: on what was measured, with what, how, and what a number means."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from pathlib import Path

from benchmarks.peers import page
from benchmarks.peers.bench import ROUND_TRIP_MS
from benchmarks.peers.results import FAR, NEAR
from benchmarks.peers.rows import COSTS, RATES, RECOVERY
from benchmarks.peers.run import Run

PAGE = """\
# Beside other queues

`make bench-peers` measures Mainspring on Redis beside other queues: the newest versions that install, the same
workloads in the same run on the same machine, one after the other; each round turns the order. This page is what it
wrote. Ratios within a run can be trusted more than absolute numbers. **Bold** is the best of a row; *ratio* is how many
times better we are than the best of the others, and a row that we lose says so.

Measured on {date}: {machine}, {server} (nothing on disk), Python {python}; {rounds}.{load}

## Without network latency

{near}
{far_title}
{far}
## What a job costs

{costs}
{recovery}
## How it is measured

- *Enqueue*: one process, one connection pool, jobs with one integer. "100 calls at once" is `gather` for systems with
  coroutines and 100 threads for the others.
- *Drain*: the jobs are queued before the worker starts. Every handler notes in memory that it ran; the rate is that
  between the first and the last of them, so starting and importing do not count. A drain ends after
  {drain_seconds:.0f} s.
- *Pick-up*: from just before the enqueue call to the first line of the handler in another process, concurrency 10;
  about 50 ms apart, or at random distances at half of the rate of that system's own drain (at most 1,000 jobs/s).
- *CPU and commands*: of the server by `INFO` over a drain; a command within a script counts. A request is one read of a
  socket by the server: what was sent together is one. CPU of a worker from its first job to its last, of a client over
  its calls. Other work on the machine changes these less than it changes rates.
- *Memory* counts what processes share once. Each handler returns a value, which systems with results store.
- No system uses uvloop; all log warnings only.
{yardstick}
## Versions and settings

| system | version | settings |
|---|---|---|
{settings}
{absent}{failures}"""


def document(run: Run, server: str, absent: dict[str, str]) -> str:
    systems = [environment.system for environment in run.environments]
    queues = [system for system in systems if system.queue]
    far = page.table(run.results, FAR, systems, RATES)
    recovery = page.table(run.results, NEAR, queues, RECOVERY)
    lines = [f"| {found.system.name} | {found.described} | {found.system.settings} |" for found in run.environments]
    return PAGE.format(
        date=datetime.date.today().isoformat(),
        machine=machine(),
        server=server,
        python=platform.python_version(),
        rounds=f"medians of {run.rounds}" if run.rounds > 1 else "one round",
        load=busy(run.loads),
        near=page.table(run.results, NEAR, systems, RATES),
        far_title=f"## With a round trip of {ROUND_TRIP_MS:g} ms to the server\n" if far else "",
        far=far,
        costs=page.table(run.results, NEAR, queues, COSTS),
        recovery=f"## After a kill\n\n{recovery}" if recovery else "",
        drain_seconds=run.sizes.drain_seconds,
        yardstick="- *bare* is no queue but a yardstick: what one SET costs the same client.\n",
        settings="\n".join(lines),
        absent=_section("Left out", [f"- {name}: {reason}" for name, reason in absent.items()]),
        failures=_section("Failed", list(page.failures(run.results))),
    )


def busy(loads: list[float]) -> str:
    """The load of the machine before each measurement, that of other work and of the run itself: a reader can judge."""
    if not loads:
        return ""
    low, middle, high = min(loads), statistics.median(loads), max(loads)
    return f" Load of the machine, the run included: {low:.1f} to {high:.1f}, {middle:.1f} in the middle."


def _section(title: str, lines: list[str]) -> str:
    return f"\n## {title}\n\n" + "\n".join(lines) + "\n" if lines else ""


def machine() -> str:
    """`2 cores of an Intel Xeon, 23 GB, Linux 6.1`."""
    model = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "").partition(":")[2]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({model.strip() or platform.machine()}), {memory:.0f} GB, {platform.system()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
