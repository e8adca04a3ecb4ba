"""The input of a task: from a call to JSON text, and from that to the arguments of its handler."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mainspring.core.codec import decode_value, encode_value
from mainspring.core.shape import Shape
from mainspring.core.signature import Signature
from mainspring.errors import DefinitionError, InputError


class Inputs:
    """Validates the arguments of one task and carries them as a JSON object."""

    __slots__ = ("_extras", "_injected", "_shape", "_signature", "_what")

    def __init__(self, signature: Signature, task: str) -> None:
        self._signature = signature
        self._what = f"input of task {task!r}"
        self._injected = signature.injected
        optional = frozenset(signature.defaults)
        self._shape = Shape.of_fields(signature.fields, optional, self._what)
        self._extras: Shape | None = None
        if signature.extras is not None:
            self._extras = Shape.of(dict[str, signature.extras], self._what)  # type: ignore[name-defined]

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """The arguments as validated, and as JSON text. Raises `InputError` with every problem named."""
        given = self._placed(args, kwargs) if args else kwargs
        if not self._injected.isdisjoint(given):
            names = ", ".join(sorted(self._injected & given.keys()))
            raise InputError(
                f"bad {self._what}: {names} is filled in by the worker, and no input. "
                f"Expected {self._signature.text}; nothing was stored."
            )
        try:
            if self._extras is None:
                return self._in_order(*self._shape.encode(given))
            return self._encode_apart(given, self._extras)
        except InputError as e:
            if type(e) is not InputError:
                raise
            raise InputError(f"{e} Expected {self._signature.text}; nothing was stored.") from e.__cause__

    def _in_order(self, values: dict[str, Any], text: str) -> tuple[dict[str, Any], str]:
        """The text with sets sorted, so that equal inputs have one text in every process."""
        sets = [name for name, value in values.items() if isinstance(value, (set, frozenset))]
        if not sets:
            return values, text
        plain = decode_value(text)
        return values, encode_value(plain | {name: sorted(plain[name], key=repr) for name in sets}, self._what)

    def decode(self, text: str) -> dict[str, Any]:
        """The arguments, by keyword. Raises `InputError` where the stored text no longer fits."""
        if self._extras is None:
            arguments: dict[str, Any] = self._shape.decode(text)
            return arguments
        known, unknown = self._split(decode_value(text))
        fields = self._shape.decode(encode_value(known, self._what))
        return {**fields, **self._extras.decode(encode_value(unknown, self._what))}

    def is_misfit(self, text: str) -> bool:
        """Whether the arguments have other names than ours: another version of the task made them."""
        given = decode_value(text).keys()
        unknown = set() if self._extras is not None else given - self._signature.fields.keys()
        return bool(unknown or self._signature.fields.keys() - self._signature.defaults.keys() - given)

    def key(self, function: KeyFunction, values: Mapping[str, Any], what: str) -> str:
        """The key that a task's function makes of the arguments, defaults included. Raises `InputError`."""
        complete = {**self._signature.defaults, **values}
        given = complete if function.names is None else {name: complete[name] for name in function.names}
        try:
            key = function.call(**given)
        except Exception as e:
            raise InputError(f"{what} raised {type(e).__name__}: {e}. Nothing was stored.") from e
        return check_key(key, what)

    def essential(self, values: Mapping[str, Any]) -> set[str]:
        """The names of what differs from its default: what makes a call the call it is."""
        defaults = self._signature.defaults
        return {name for name, value in values.items() if name not in defaults or not _same(value, defaults[name])}

    def _placed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        names = self._signature.positional
        if len(args) > len(names):
            raise InputError(
                f"bad {self._what}: {len(args)} arguments by place. "
                f"Expected at most {len(names)}: {self._signature.text}; nothing was stored."
            )
        placed = dict(zip(names, args, strict=False))
        twice = placed.keys() & kwargs.keys()
        if twice:
            raise InputError(
                f"bad {self._what}: {', '.join(sorted(twice))} given twice. "
                f"Expected {self._signature.text}; nothing was stored."
            )
        return {**placed, **kwargs}

    def _encode_apart(self, given: dict[str, Any], extras: Shape) -> tuple[dict[str, Any], str]:
        known, unknown = self._split(given)
        values, text = self._shape.encode(known)
        more, more_text = extras.encode(unknown)
        if not more:
            return values, text
        return {**values, **more}, encode_value(decode_value(text) | decode_value(more_text), self._what)

    def _split(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        fields = self._signature.fields
        known = {name: value for name, value in given.items() if name in fields}
        return known, {name: value for name, value in given.items() if name not in fields}


class KeyFunction(NamedTuple):
    """A function of some of a task's arguments, or of all."""

    call: Callable[..., object]
    names: tuple[str, ...] | None
    """What to give it; None: everything."""


def key_function(function: Callable[..., object], signature: Signature, what: str) -> KeyFunction:
    """How to call `function` with a task's arguments by name: it takes those it names, or all by `**`.

    Raises `DefinitionError` where it wants something that the task has not.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return KeyFunction(function, None)  # a builtin that does not tell; the call will
    if signature.extras is not None or any(p.kind is p.VAR_KEYWORD for p in parameters):
        return KeyFunction(function, None)
    wanted = [p for p in parameters if p.kind is not p.VAR_POSITIONAL]
    strange = [p.name for p in wanted if p.kind is p.POSITIONAL_ONLY or p.name not in signature.fields]
    needed = [name for name in strange if any(p.name == name and p.default is p.empty for p in wanted)]
    if needed:
        raise DefinitionError(
            f"bad {what}: it takes {', '.join(needed)}. Expected a function of arguments of the task, by name: "
            f"some or all of ({', '.join(signature.fields)})."
        )
    return KeyFunction(function, tuple(p.name for p in wanted if p.name not in strange))


def check_key(key: object, what: str) -> str:
    """`key` if it is text of 1 to 1,000 characters. Raises `InputError`."""
    if not isinstance(key, str):
        raise InputError(f"bad {what}: {key!r}. Expected text; nothing was stored.")
    if not 0 < len(key) <= KEY_LIMIT:
        raise InputError(f"bad {what}: {len(key):,} characters. Expected 1 to {KEY_LIMIT:,}; nothing was stored.")
    try:
        key.encode()
    except UnicodeEncodeError as e:
        raise InputError(f"bad {what}: {key!r} is not valid text ({e.reason}). Nothing was stored.") from e
    return key


KEY_LIMIT = 1_000


def _same(value: Any, default: Any) -> bool:
    """Equal, and of one type: 1 and True are equal, and two inputs."""
    if value is default:
        return True
    try:
        return type(value) is type(default) and bool(value == default)
    except Exception:  # a foreign __eq__ that gives no truth, as arrays do
        return False
