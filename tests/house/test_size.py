"""Files and functions stay small enough to read: 400 and 40 lines, docstrings aside."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.source import docstring_lines, functions, modules, name_of, tree

FILE_LINES = 400
FUNCTION_LINES = 40


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_file_and_its_functions_are_small(path: Path) -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    prose = sum(docstring_lines(node) for node in ast.walk(tree(path)) if isinstance(node, documented))
    lines = len(path.read_text().splitlines()) - prose
    assert lines <= FILE_LINES, f"{lines} lines: split it by role"
    for function in functions(path):
        size = (function.end_lineno or 0) - function.lineno + 1 - docstring_lines(function)
        assert size <= FUNCTION_LINES, f"{function.name} has {size} lines: split it"


@pytest.mark.parametrize("path", [p for p in modules() if p.read_text().strip()], ids=name_of)
def test_a_module_says_why_it_exists(path: Path) -> None:
    assert ast.get_docstring(tree(path)) or len(tree(path).body) == 1
