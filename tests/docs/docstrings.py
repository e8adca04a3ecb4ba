"""How a class or a function stands on a page of the reference: its signature and its docstring, as Markdown."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterator
from typing import Any

WIDTH = 100


def prose(docstring: str | None) -> str:
    """A docstring as Markdown. A paragraph that is set in columns, or is code, keeps its lines."""
    parts = re.split(r"\n\s*\n", inspect.cleandoc(docstring or "").strip())
    return "\n\n".join(f"```text\n{textwrap.dedent(part)}\n```" if _is_set(part) else _text(part) for part in parts)


def _is_set(part: str) -> bool:
    lines = part.splitlines()
    return any(re.search(r"\S {2,}\S", line) for line in lines) or all(line.startswith("    ") for line in lines)


def _text(part: str) -> str:
    joined = " ".join(line.strip() for line in part.splitlines())
    # Outside of code, what looks like a tag or an emphasis is meant as it stands.
    pieces = re.split(r"(`[^`]*`)", joined)
    return "".join(piece if piece.startswith("`") else re.sub(r"([<*_])", r"\\\1", piece) for piece in pieces)


def summary(thing: object) -> str:
    """The first sentence of a docstring, on one line."""
    text = " ".join(inspect.cleandoc(getattr(thing, "__doc__", None) or "").split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".") + "." if text else ""


def signatures(name: str, function: Callable[..., Any]) -> Iterator[str]:
    """How it is called, each way; without `self`."""
    for way in typing.get_overloads(function) or [function]:
        yield _signature(name, way)


def _signature(name: str, function: Callable[..., Any]) -> str:
    called = inspect.signature(function)
    parameters = [each for each in called.parameters.values() if each.name not in ("self", "cls")]
    word = "await " if inspect.iscoroutinefunction(inspect.unwrap(function)) else ""
    answer = (
        "" if called.return_annotation in (called.empty, "None", None) else f" -> {_type(called.return_annotation)}"
    )
    inner = list(_parameters(parameters))
    line = f"{word}{name}({', '.join(inner)}){answer}"
    if len(line) <= WIDTH:
        return line
    return f"{word}{name}(\n" + "".join(f"    {each},\n" for each in inner) + f"){answer}"


def _parameters(parameters: list[inspect.Parameter]) -> Iterator[str]:
    starred = False
    for number, each in enumerate(parameters):
        if each.kind is each.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        starred = starred or each.kind is each.VAR_POSITIONAL
        yield _parameter(each)
        after = parameters[number + 1 :]
        if each.kind is each.POSITIONAL_ONLY and not any(other.kind is each.POSITIONAL_ONLY for other in after):
            yield "/"


def _parameter(each: inspect.Parameter) -> str:
    stars = "*" if each.kind is each.VAR_POSITIONAL else "**" if each.kind is each.VAR_KEYWORD else ""
    typed = "" if each.annotation is each.empty else f": {_type(each.annotation)}"
    default = "" if each.default is each.empty else f"{' = ' if typed else '='}{_default(each.default)}"
    return f"{stars}{each.name}{typed}{default}"


def _type(annotation: object) -> str:
    if isinstance(annotation, str):
        return annotation.strip("'\"")
    return getattr(annotation, "__name__", str(annotation)) if isinstance(annotation, type) else str(annotation)


def _default(value: object) -> str:
    text = repr(value)
    return "..." if " at 0x" in text or len(text) > 60 or text.startswith("<") else text


def fields(each: type) -> list[tuple[str, str, str, str]]:
    """The fields of a record: name, type, default and the text below each, as they are written in its class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = []
    for number, node in enumerate(body.body):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        name, annotation = node.target.id, ast.unparse(node.annotation)
        if name.startswith("_") or "ClassVar" in annotation or "init=False" in (ast.unparse(node.value or node.target)):
            continue
        default = "" if node.value is None else ast.unparse(node.value)
        found.append((name, annotation, default, _text_below(body.body[number + 1 :])))
    return found


def _text_below(rest: list[ast.stmt]) -> str:
    first = rest[0] if rest else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return " ".join(inspect.cleandoc(first.value.value).split())
    return ""


def methods(each: type) -> list[tuple[str, Any]]:
    """The public methods and properties of a class, its own and inherited ones of ours, in their order."""
    found: dict[str, Any] = {}
    for owner in reversed([base for base in each.__mro__ if base.__module__.startswith("mainspring")]):
        found |= {name: value for name, value in vars(owner).items() if not name.startswith("_") and _is_method(value)}
    return list(found.items())


def _is_method(value: object) -> bool:
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    return inspect.isfunction(value) or isinstance(value, property) or type(value).__name__ == "cached_property"
