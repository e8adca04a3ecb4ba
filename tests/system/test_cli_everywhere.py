"""What holds for every command: its help is complete, and what goes wrong is one line, whatever the command."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.docs.commands_page import commands
from tests.system.cli_shop import Shop, entered

pytestmark = pytest.mark.slow  # seconds in all, and others show the essentials quickly

COMMANDS = dict(commands())
NO_APP = {"completion", "config", "demo", "schedules preview", "schedules describe"}
FOR_WORKERS = {"worker", "dev"}
"""They want the code."""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return entered(tmp_path, monkeypatch, named=False)


def called(name: str) -> list[str]:
    """The words of a command with something for each argument that it must have, and no question."""
    command = COMMANDS[name]
    words = name.split(" ")[1:]
    for parameter in command.params:
        if parameter.param_type_name == "argument" and parameter.required:
            words.append("x")
        elif "--yes" in parameter.opts:
            words.append("--yes")
    if words[-1] in ("retry-all", "purge") or (words[0] == "jobs" and "--yes" in words):
        words += ["--task", "x"]
    return [*words, "--cron", "@daily"] if name.endswith(("schedules create", "schedules update")) else words


def of_apps() -> list[str]:
    return [name for name in COMMANDS if name.removeprefix("mainspring ") not in NO_APP]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_tells_of_every_parameter(shop: Shop, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command: Any = COMMANDS[name]
    assert command.help
    assert not [parameter.name for parameter in command.params if not getattr(parameter, "help", "")]
    monkeypatch.setenv("COLUMNS", "200")
    told = " ".join(shop.ok(*name.split(" ")[1:], "--help").split())
    if any("--app" in parameter.opts for parameter in command.params):
        assert "[env: MAINSPRING_APP; or app in [tool.mainspring] of pyproject.toml]" in told


@pytest.mark.parametrize("name", of_apps())
def test_without_an_app_every_command_says_how_to_name_it(shop: Shop, name: str) -> None:
    result = shop.run(*called(name))
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    for way in ("--app", "MAINSPRING_APP", "[tool.mainspring]"):
        assert way in result.stderr


@pytest.mark.parametrize("name", [name for name in of_apps() if name.removeprefix("mainspring ") not in FOR_WORKERS])
def test_a_store_that_does_not_answer_is_one_line(shop: Shop, name: str) -> None:
    result = shop.run(*called(name), "--app", "redis://127.0.0.1:1?timeout=100ms")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    told = result.stdout if name.endswith("doctor") else result.stderr
    assert len(told.splitlines()) == 1
    assert "127.0.0.1:1" in told


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_wrong_use(shop: Shop, name: str) -> None:
    result = shop.run(*name.split(" ")[1:], "--bogus")
    assert result.exit_code == 2
    assert "--bogus" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "args", [["config"], ["config", "--help"], ["--help"], ["doctor"], ["jobs", "count", "--json"]], ids=" ".join
)
def test_a_reader_that_is_gone_is_no_error(shop: Shop, args: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    command = shop.start(*args, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    _, told = command.communicate(timeout=60)
    assert (command.returncode, told) == (0, "")
