"""Files and functions stay small enough to read: 400 and 40 lines, docstrings aside."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.house.source import docstring_lines, functions, modules, name_of, statements, tree

FILE_LINES = 400
FUNCTION_LINES = 40


def test_files_are_small() -> None:
    assert not {name_of(path): n for path in modules() if (n := file_lines(path)) > FILE_LINES}, "split it by role"


def file_lines(path: Path) -> int:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    prose = sum(docstring_lines(node) for node in statements(path) if isinstance(node, documented))
    return len(path.read_text().splitlines()) - prose


def test_functions_are_small() -> None:
    sizes = {
        f"{name_of(path)}:{function.name}": (function.end_lineno or 0) - function.lineno + 1 - docstring_lines(function)
        for path in modules()
        for function in functions(path)
    }
    assert not {name: lines for name, lines in sizes.items() if lines > FUNCTION_LINES}, "split it"


def test_a_module_says_why_it_exists() -> None:
    assert not [name_of(path) for path in modules() if len(tree(path).body) > 1 and not ast.get_docstring(tree(path))]
