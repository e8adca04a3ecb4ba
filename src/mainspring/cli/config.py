"""`mainspring config`: every setting, its value, and where that stands."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mainspring.cli.filters import taking
from mainspring.cli.output import JsonOption, print_json_lines, print_rows
from mainspring.cli.session import AppOption
from mainspring.cli.settings import DEFAULT, WORKER_FLAGS, Found
from mainspring.cli.values import plain
from mainspring.cli.worker import settings_or_end


@taking(WORKER_FLAGS, dict)
def config(
    flags: dict[str, Any],
    name: Annotated[str | None, typer.Argument(metavar="MODULE:APP", help="The app; or --app.")] = None,
    as_json: JsonOption = False,
    app: AppOption = None,
) -> None:
    """Show each setting, its value, and whether a flag, a variable, pyproject.toml or the default says so.

    It takes the flags of mainspring worker, and shows what that would work with. Loads no app; passwords are masked.
    """
    found = settings_or_end(flags | {"app": name or app}).values()
    if as_json:
        print_json_lines([_view(each) for each in found])
        return
    rows = [(each.setting.name, each.shown, f"{each.source} {each.place}".strip()) for each in found]
    print_rows(("setting", "value", "from"), rows, whole=("setting",))


def _view(found: Found) -> dict[str, Any]:
    value = found.shown if isinstance(found.value, str) else plain(found.value)
    place = None if found.source == DEFAULT else found.place
    return {"name": found.setting.name, "value": value, "from": found.source, "place": place}
