"""What the handlers left behind in the folder of a run: how many ran and when, how late they began, which ran twice."""

from __future__ import annotations

import struct
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

SLOT = struct.Struct("3q")
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Ticks:
    """Jobs that ran, and when the first and the last of them did, in seconds of the monotonic clock."""

    jobs: int
    first: float
    last: float

    @property
    def seconds(self) -> float:
        return self.last - self.first

    @property
    def rate(self) -> float:
        return (self.jobs - 1) / self.seconds if self.seconds > 0 else 0.0


def ticks(folder: Path) -> Ticks:
    slots = [SLOT.unpack(data) for path in folder.glob("slot.*") if len(data := path.read_bytes()) == SLOT.size]
    used = [slot for slot in slots if slot[0]]
    if not used:
        return Ticks(0, 0.0, 0.0)
    first, last = min(slot[1] for slot in used), max(slot[2] for slot in used)
    return Ticks(sum(slot[0] for slot in used), first / SECOND, last / SECOND)


def delays_ms(folder: Path) -> list[float]:
    """From the call that sent a job to the first line of its handler, sorted."""
    found = list[float]()
    for path in folder.glob("delays.*"):
        data = path.read_bytes()
        found += [value[0] / 1_000_000 for value in struct.iter_unpack("q", data[: len(data) // 8 * 8])]
    return sorted(found)


def logged(folder: Path, word: str) -> Counter[int]:
    """How often each job began, or ended."""
    path = folder / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(int(line.split()[1]) for line in lines if line.startswith(word))


def since_last_begin(folder: Path) -> float:
    """Seconds since the latest job of the log began; 0 if none did."""
    path = folder / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    times = [int(line.split()[2]) for line in lines if line.startswith("begin")]
    return time.monotonic() - max(times) / SECOND if times else 0.0


def percentile(values: list[float], percent: float) -> float:
    return values[min(len(values) - 1, int(len(values) * percent / 100))]
