"""Values of settings as people write them: text of a flag or a variable, or a value of TOML. Each kind reads both."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mainspring.core.duration import Duration, humanize, milliseconds
from mainspring.core.naming import check_name
from mainspring.errors import DefinitionError

_WHOLE = re.compile(r"\s*-?\d+\s*", re.ASCII)
_NUMBER = re.compile(r"\s*\d+(\.\d+)?\s*", re.ASCII)
_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value is read, and how it is shown. `read` takes the value and the place where it stands, for messages."""

    metavar: str
    read: Callable[[Any, str], Any]
    show: Callable[[Any], str] = str


def whole(value: Any, place: str) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _bad(place, value, "a whole number")


def positive(value: Any, place: str) -> int:
    number = whole(value, place)
    if number < 1:
        raise _bad(place, value, "a whole number of 1 or more")
    return number


def duration(value: Any, place: str) -> Duration:
    """A duration as it is typed: "5m", or "5" for seconds, which are a number elsewhere."""
    read: Duration = float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value
    milliseconds(read, place)
    return read


def names(value: Any, place: str) -> list[str]:
    """Names by commas, or a list."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not parts or not all(isinstance(part, str) and part.strip() for part in parts):
        raise _bad(place, value, "names, by commas or as a list")
    try:
        return [check_name(part.strip(), "queue or task") for part in parts]
    except DefinitionError as error:
        raise DefinitionError(f"bad {place}: {value!r}: {error}") from None


def truth(value: Any, place: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _TRUTHS:
        return _TRUTHS[value.strip().lower()]
    raise _bad(place, value, "true or false")


def text(value: Any, place: str) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise _bad(place, value, "text")


def one_of(*choices: str) -> Callable[[Any, str], str]:
    """Reads one of these words, in capitals or not."""

    def read(value: Any, place: str) -> str:
        if isinstance(value, str) and value.strip().lower() in choices:
            return value.strip().lower()
        raise _bad(place, value, ", ".join(choices))

    return read


def size(value: Any, place: str) -> int | str:
    """A number of bytes, or text with a unit, which is checked where it is used."""
    return whole(value, place) if not isinstance(value, str) or _WHOLE.fullmatch(value) else value.strip()


def or_none(kind: Kind) -> Kind:
    """The same, or "none"."""

    def read(value: Any, place: str) -> Any:
        return None if isinstance(value, str) and value.strip().lower() == "none" else kind.read(value, place)

    return Kind(kind.metavar, read, kind.show)


def show_duration(value: Duration) -> str:
    # A timedelta can only stand in a default; text is shown as it was written.
    return value if isinstance(value, str) else humanize(milliseconds(value))


def show_names(value: Sequence[str] | None) -> str:
    return ",".join(value or ())


def show_truth(value: bool) -> str:
    return str(value).lower()


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def _bad(place: str, value: object, expected: str) -> DefinitionError:
    return DefinitionError(f"bad {place}: {value!r}. Expected {expected}.")


TEXT = Kind("TEXT", text)
WHOLE = Kind("N", whole)
POSITIVE = Kind("N", positive)
SIZE = Kind("SIZE", size)
DURATION = Kind("TIME", duration, show_duration)
NAMES = Kind("A,B", names, show_names)
TRUTH = Kind("", truth, show_truth)

BY_TYPE = {
    "int": WHOLE,
    "int | str": SIZE,
    "bool": TRUTH,
    "str": TEXT,
    "Duration": DURATION,
    "Sequence[str]": NAMES,
}
"""By the annotation of a field, without its "| None"."""
