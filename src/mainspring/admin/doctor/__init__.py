"""`mainspring doctor`: is what jobs stand on fit for them, and does what is stored move?

A store tells facts, and the judges here, which know what a value means, make findings of them. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mainspring.admin.connection import App
from mainspring.admin.doctor import mongo, redis, schedules, settings, sqlite, tasks, work
from mainspring.admin.doctor.finding import Facts, Finding, Level, danger, facts_of, ok, unread
from mainspring.core.clock import wall_ms
from mainspring.errors import StoreError

__all__ = ["Finding", "Level", "examine"]

JUDGES: dict[str, Callable[[Facts], Iterable[Finding]]] = {
    "mongodb": mongo.judge,
    "redis": redis.judge,
    "sqlite": sqlite.judge,
}
"""By the kind of store."""


async def examine(
    app: App, wall: Callable[[], int] = wall_ms, worker: settings.Settings | None = None, processes: int = 1
) -> list[Finding]:
    """All findings, those about the store first. A store that cannot be used is a finding, too. `wall`: this
    machine's clock. `worker`, `processes`: what workers are to be started with here, to be judged, too."""
    try:
        client = await app.connect()
        told = await client.store.facts()
    except StoreError as error:
        return [_failed("store", error)]
    judge = JUDGES.get(str(told[0].value))
    facts = facts_of(told)
    findings = [] if judge is None else list(judge(facts))
    if "schema" in facts:  # a newer one would not have been opened
        findings.append(ok("schema", f"{facts['schema']}, which this version knows"))
    findings += unread(told)
    if worker is not None:
        findings += settings.judge(worker, processes, str(told[0].value))
    try:
        findings += [finding async for finding in work.examine(client, wall)]
        findings += [finding async for finding in tasks.examine(client)]
        return findings + [finding async for finding in schedules.examine(client)]
    except StoreError as error:
        return [*findings, _failed("work", error)]


def _failed(name: str, error: StoreError) -> Finding:
    return danger(name, str(error), "a store that answers", "see what the message says, and ask again")
