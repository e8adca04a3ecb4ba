"""The tables: a column for each system, ours first; the best of a row is bold, and a row that we lose says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.peers.results import Results
from benchmarks.peers.rows import Row
from benchmarks.peers.systems import OURS, System

NOTHING = "–"


def table(results: Results, distance: str, systems: Sequence[System], rows: Sequence[Row]) -> str:
    """One table; empty if nothing of it was measured."""
    measured = [row for row in rows if any(_known(results, distance, system, row) for system in systems)]
    if not measured:
        return ""
    columns = [system.name for system in systems]
    head = ["|".join(["", " ", *(f" {name} " for name in columns), " ratio ", ""]), "|---" * (len(columns) + 2) + "|"]
    return "\n".join([*head, *(_line(results, distance, systems, row) for row in measured)]) + "\n"


def _known(results: Results, distance: str, system: System, row: Row) -> bool:
    return results.median(distance, system.name, row.name) is not None


def _line(results: Results, distance: str, systems: Sequence[System], row: Row) -> str:
    best = _best(results, distance, [system for system in systems if system.queue], row)
    cells = [_cell(results, distance, system, row, best) for system in systems]
    return f"| {row.title} | " + " | ".join(cells) + f" | {_ratio(results, distance, systems, row)} |"


def _cell(results: Results, distance: str, system: System, row: Row, best: float | None) -> str:
    value = results.median(distance, system.name, row.name)
    if value is None:
        failed = any(key[:2] == (distance, system.name) and row.name.startswith(key[2]) for key in results.failures)
        if failed:
            return "failed"
        return row.nothing if results.has_none(distance, system.name, row.name) else NOTHING
    shown = f"{value:,.{row.digits}f}"
    return f"**{shown}**" if row.compared and system.queue and value == best else shown


def _best(results: Results, distance: str, systems: Sequence[System], row: Row) -> float | None:
    found = [value for system in systems if (value := results.median(distance, system.name, row.name)) is not None]
    if not found or not row.compared:
        return None
    return max(found) if row.more_is_better else min(found)


def _ratio(results: Results, distance: str, systems: Sequence[System], row: Row) -> str:
    """How many times better we are than the best of the others."""
    ours = results.median(distance, OURS, row.name)
    best = _best(results, distance, [system for system in systems if system.queue and system.name != OURS], row)
    if ours is None or best is None:
        return ""
    if not ours or not best:
        return "even" if ours == best else ("" if row.more_is_better == (not best) else "**lost**")
    ratio = ours / best if row.more_is_better else best / ours
    return f"{ratio:.1f}" if ratio >= 1 else f"**{ratio:.2f}: lost**"


def failures(results: Results) -> Iterator[str]:
    for (distance, system, workload), reason in sorted(results.failures.items()):
        yield f"- {system}, {workload} ({distance}): {reason}"
