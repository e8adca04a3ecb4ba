"""Names, reasons and priorities, checked where they are written down."""

from __future__ import annotations

import re

from mainspring.errors import DefinitionError

LONGEST_REASON = 2_000
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,100}", re.ASCII)


def check_name(name: object, what: str) -> str:
    """`name` if it can name a task or a queue. Raises `DefinitionError`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DefinitionError(
            f"bad {what} name: {name!r}. Expected 1 to 100 letters, digits, dots, underscores and hyphens."
        )
    return name


def check_reason(reason: object) -> str:
    """`reason` if a job can carry it. Raises `DefinitionError`."""
    if not isinstance(reason, str) or len(reason) > LONGEST_REASON or not is_text(reason):
        shown = reason if not isinstance(reason, str) else reason[:100]
        raise DefinitionError(f"bad reason: {shown!r}. Expected text of at most {LONGEST_REASON:,} characters.")
    return reason


def is_text(text: str) -> bool:
    """Whether a store takes it: it has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_priority(priority: object) -> int:
    """`priority` if it is one. Raises `DefinitionError`."""
    if not isinstance(priority, int) or isinstance(priority, bool) or not 0 <= priority <= 100:
        raise DefinitionError(f"bad priority: {priority!r}. Expected a whole number from 0 to 100, the highest first.")
    return priority


def check_count(value: object, what: str, least: int, most: int | None = None) -> int:
    """`value` if it is a whole number in range. Raises `DefinitionError`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        bound = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise DefinitionError(f"bad {what}: {value!r}. Expected a whole number {bound}.")
    return value
