"""What the demo shows while it runs: a live picture on a terminal, a line a second elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

ENDED = ("completed", "failed", "dead", "cancelled")
STYLES = {
    "completed": "green", "running": "cyan", "pending": "dim", "retrying": "yellow", "scheduled": "blue",
    "dead": "bold red",
}  # fmt: skip
EVERY = 1.0
"""Seconds between two plain lines."""


class Display:
    """`with`: shows how many jobs are in which state, how fast they end, and what happens on the way."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = self._printed = time.monotonic()
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._seen: list[tuple[float, int]] = []

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, text: str) -> None:
        """Something happened."""
        self._console.print(f"[dim]{self._elapsed:5.1f} s[/]  {text}", highlight=False)

    def show(self, total: int, counts: Mapping[str, int]) -> None:
        """The numbers as they are now."""
        ended = sum(counts[status] for status in ENDED)
        rate = self._rate(ended)
        if self._live is not None:
            self._live.update(_picture(total, ended, rate, counts), refresh=True)
        elif time.monotonic() - self._printed >= EVERY:
            self._printed = time.monotonic()
            states = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
            self.tell(f"{ended:,} of {total:,} ended, {rate:,.0f} jobs/s; {states}")

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _rate(self, ended: int) -> float:
        """Jobs a second, over the last second or so."""
        now = time.monotonic()
        self._seen = [(at, count) for at, count in self._seen if now - at < 1.5] + [(now, ended)]
        first, before = self._seen[0]
        return (ended - before) / (now - first) if now > first else 0.0


def _picture(total: int, ended: int, rate: float, counts: Mapping[str, int]) -> Group:
    failing = counts["retrying"] + counts["failed"] + counts["dead"]
    line = Table.grid(padding=(0, 2))
    line.add_row(
        ProgressBar(total=max(total, 1), completed=ended, width=30),
        f"{ended:,} of {total:,}",
        f"{rate:,.0f} jobs/s",
        Text(f"failures {failing:,}", style="yellow" if failing else "dim"),
    )
    states = Text("   ").join(Text(f"{name} {n:,}", style=STYLES.get(name, "")) for name, n in counts.items() if n)
    return Group(line, states)
