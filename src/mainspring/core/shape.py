"""Shapes: what a signature promises, as JSON and back.

A shape is built once per task, where the task is written down, so that a type which cannot travel is refused there.
What is written at enqueue is read back when the job runs, days later and elsewhere: a value that would not come back
equal to itself is refused while its caller can still see it.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Any, NotRequired, Union, get_args, get_origin

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError
from pydantic_core import SchemaSerializer
from pydantic_core.core_schema import CoreConfig
from typing_extensions import TypedDict

from mainspring.core.codec import DEPTH_LIMIT, PAYLOAD_LIMIT, encode_value
from mainspring.errors import DefinitionError, InputError

CONFIG = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")
WRITING = CoreConfig(ser_json_bytes="base64", ser_json_inf_nan="constants")
_LONG_DIGITS = re.compile(rb"\d{19}")
_PLAIN = (str, int, float, bool, None, type(None), JsonValue)
SHOWN = 80
"""Characters of a wrong value that a message shows."""


class Shape:
    """A type, as JSON text and back. `what` names the value in messages."""

    __slots__ = ("_dump", "_exact", "_read", "_validate", "_write", "what")

    def __init__(self, adapter: TypeAdapter[Any], what: str, *, plain: bool) -> None:
        self.what = what
        self._exact = plain
        self._validate = adapter.validator.validate_python
        self._read = adapter.validator.validate_json
        # The adapter's own serializer does not hand its config down to the fields of a typed dict.
        serializer = SchemaSerializer(adapter.core_schema, WRITING)
        self._write, self._dump = serializer.to_python, serializer.to_json

    @classmethod
    def of(cls, annotation: Any, what: str) -> Shape:
        """The shape of one type. Raises `DefinitionError` where it cannot be carried as JSON."""
        kind = JsonValue if annotation is Any else annotation
        config = None if _own_config(kind) else CONFIG
        return cls(_adapter(kind, what, config), what, plain=plain(kind))

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any], optional: frozenset[str], what: str) -> Shape:
        """The shape of an object with exactly these fields. Raises `DefinitionError`."""
        kinds = {name: JsonValue if kind is Any else kind for name, kind in fields.items()}
        for name, kind in kinds.items():
            _adapter(kind, f"{name} in {what}", None if _own_config(kind) else CONFIG)  # to name the one at fault
        make: Any = TypedDict  # the fields are known at run time only
        typed = make("Input", {name: NotRequired[kind] if name in optional else kind for name, kind in kinds.items()})
        typed.__pydantic_config__ = CONFIG
        return cls(_adapter(typed, what, None), what, plain=all(map(plain, kinds.values())))

    def encode(self, value: Any) -> tuple[Any, str]:
        """`value` as validated, and as JSON text. Raises `InputError` with every problem named, `PayloadTooLarge`."""
        try:
            valid = self._validate(value)
            text = self._plain_text(valid) if self._exact else None
            if text is None:
                text = encode_value(self._write(valid, mode="json", warnings="error"), self.what)
        except ValidationError as e:
            raise InputError(f"bad {self.what}: {problems(e)}.") from e
        except (ValueError, RecursionError) as e:  # a serializer that raised, half a character, a cycle, too deep
            raise InputError(
                f"bad {self.what}: it cannot be written as JSON ({e}). "
                f"Pass JSON values that do not contain themselves, nested at most {DEPTH_LIMIT} levels deep."
            ) from e
        if not self._exact:
            self._check_round_trip(valid, text)
        return valid, text

    def decode(self, text: str) -> Any:
        """The value that `text` carries. Raises `InputError`."""
        try:
            return self._read(text)
        except ValidationError as e:
            raise InputError(f"bad {self.what}: {problems(e)}.") from e

    def _plain_text(self, valid: Any) -> str | None:
        """Validated plain values as JSON text, 3 us faster than `encode_value`; None where that has to look closer."""
        raw = self._dump(valid, warnings=False)
        if len(raw) > PAYLOAD_LIMIT or b"NaN" in raw or b"Infinity" in raw or _LONG_DIGITS.search(raw):
            return None
        if len(raw) > 2 * DEPTH_LIMIT and raw.count(b"[") + raw.count(b"{") > DEPTH_LIMIT:
            return None
        return raw.decode()

    def _check_round_trip(self, valid: Any, text: str) -> None:
        try:
            if self._read(text) == valid:
                return
        except ValidationError as e:
            lost = problems(e)
        else:
            lost = "what is read back is not equal to what was written"
        raise InputError(
            f"bad {self.what}: it does not survive the way through JSON: {lost}. "
            "Expected values that come back equal to themselves; pass plain values, or a model that can be read back."
        )


def plain(kind: Any) -> bool:
    """Whether values of this type are JSON as they are, so that nothing can be lost on the way."""
    if any(kind is one for one in _PLAIN):
        return True
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType) or origin is list:
        return all(plain(part) for part in parts)
    return origin is dict and parts[0] is str and plain(parts[1])


def problems(error: ValidationError) -> str:
    """Every problem of a validation, on one line: where, what, and the value."""
    texts = []
    for item in error.errors(include_url=False, include_context=False):
        where = ".".join(map(str, item["loc"])) or "value"
        given = "" if item["type"] in ("missing", "extra_forbidden") else f" (got {_short(item['input'])})"
        texts.append(f"{where}: {_said(item['type'], item['msg'])}{given}")
    return "; ".join(texts)


def _said(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is not known"
    return message[:1].lower() + message[1:]


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # a foreign object whose repr is broken: its type must do
        text = f"<{type(value).__name__}>"
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _own_config(kind: Any) -> bool:
    """Pydantic refuses a config for types that bring their own."""
    return isinstance(kind, type) and (
        hasattr(kind, "__pydantic_fields__") or hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__total__")
    )


def _adapter(kind: Any, what: str, config: ConfigDict | None) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(kind, config=config)
    except PydanticUndefinedAnnotation as e:
        raise DefinitionError(f"bad type of {what}: {e.name} is not defined. Import it at run time too.") from e
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError) as e:
        reason = str(e).split("\n")[0]
        raise DefinitionError(
            f"bad type of {what}: {kind!r} cannot be carried as JSON ({reason}). Expected JSON types, dataclasses, "
            "Pydantic models, or types that Pydantic can write and read."
        ) from e
