"""Rules for the tests themselves."""

from __future__ import annotations

import ast
import inspect

from mainspring.stores.base import Store
from tests.house.source import ROOT, calls, modules, name_of, tree

TESTS = modules(ROOT / "tests")
CONFORMANCE = [p for p in TESTS if p.parent.name == "conformance" and p.name.startswith("test_")]


def test_no_test_sleeps() -> None:
    """A test that sleeps is slow when it passes and flaky when it fails; wait for what should happen."""
    assert not [f"{name_of(path)}:{call.lineno}" for path in TESTS for call in calls(path, "sleep") if sleeps(call)]


def sleeps(call: ast.Call) -> bool:
    argument = call.args[0] if call.args else None
    return not (isinstance(argument, ast.Constant) and argument.value == 0)


def test_no_test_is_skipped() -> None:
    """What a store cannot do is asked for by a capability, not skipped."""
    skips = [(path, call) for path in TESTS for call in calls(path, "skip")]
    assert not [f"{name_of(path)}:{call.lineno}" for path, call in skips if "pytest" in ast.unparse(call.func)]


METHODS = sorted(Store.__abstractmethods__)


def test_every_method_of_the_contract_has_a_docstring_and_a_conformance_test() -> None:
    used = {n.attr for path in CONFORMANCE for n in ast.walk(tree(path)) if isinstance(n, ast.Attribute)}
    assert not [method for method in METHODS if not inspect.getdoc(getattr(Store, method))], "it promises nothing"
    assert not set(METHODS) - used, "no conformance test calls it"


def test_the_contract_has_no_default_bodies() -> None:
    verbs = {n: v for n, v in vars(Store).items() if inspect.isfunction(v) or isinstance(v, property)}
    own = {name for name in verbs if not name.startswith("__")}
    assert own == set(METHODS)
