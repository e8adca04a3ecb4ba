"""What was measured: every value by distance, system and row; a failure stands where the value would."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from pathlib import Path

NEAR, FAR = "near", "far"
Key = tuple[str, str, str]
"""Distance, system, row."""


class Results:
    """Collects the rounds and answers their medians."""

    def __init__(self) -> None:
        self._values: dict[Key, list[float]] = defaultdict(list)
        self._none: set[Key] = set()
        self.failures: dict[Key, str] = {}
        """By distance, system and workload."""

    def add(self, distance: str, system: str, measured: dict[str, float | None]) -> None:
        for row, value in measured.items():
            key = (distance, system, row)
            if value is None:
                self._none.add(key)
            else:
                self._values[key].append(value)

    def fail(self, distance: str, system: str, workload: str, reason: str) -> None:
        self.failures[distance, system, workload] = reason

    def median(self, distance: str, system: str, row: str) -> float | None:
        values = self._values.get((distance, system, row))
        return statistics.median(values) if values else None

    def has_none(self, distance: str, system: str, row: str) -> bool:
        """Measured, and there is no number: the system cannot do it."""
        return (distance, system, row) in self._none

    def of(self, distance: str, system: str) -> dict[str, float | None]:
        """The medians so far of one system."""
        names = [key[2] for key in self._values if key[:2] == (distance, system)]
        return {name: self.median(distance, system, name) for name in names}

    def save(self, path: Path) -> None:
        """All single values, for who wants to look closer."""
        rows = [[*key, values] for key, values in sorted(self._values.items())]
        failures = [[*key, reason] for key, reason in sorted(self.failures.items())]
        path.write_text(json.dumps({"values": rows, "failures": failures}, indent=1) + "\n")
