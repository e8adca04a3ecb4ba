"""JSON text as native values and back, so that people can read and query what a job carries.

The text that comes out is the text that went in. What MongoDB cannot carry as it is (names with "$" first or a NUL in
them, very deep nesting, whatever our encoder would have written differently) is kept as text: `{"json": "..."}`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from mainspring.core.codec import encode_json

WRAP = "json"
DEEPEST = 60
"""Levels of nesting that are stored as they are. A document has 100 at most, and an input is not its first one."""
_SUSPECT = re.compile(r'"\$|\\u0000|\d{19}')


def native(text: str) -> Any:
    """What to store for JSON text."""
    try:
        value = msgspec.json.decode(text)
        same = encode_json(value) == text
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {WRAP: text}
    if not same or (_suspect(text) and not _fits(value, DEEPEST)) or _is_wrapped(value):
        return {WRAP: text}
    return value


def _suspect(text: str) -> bool:
    """Whether the value has to be looked at: mostly it is carried as it is all the same."""
    return text.count("[") + text.count("{") > DEEPEST or _SUSPECT.search(text) is not None


def _fits(value: Any, levels: int) -> bool:
    """Whether MongoDB carries the value as it is."""
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, list):
        return levels > 0 and all(_fits(item, levels - 1) for item in value)
    if isinstance(value, dict):
        return levels > 0 and all(
            not name.startswith("$") and "\0" not in name and _fits(item, levels - 1) for name, item in value.items()
        )
    return True


def _is_wrapped(stored: Any) -> bool:
    return isinstance(stored, dict) and len(stored) == 1 and isinstance(stored.get(WRAP), str)


def text_of(stored: Any) -> str:
    """The JSON text of a stored value."""
    return str(stored[WRAP]) if _is_wrapped(stored) else encode_json(stored)


def native_map(value: dict[str, Any]) -> Any:
    """What to store for an object that is no text yet."""
    return native(encode_json(value)) if value else value


def map_of(stored: Any) -> dict[str, Any]:
    """The object of a stored value."""
    found: dict[str, Any] = msgspec.json.decode(stored[WRAP]) if _is_wrapped(stored) else dict(stored)
    return found
