"""`python -m benchmarks.mongo`, `make bench-mongo`: the MongoDB store beside Celery and bare operations; prints tables.

Nothing is written but what `--json` names: docs/benchmarks-mongodb.md is written by hand.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.mongo import rows
from benchmarks.mongo.bench import MongoBench
from benchmarks.mongo.server import DISK, MEMORY
from benchmarks.mongo.systems import SYSTEMS, named
from benchmarks.mongo.workloads import QUICK, SIZES, WORKLOADS
from benchmarks.peers import page
from benchmarks.peers.environments import Absent, Environment, environment
from benchmarks.peers.results import NEAR
from benchmarks.peers.run import Run
from benchmarks.peers.systems import OURS
from benchmarks.peers.text import busy, machine
from benchmarks.processes import ROOT


def main() -> int:
    given = _arguments()
    environments = list(_environments(given.systems, given.venvs))
    with MongoBench(MEMORY if given.tmpfs else DISK) as bench:
        rounds = given.rounds or (1 if given.quick else 3)
        run = Run(bench, environments, QUICK if given.quick else SIZES, rounds, WORKLOADS)
        for workload in given.workloads:
            run.measure(workload, NEAR)
        print(f"\n{machine()}, {bench.version} on {bench.server.medium}, medians of {rounds}.{busy(run.loads)}\n")
    systems = [found.system for found in environments]
    for table in (rows.RATES, rows.COSTS):
        print(page.table(run.results, NEAR, systems, table), flush=True)
    print("\n".join(rows.ratios(run.results, systems)))
    print("\n".join(f"- {found.system.name}: {found.described}" for found in environments))
    print("\n".join(page.failures(run.results)))
    if given.json:
        run.results.save(given.json)
    return 0 if not any(system == OURS for _, system, _ in run.results.failures) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mongo", description=__doc__.splitlines()[0])
    parser.add_argument("--systems", metavar="A,B", help=f"only these of {', '.join(s.name for s in SYSTEMS)}")
    parser.add_argument("--workloads", metavar="X,Y", dest="chosen", help=f"only these of {', '.join(WORKLOADS)}")
    parser.add_argument("--quick", action="store_true", help="fewer jobs, one round")
    parser.add_argument("--rounds", type=int, metavar="N", help="medians of so many (default: 3; 1 with --quick)")
    parser.add_argument("--tmpfs", action="store_true", help="the server's files in memory, not on disk")
    parser.add_argument("--venvs", type=Path, default=ROOT / ".venv" / "peers", metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single value here")
    given = parser.parse_args()
    words = given.chosen.split(",") if given.chosen else list(WORKLOADS)
    given.workloads = [name for name in WORKLOADS if any(name == w or name.startswith(f"{w}-") for w in words)]
    if not given.workloads:
        parser.error(f"no such workload: {given.chosen}. Expected some of {', '.join(WORKLOADS)}.")
    return given


def _environments(names: str | None, venvs: Path) -> list[Environment]:
    """Those that can be had here; why the others cannot is printed."""
    found = []
    for system in named(names):
        try:
            found.append(environment(system, venvs))
        except Absent as reason:
            print(f"== without {system.name}: {reason}", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
