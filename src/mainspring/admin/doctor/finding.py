"""What the doctor says: a finding, and the facts that it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from mainspring.stores.base import Fact


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"
    """Worth knowing."""
    WARNING = "warning"
    """Jobs may wait, or be lost when something else fails."""
    DANGER = "danger"
    """Jobs are lost, or nothing moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    level: Level
    name: str
    found: str
    expected: str = ""
    advice: str = ""
    """What to do next."""


def ok(name: str, found: str) -> Finding:
    return Finding(level=Level.OK, name=name, found=found)


def note(name: str, found: str, expected: str = "", advice: str = "") -> Finding:
    return Finding(level=Level.NOTE, name=name, found=found, expected=expected, advice=advice)


def warning(name: str, found: str, expected: str, advice: str) -> Finding:
    return Finding(level=Level.WARNING, name=name, found=found, expected=expected, advice=advice)


def danger(name: str, found: str, expected: str, advice: str) -> Finding:
    return Finding(level=Level.DANGER, name=name, found=found, expected=expected, advice=advice)


Facts = NewType("Facts", Mapping[str, str | int | float])
"""The facts that could be read, by name."""


def facts_of(told: Iterable[Fact]) -> Facts:
    return Facts({fact.name: fact.value for fact in told if fact.value is not None})


def number(facts: Facts, name: str) -> int | None:
    """A fact that is a whole number; None where it could not be read."""
    value = facts.get(name)
    return value if isinstance(value, int) else None


def unread(told: Iterable[Fact]) -> list[Finding]:
    """One finding for each reason for which facts could not be read."""
    names: dict[str, list[str]] = {}
    for fact in told:
        if fact.value is None:
            names.setdefault(fact.why, []).append(fact.name)
    advice = "look them up yourself, or ask whoever runs the server"
    return [note("not read", f"{', '.join(found)}: {why}", "", advice) for why, found in names.items()]


def size(amount: int) -> str:
    """Bytes as short text."""
    value = float(amount)
    for unit in ("bytes", "KB", "MB", "GB"):
        if value < 1_000:
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1_000
    return f"{value:.1f} TB"


NAMED = 5
"""Of what there may be many, so many are named."""


def listed(names: Sequence[str], number: int | None = None) -> str:
    """The first few names in one line; `number`: of how many, where not all are given."""
    more = (len(names) if number is None else number) - len(names[:NAMED])
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
