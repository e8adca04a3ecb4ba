"""The source of the project as syntax trees, for the house rules."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "mainspring"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def modules(folder: Path = PACKAGE) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def statements(path: Path, *, but: Callable[[ast.AST], bool] = lambda node: False) -> Iterator[ast.AST]:
    """The statements of a file, also those inside of others, and not those inside of what `but` names. What stands in
    expressions is left out: that is nine nodes of ten, and `ast.walk` takes seconds for all files."""
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        yield node
        parts = ("orelse",) if but(node) else ("body", "orelse", "finalbody", "handlers", "cases")
        waiting += [inner for part in parts for inner in getattr(node, part, ()) if isinstance(inner, ast.AST)]


def functions(path: Path) -> Iterator[Function]:
    return (node for node in statements(path) if isinstance(node, Function))


def docstring_lines(node: ast.AST) -> int:
    """Lines of the docstring of a module, class or function."""
    body = getattr(node, "body", [])
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return (first.end_lineno or 0) - first.lineno + 1
    return 0


@cache
def imports(path: Path) -> tuple[str, ...]:
    """The modules that a file imports when it runs; what is imported for types alone does not count."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in statements(path, but=_is_for_types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def calls(path: Path, name: str) -> Iterator[ast.Call]:
    """The calls of what is called `name`, or ends in it."""
    if f"{name}(" not in path.read_text():
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and name in (getattr(node.func, "attr", None), getattr(node.func, "id", None)):
            yield node
