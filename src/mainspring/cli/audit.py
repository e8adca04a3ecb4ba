"""`mainspring audit`: who did what to jobs, queues, schedules, workers and locks."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from mainspring.admin.view import audit_view
from mainspring.app import Mainspring
from mainspring.audit import AuditEntry, AuditPage
from mainspring.cli.filters import moment_of
from mainspring.cli.output import JsonOption, When, note, print_json_lines, print_rows
from mainspring.cli.session import AppOption, run
from mainspring.stores.base import BATCH_ROWS

_Text = str | None


def audit(
    action: Annotated[
        _Text, typer.Option(metavar="ACTION", help='Only these acts: "jobs.retry", or all of a part: "jobs".')
    ] = None,
    actor: Annotated[_Text, typer.Option(metavar="WHO", help="Only acts of this one.")] = None,
    since: Annotated[
        _Text, typer.Option(metavar="TIME", help='Only acts since: a duration ago ("2h") or a time (2030-01-31T12:00).')
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many at most.")] = 100,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """List what operators did, the newest first: when, who, what, to what, how many changed, and why."""

    async def command(found: Mainspring) -> None:
        earliest = None if since is None else moment_of(since, "--since")
        filters: dict[str, Any] = {"action": action, "actor": actor, "since": earliest}
        page = await _read(found, limit, filters)
        if as_json:
            print_json_lines([audit_view(entry) for entry in page])
        else:
            columns = ("when", "who", "what", "on", "changed", "why")
            rows = [_row(entry, found.clock.now()) for entry in page]
            print_rows(columns, rows, whole=("when", "what"))
        if not len(page):
            note("no acts.")
        if page.cursor is not None:
            note(f"these are {len(page)}; there are more: raise --limit, or narrow them by --since or --action.")

    run(app, command)


async def _read(found: Mainspring, limit: int, filters: dict[str, Any]) -> AuditPage:
    page = await found.audit.list(limit=min(limit, BATCH_ROWS), **filters)
    entries = page.entries
    while page.cursor is not None and len(entries) < limit:
        page = await found.audit.list(limit=min(limit - len(entries), BATCH_ROWS), cursor=page.cursor, **filters)
        entries += page.entries
    return AuditPage(entries, page.cursor)


def _row(entry: AuditEntry, now: int) -> tuple[object, ...]:
    on = entry.target or " ".join(f"{name}={_shown(value)}" for name, value in entry.filters.items())
    more = [entry.reason, "" if entry.outcome == "done" else f"{entry.outcome}: {entry.detail.get('error', '')}"]
    why = "; ".join(part for part in more if part)
    return When(entry.at, now), entry.actor, entry.action, on or "all", entry.changed, why


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)
