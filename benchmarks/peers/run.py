"""A run: every workload by every system in turn, in rounds whose order alternates. A failure ends only its own cell."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from benchmarks.peers.bench import Place, Stand
from benchmarks.peers.environments import Environment
from benchmarks.peers.processes import Failed
from benchmarks.peers.results import FAR, Results
from benchmarks.peers.workloads import FAR as MEASURED_FAR
from benchmarks.peers.workloads import WORKLOADS, Sizes, Workload

ONCE = ("idle", "memory", "recovery")
"""Those that hardly vary, or take long: one round."""


class Run:
    """Holds the bench and the results."""

    def __init__(
        self,
        bench: Place,
        environments: Sequence[Environment],
        sizes: Sizes,
        rounds: int,
        workloads: Mapping[str, Workload] = WORKLOADS,
    ) -> None:
        self.results = Results()
        self.environments = environments
        self.rounds = rounds
        self.sizes = sizes
        self._bench = bench
        self._workloads = workloads
        self.loads = list[float]()
        """The load of the machine before each measurement: on a busy one, rates are low and ratios blur."""

    def measure(self, workload: str, distance: str) -> None:
        """All rounds of one workload, so that what a row compares was measured within minutes."""
        if distance == FAR and workload not in MEASURED_FAR:
            return
        for turn in range(1 if workload in ONCE else self.rounds):
            for environment in self.environments if turn % 2 == 0 else self.environments[::-1]:
                name = environment.system.name
                if not environment.system.queue and workload not in environment.system.yardstick:
                    continue
                if (distance, name, workload) not in self.results.failures:
                    self._measure(workload, distance, environment)

    def _measure(self, workload: str, distance: str, environment: Environment) -> None:
        name = environment.system.name
        before = self.results.of(distance, name)
        begun = time.monotonic()
        self.loads.append(os.getloadavg()[0])
        try:
            with Stand(self._bench, environment, distance == FAR) as stand:
                found = self._workloads[workload](stand, self.sizes, before)
        except (Failed, OSError, ValueError) as error:
            self.results.fail(distance, name, workload, str(error))
            print(f"{distance} {workload} {name}: FAILED, {error}", flush=True)
            return
        self.results.add(distance, name, found)
        shown = ", ".join(f"{row} {value:,.4g}" for row, value in found.items() if value is not None)
        print(f"{distance} {workload} {name}: {shown} ({time.monotonic() - begun:.0f} s)", flush=True)
