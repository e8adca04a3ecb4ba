"""`mainspring doctor`: what is dangerous about a store and what stands still, with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from mainspring.admin.doctor import Finding, Level, examine
from mainspring.admin.doctor.finding import danger
from mainspring.app import Mainspring
from mainspring.cli.output import JsonOption, note, print_json_lines, print_rows, to_the_end
from mainspring.cli.session import AppOption, run
from mainspring.cli.settings import read_settings
from mainspring.errors import DefinitionError
from mainspring.worker.settings import WorkerSettings


def doctor(
    name: Annotated[
        str | None, typer.Argument(metavar="MODULE:APP", help="The app, or the URL of its store; or --app.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 in case of a warning, too.")] = False,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Say whether the store is fit for jobs, whether they move, and which settings hurt, each with what to do.

    Changes nothing. Ends with 1 in case of danger. The settings are those of the environment and of pyproject.toml, as
    mainspring config shows them.
    """

    async def command(found: Mainspring) -> list[Finding]:
        try:
            settings = read_settings({})
            worker = WorkerSettings(**settings.for_worker())
        except DefinitionError as error:
            wrong = danger("settings", str(error), "settings that a worker starts with", "mend it where it stands")
            return [*await examine(found), wrong]
        return await examine(found, worker=worker, processes=settings.value("processes"))

    findings = run(name or app, command)
    with to_the_end():
        _show(findings, as_json)
    wrong = {Level.DANGER, Level.WARNING} if strict else {Level.DANGER}
    if any(finding.level in wrong for finding in findings):
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
