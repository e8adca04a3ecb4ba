"""`python -m benchmarks.peers`, `make bench-peers`: measure, print the tables, write `docs/benchmarks-peers.md`.

Peers and workloads can be chosen; a choice is printed, and written only where `--write` says so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.peers import page
from benchmarks.peers.bench import Bench
from benchmarks.peers.environments import Absent, Environment, environment
from benchmarks.peers.results import FAR, NEAR
from benchmarks.peers.rows import COSTS, RATES, RECOVERY
from benchmarks.peers.run import Run
from benchmarks.peers.systems import OURS, named
from benchmarks.peers.text import document
from benchmarks.peers.workloads import QUICK, SLOW, WORKLOADS, Sizes
from benchmarks.processes import ROOT

PAGE = ROOT / "docs" / "benchmarks-peers.md"


def main() -> int:
    given = _arguments()
    environments, absent = _environments(given.peers, given.venvs)
    with Bench(given.server) as bench:
        run = Run(bench, environments, QUICK if given.quick else Sizes(), given.rounds or (1 if given.quick else 3))
        for distance in given.only or (NEAR, FAR):
            for workload in given.workloads:
                run.measure(workload, distance)
        systems = [found.system for found in environments]
        for distance in (NEAR, FAR):
            for rows in (RATES, COSTS, RECOVERY):
                print(page.table(run.results, distance, systems, rows), flush=True)
        print("\n".join(page.failures(run.results)))
        if given.json:
            run.results.save(given.json)
        if given.write or not (given.peers or given.chosen or given.only or given.quick):
            given.write = given.write or PAGE
            given.write.write_text(document(run, bench.version, absent))
            print(f"written: {given.write}")
    return 0 if not any(system == OURS for _, system, _ in run.results.failures) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--peers", metavar="A,B", help="only these, beside ours")
    parser.add_argument("--workloads", metavar="X,Y", dest="chosen", help=f"only these of {', '.join(WORKLOADS)}")
    parser.add_argument("--quick", action="store_true", help="fewer jobs, one round")
    parser.add_argument("--slow", action="store_true", help=f"also {', '.join(SLOW)}, which takes minutes per system")
    parser.add_argument("--near", dest="only", action="store_const", const=[NEAR], help="only without latency")
    parser.add_argument("--far", dest="only", action="store_const", const=[FAR], help="only at 1 ms of network latency")
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="medians of so many rounds (default: 3; 1 with --quick)"
    )
    parser.add_argument("--server", default="redis7", metavar="KIND", help="redis7 (default), valkey8, redis62")
    parser.add_argument("--venvs", type=Path, default=ROOT / ".venv" / "peers", metavar="FOLDER")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single value here")
    given = parser.parse_args()
    given.workloads = [name for name in WORKLOADS if given.slow or name not in SLOW]
    if given.chosen:
        given.workloads = [name for name in WORKLOADS if any(_names(word, name) for word in given.chosen.split(","))]
    if not given.workloads:
        parser.error(f"no such workload: {given.chosen}. Expected some of {', '.join(WORKLOADS)}.")
    return given


def _names(word: str, workload: str) -> bool:
    """`drain` names all drains, `drain-10` one."""
    return workload == word or workload.startswith(f"{word}-")


def _environments(peers: str | None, venvs: Path) -> tuple[list[Environment], dict[str, str]]:
    """Those that can be had here, and why the others cannot."""
    found, absent = list[Environment](), dict[str, str]()
    for system in named(peers):
        try:
            found.append(environment(system, venvs))
        except Absent as reason:
            absent[system.name] = str(reason)
            print(f"== without {system.name}: {reason}", flush=True)
    return found, absent


if __name__ == "__main__":
    sys.exit(main())
