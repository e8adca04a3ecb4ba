"""`[tool.mainspring]` of the nearest pyproject.toml that has it. It reads text, and does not know what it means."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mainspring.errors import DefinitionError

FILE = "pyproject.toml"
TABLE = "[tool.mainspring]"


@dataclass(frozen=True, slots=True)
class Project:
    """What a project says of itself. `path` is None where no project does."""

    path: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def place(self, key: str) -> str:
        """Where `key` stands, for messages."""
        return f"{key} of {TABLE} in {self.path}"


def read_project(folder: Path | None = None) -> Project:
    """The table of the nearest file that has one, from `folder` upwards; default: the current folder.

    Raises `DefinitionError` for a file on the way that is not TOML, or cannot be read.
    """
    start = (folder or Path.cwd()).absolute()
    for place in (start, *start.parents):
        path = place / FILE
        if not path.is_file():
            continue
        tool = _parse(path).get("tool", {})
        if not isinstance(tool, dict) or "mainspring" not in tool:
            continue
        values = tool["mainspring"]
        if not isinstance(values, dict):
            raise DefinitionError(f"bad tool.mainspring in {path}: {values!r}. Expected a table, {TABLE}.")
        return Project(path, values)
    return Project()


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{path} is not TOML: {error}. Expected what Python's packaging reads, too.") from error
    except OSError as error:
        raise DefinitionError(f"{path} cannot be read: {error.strerror or error}.") from error
