"""`mainspring doctor`: what is dangerous about a store and what stands still, with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from mainspring.admin.doctor import Finding, Level, examine
from mainspring.app import Mainspring
from mainspring.cli.output import JsonOption, note, print_json_lines, print_rows
from mainspring.cli.session import AppOption, run


def doctor(
    name: Annotated[
        str | None, typer.Argument(metavar="MODULE:APP", help="The app, or the URL of its store; or --app.")
    ] = None,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Say whether the store is fit for jobs, and whether they move. Changes nothing; ends with 1 in case of danger."""

    async def command(found: Mainspring) -> list[Finding]:
        return await examine(found)

    findings = run(name or app, command)
    _show(findings, as_json)
    if any(finding.level is Level.DANGER for finding in findings):
        raise typer.Exit(1)


def _show(findings: Sequence[Finding], as_json: bool) -> None:
    worst_first = sorted(findings, key=lambda finding: -list(Level).index(finding.level))
    if as_json:
        print_json_lines([asdict(finding) for finding in worst_first])
        return
    columns = ("level", "what", "found", "expected", "do")
    rows = [(f.level.value, f.name, f.found, f.expected, f.advice) for f in worst_first]
    print_rows(columns, rows, whole=("level", "what"))
    dangers = sum(finding.level is Level.DANGER for finding in findings)
    note(f"{dangers} dangerous." if dangers else "nothing dangerous.")
