"""What a `sqlite:` URL says: where the database lies, and the few settings that are a matter of taste.

Parses text, and touches no file.
"""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from mainspring.core.duration import milliseconds
from mainspring.errors import DefinitionError, UnknownOption

OPTIONS = ("synchronous", "busy_timeout", "shared")
SYNCHRONOUS = ("full", "normal", "off")
_FORMS = '"sqlite:///relative.db", "sqlite:////absolute/path.db" or "sqlite://:memory:"'


class Settings(NamedTuple):
    path: str | None
    """The absolute path of the file; None: in memory."""
    synchronous: str = "normal"
    """`normal` may lose the last commits at a power loss (not at a crash); `full` costs an fsync a commit."""
    patience: float = 5.0
    """Seconds to wait for a lock that another process holds."""
    shared: bool = False
    """Whether the tables may be made in a file that holds an application's own."""

    @property
    def deadline(self) -> float:
        """Seconds after which a call is given up, whatever it is doing."""
        return self.patience + 10.0


def parse(url: str) -> Settings:
    """The settings that `url` names. Raises `DefinitionError` for a bad one, `UnknownOption` for an option."""
    place, _, query = url.partition("?")
    options = _options(url, query)
    synchronous = options.get("synchronous", "normal")
    if synchronous not in SYNCHRONOUS:
        raise DefinitionError(f"bad synchronous: {synchronous!r}. Expected one of {', '.join(SYNCHRONOUS)}.")
    patience = milliseconds(_number(options.get("busy_timeout", "5s")), "busy_timeout") / 1_000
    shared = options.get("shared", "false")
    if shared not in ("true", "false"):
        raise DefinitionError(f"bad shared: {shared!r}. Expected true or false.")
    return Settings(_path(url, place), synchronous, patience, shared == "true")


def _options(url: str, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in OPTIONS:
            raise UnknownOption(
                f"unknown option {name!r} in {url!r}. Expected one of {', '.join(OPTIONS)}; correct or remove it."
            )
    return options


def _number(text: str) -> float | str:
    return float(text) if text.replace(".", "", 1).isdigit() else text


def _path(url: str, place: str) -> str | None:
    if place == "sqlite://:memory:":
        return None
    path = unquote(place.removeprefix("sqlite:///"))
    if not place.startswith("sqlite:///") or not path or path.startswith(":memory:"):
        raise DefinitionError(f"bad store URL: {url!r}. Expected {_FORMS}.")
    return os.path.abspath(path)
