"""The Lua scripts: where their text is, and the name under which a server keeps each.

A script that may run when memory is full says so in its first line, `-- flags: allow-oom`. Servers from 7.0 on want
that as a shebang, which 6.2 does not know; so the text, and with it the name, depends on the server. What several
scripts share is in a file that they name in a line `-- include: <name>`; its text takes the place of that line.
"""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from typing import NamedTuple

from mainspring.errors import DefinitionError

_INCLUDE = re.compile(r"^-- include: ([a-z]+)\n", re.MULTILINE)
_FLAGS = re.compile(r"-- flags: ([a-z][a-z, -]*)\n")


class Text(NamedTuple):
    source: str
    sha1: str


class Script:
    """One script. `name` is for messages."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        flags = _FLAGS.match(source)
        self.plain = _text(source)
        """For servers before 7.0."""
        # In place of the first line, so that the line numbers in errors stay true.
        self.flagged = _text(f"#!lua flags={flags[1].strip()}\n{source[flags.end() :]}") if flags else self.plain
        """For all others."""

    def __repr__(self) -> str:
        return f"Script({self.name!r})"


def load(name: str) -> Script:
    """The script in `lua/{name}.lua` of this package."""
    return Script(name, _INCLUDE.sub(lambda line: _read(line[1]), _read(name)))


def _read(name: str) -> str:
    file = resources.files("mainspring.stores.redis") / "lua" / f"{name}.lua"
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DefinitionError(
            f"no script {name!r}. Expected the file {file}; was the package installed whole?"
        ) from None


def _text(source: str) -> Text:
    return Text(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


ADD = load("add")
CLAIM = load("claim")
RENEW = load("renew")
SAVE = load("save")
FIND = load("find")
WRITE = load("write")
ERASE = load("erase")
SCAN = load("scan")
APPEND = load("append")
TAIL = load("tail")
PURGE = load("purge")
PUBLISH = load("publish")
CLOCK = load("clock")
