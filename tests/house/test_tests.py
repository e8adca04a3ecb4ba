"""Rules for the tests themselves."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from mainspring.stores.base import Store
from tests.house.source import ROOT, calls, modules, name_of

TESTS = modules(ROOT / "tests")
CONFORMANCE = [p for p in TESTS if p.parent.name == "conformance" and p.name.startswith("test_")]


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_no_test_sleeps(path: Path) -> None:
    """A test that sleeps is slow when it passes and flaky when it fails; wait for what should happen."""
    for name, call in calls(path):
        if name == "sleep":
            argument = call.args[0] if call.args else None
            yields = isinstance(argument, ast.Constant) and argument.value == 0
            assert yields, f"line {call.lineno}: {ast.unparse(call)}"


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_no_test_is_skipped(path: Path) -> None:
    """What a store cannot do is asked for by a capability, not skipped."""
    skipped = [call.lineno for name, call in calls(path) if name == "skip" and "pytest" in ast.unparse(call.func)]
    assert not skipped, f"lines {skipped}"


METHODS = sorted(Store.__abstractmethods__)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_the_contract_has_a_docstring_and_a_conformance_test(method: str) -> None:
    assert inspect.getdoc(getattr(Store, method)), f"{method} promises nothing"
    called = {name for path in CONFORMANCE for name, _ in calls(path)}
    named = {n.attr for p in CONFORMANCE for n in ast.walk(ast.parse(p.read_text())) if isinstance(n, ast.Attribute)}
    assert method in called | named, f"no conformance test calls {method}"


def test_the_contract_has_no_default_bodies() -> None:
    own = {name for name, value in vars(Store).items() if inspect.isfunction(value) and not name.startswith("__")}
    assert own == set(METHODS)
