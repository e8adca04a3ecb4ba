"""Nothing that users can write is missing from the documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

import mainspring
from mainspring.admin.schedules import Schedules
from mainspring.cli import app
from mainspring.core.options import TASK_OPTIONS
from mainspring.core.request import CALL_OPTIONS
from mainspring.core.schedule_options import OPTIONS
from mainspring.core.schedule_status import STATUSES
from mainspring.process import child
from mainspring.worker import heartbeat, worker
from mainspring.worker.settings import WorkerSettings
from tests.docs.pages import ROOT

DOCS = {path.stem: path.read_text() for path in ROOT.glob("docs/*.md")}
EVERYTHING = "\n".join([*DOCS.values(), *(path.read_text() for path in ROOT.glob("docs/reference/*.md"))])
NOT_FOR_EVERYBODY = {"id", "owns_process", "log_lines"}
"""Settings of a worker that its own parent makes."""


def commands(command: Any, name: str = "mainspring") -> Iterator[str]:
    if hasattr(command, "commands"):
        for part, inner in command.commands.items():
            yield from commands(inner, f"{name} {part}")
    else:
        yield name


def settings() -> list[str]:
    fields = WorkerSettings.__dataclass_fields__.values()
    return [field.name for field in fields if field.init and field.name not in NOT_FOR_EVERYBODY]


@pytest.mark.parametrize("option", [option for option in TASK_OPTIONS if option != "description"])
def test_task_option_is_documented(option: str) -> None:
    assert f"`{option}`" in DOCS["tasks"]


@pytest.mark.parametrize("option", CALL_OPTIONS)
def test_call_option_is_documented(option: str) -> None:
    assert f"`{option}`" in DOCS["tasks"]


@pytest.mark.parametrize("option", OPTIONS)
def test_schedule_option_is_documented(option: str) -> None:
    assert f"`{option}`" in DOCS["schedules"]


@pytest.mark.parametrize("method", [name for name in vars(Schedules) if not name.startswith("_")])
def test_act_on_schedules_is_documented(method: str) -> None:
    assert f"app.schedules.{method}(" in DOCS["schedules"]
    assert f"`{method}`" in DOCS["schedules"]


@pytest.mark.parametrize("status", STATUSES)
def test_status_of_schedules_is_documented(status: str) -> None:
    assert f"| `{status}` |" in DOCS["schedules"]


@pytest.mark.parametrize("setting", settings())
def test_worker_setting_is_documented(setting: str) -> None:
    assert f"`{setting}`" in DOCS["workers"]


@pytest.mark.parametrize("command", list(commands(typer.main.get_command(app))))
def test_command_is_documented(command: str) -> None:
    assert command in EVERYTHING


@pytest.mark.parametrize("name", [name for name in mainspring.__all__ if not name.startswith("_")])
def test_public_name_is_documented(name: str) -> None:
    assert name in EVERYTHING


@pytest.mark.parametrize("code", [child.EXIT_FAILED, child.EXIT_ORPHANED, heartbeat.EXIT_STALLED, worker.EXIT_STUCK, 0])
def test_exit_code_is_documented(code: int) -> None:
    assert f"| {code} |" in DOCS["workers"]


def test_version_is_in_changelog() -> None:
    assert f"## {mainspring.__version__} " in (ROOT / "CHANGELOG.md").read_text()


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    pages = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    assert len(pages) >= 9
    assert [page.name for page in pages if page.name not in index] == []


def test_every_document_is_in_the_index() -> None:
    index = DOCS["README"]
    assert [name for name in DOCS if name != "README" and f"({name}.md)" not in index] == []
