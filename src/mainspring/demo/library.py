"""The real input: the files of the standard library of this Python, and what is computed from them.

Pure functions of a file's content. The workers call them in jobs; the demo calls them once more, to check.
"""

from __future__ import annotations

import ast
import hashlib
import sysconfig
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
LIBRARY = Path(sysconfig.get_path("stdlib"))
LEAVE_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3", "__pycache__"}
"""Not of the library itself, or full of files that are wrong on purpose."""


@dataclass(frozen=True)
class Docstrings:
    """What the docstrings of a file say about it."""

    definitions: int
    documented: int
    first: str


def source_files() -> list[str]:
    """The files, as paths within the library."""
    found = (path.relative_to(LIBRARY) for path in LIBRARY.rglob("*.py"))
    return sorted(str(path) for path in found if not LEAVE_OUT & set(path.parts))


def hash_of(path: str) -> str:
    return hashlib.sha256((LIBRARY / path).read_bytes()).hexdigest()


def lines_of(path: str) -> int:
    return (LIBRARY / path).read_bytes().count(b"\n")


def docstrings_of(path: str) -> Docstrings:
    tree = ast.parse((LIBRARY / path).read_bytes())
    texts = [ast.get_docstring(definition) for definition in _definitions(tree)]
    first = (ast.get_docstring(tree) or "").partition("\n")[0]
    return Docstrings(len(texts), sum(text is not None for text in texts), first)


def _definitions(scope: ast.Module | Definition) -> Iterator[Definition]:
    for statement in scope.body:
        if isinstance(statement, Definition):
            yield statement
            yield from _definitions(statement)


def unlucky(path: str) -> bool:
    """Whether the first attempt at this file is to fail: one in eight, the same ones in each run."""
    return zlib.crc32(path.encode()) % 8 == 0
