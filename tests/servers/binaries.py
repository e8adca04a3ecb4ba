"""Where the programs of the servers under test are: on PATH, or where `tests.servers.install` put them.

A server on PATH wins for its version. What cannot be had skips the tests of its kind with the reason printed, except
where `CI` or `MAINSPRING_REQUIRE_SERVERS` is set: there a missing server is a failure.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(sys.prefix) / "servers"
"""Where the installed ones are: one program for each kind, inside the virtual environment."""


@dataclass(frozen=True)
class Kind:
    name: str
    program: str
    """What it is called on PATH."""
    lowest: tuple[int, int]
    below: tuple[int, int]
    """The versions that count as this kind: from `lowest`, and under `below`."""

    def fits(self, version: tuple[int, int] | None) -> bool:
        return version is not None and self.lowest <= version < self.below


REDIS_KINDS = {
    kind.name: kind
    for kind in (
        Kind("redis62", "redis-server", (6, 2), (7, 0)),
        Kind("redis7", "redis-server", (7, 0), (99, 0)),
        Kind("valkey8", "valkey-server", (8, 0), (99, 0)),
    )
}
MONGO_KINDS = {"mongo6": Kind("mongo6", "mongod", (5, 0), (99, 0))}
KINDS = REDIS_KINDS | MONGO_KINDS


class MissingServer(Exception):
    """No program of a kind on this machine."""


def required() -> bool:
    """Whether a missing server is a failure rather than a skip."""
    return any(os.environ.get(name, "") not in ("", "0", "false") for name in ("CI", "MAINSPRING_REQUIRE_SERVERS"))


@cache
def find(kind: str) -> Path:
    """The program of a kind. Raises `MissingServer`."""
    for path in _candidates(KINDS[kind]):
        if KINDS[kind].fits(version_of(path)):
            return path
    raise MissingServer(f"no server of kind {kind} on PATH or in {FOLDER}; `make servers` fetches it where it can")


def available(kind: str) -> bool:
    try:
        find(kind)
    except MissingServer:
        return False
    return True


def needs(kind: str) -> list[pytest.MarkDecorator]:
    """The marks of a test that starts a server of this kind itself."""
    if required() or available(kind):
        return []
    return [pytest.mark.skipif(True, reason=f"no server of kind {kind}: `make servers` fetches it where it can")]


def version_of(path: Path) -> tuple[int, int] | None:
    """Major and minor version of a server program; None if it does not run."""
    try:
        shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\bv=(\d+)\.(\d+)|^db version v(\d+)\.(\d+)", shown)
    if found is None:
        return None
    major, minor = (part for part in found.groups() if part is not None)
    return int(major), int(minor)


def _candidates(kind: Kind) -> Iterator[Path]:
    for folder in os.get_exec_path():
        path = Path(folder) / kind.program
        if os.access(path, os.X_OK):  # which answers no, too, for a folder that may not be read
            yield path
    yield FOLDER / kind.name
