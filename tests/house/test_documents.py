"""Documents that repeat the code are compared with it."""

from __future__ import annotations

import re

import mainspring
from mainspring.core.job import State
from mainspring.core.states import EDGES
from tests.house.errors_page import classes, page
from tests.house.source import ROOT

MACHINE = (ROOT / "docs" / "state-machine.md").read_text()


def test_the_table_of_the_state_machine_is_edges() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| `(\w+)` \|", MACHINE, re.MULTILINE)
    table = [(State(source), action, State(target)) for source, action, target in rows]
    assert len(table) == len(set(table))
    assert set(table) == EDGES


def test_the_drawing_of_the_state_machine_is_edges() -> None:
    drawn = set()
    for source, target, actions in re.findall(r"^ +(\w+) --> (\w+): (.+)$", MACHINE, re.MULTILINE):
        if "[*]" not in (source, target):
            drawn |= {(State(source), action, State(target)) for action in actions.split(", ")}
    assert drawn == EDGES


def test_the_reference_of_errors_is_made_from_errors() -> None:
    stored = (ROOT / "docs" / "reference" / "errors.md").read_text()
    assert stored == page(), "run: python -m tests.house.errors_page > docs/reference/errors.md"


def test_an_error_says_what_it_is() -> None:
    assert not [error for error in classes() if not (error.__doc__ or "").split("\n")[0].endswith(".")]


def test_the_changelog_has_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {re.escape(mainspring.__version__)}\b", changelog, re.MULTILINE)
