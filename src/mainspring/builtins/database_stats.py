"""The task `database-stats`: how many jobs there are, and what the store stands on. It reads counts, never a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from mainspring.core.job import State
from mainspring.stores.base import Count, Fact, Query
from mainspring.worker.context import Context


async def database_stats(ctx: Context, detailed: bool = False) -> dict[str, Any]:
    """Counts the jobs by state; `detailed` by queue and task too, with the facts of the store."""
    store = ctx.client.store
    counts = await store.count(Query())
    totals = {state.value: 0 for state in State} | _by_state(counts)
    at = datetime.fromtimestamp(ctx.client.clock.now() / 1000, UTC)
    stats: dict[str, Any] = {"jobs": totals, "total": sum(totals.values()), "at": at.isoformat()}
    if detailed:
        stats["queues"] = {name: _by_state(c for c in counts if c.queue == name) for name in _names(counts, "queue")}
        stats["tasks"] = {name: _by_state(c for c in counts if c.task == name) for name in _names(counts, "task")}
        stats["store"] = {fact.name: _shown(fact) for fact in await store.facts()}
    return stats


def _names(counts: Iterable[Count], field: str) -> list[str]:
    return sorted({getattr(count, field) for count in counts})


def _by_state(counts: Iterable[Count]) -> dict[str, int]:
    found = Counter[str]()
    for count in counts:
        found[count.state.value] += count.jobs
    return dict(found)


def _shown(fact: Fact) -> str | int | float:
    return fact.value if fact.value is not None else f"unknown: {fact.why}"
