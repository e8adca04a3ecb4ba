"""The command line and its settings, as the reference shows them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import typer.main

from mainspring.cli import app
from mainspring.cli.settings import SETTINGS
from tests.docs.docstrings import prose


@cache
def root() -> Any:
    """All of it. To build it takes a tenth of a second."""
    return typer.main.get_command(app)


def commands(command: Any = None, name: str = "mainspring") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its name."""
    command = root() if command is None else command
    if hasattr(command, "commands"):
        for part, inner in command.commands.items():
            yield from commands(inner, f"{name} {part}")
    elif not command.hidden:
        yield name, command


def options(command: Any) -> list[str]:
    """The flags of a command."""
    return [
        flag for parameter in command.params for flag in parameter.opts if flag.startswith("-") and not parameter.hidden
    ]


def sections() -> Iterator[str]:
    yield "## Settings"
    yield (
        "The same setting by flag, by environment variable, and as a key of `[tool.mainspring]` in `pyproject.toml`; "
        "the first that says something counts. `mainspring config` shows what holds, and from where."
    )
    rows = [
        f"| `{setting.flag}` | `{setting.variable}` | `{name}` | {_code(setting.shown_default)} "
        f"| {_cell(setting.help)} |"
        for name, setting in SETTINGS.items()
    ]
    yield "\n".join(["| flag | variable | key | default | |", "|---|---|---|---|---|", *rows])
    for name, command in commands():
        yield f"## {name}"
        yield "```console\n$ " + _usage(name, command) + "\n```"
        yield prose(command.help)
        if rows := [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]:
            yield "\n".join(["| | |", "|---|---|", *rows])


def _usage(name: str, command: Any) -> str:
    arguments = [_argument(each) for each in command.params if each.param_type_name == "argument"]
    return " ".join([name, *arguments])


def _argument(parameter: Any) -> str:
    word = (parameter.metavar or parameter.name).upper().strip("[]")
    word = f"{word} ..." if parameter.nargs != 1 and "..." not in word else word
    return word if parameter.required else f"[{word}]"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"| `{_argument(parameter)}` | {_cell(parameter.help or '')} |"
    flags = ", ".join(f"`{flag}`" for flag in [*parameter.opts, *parameter.secondary_opts])
    default = parameter.default
    shown = f" Default: `{default}`." if default not in (None, False, True, "", ()) and not callable(default) else ""
    return f"| {flags} | {_cell(parameter.help or '')}{shown} |"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<").replace("*", "\\*")
