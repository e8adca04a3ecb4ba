"""The signature of a handler: its parameters, where its context goes, and its annotations resolved.

Reads functions, never calls them.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from typing import Annotated, Any, NoReturn, Union, get_args, get_origin, get_type_hints

from mainspring.errors import DefinitionError

Parameter = inspect.Parameter
MARK = "__mainspring_context__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a task must know of its handler. Names are in order of definition, without the context."""

    text: str
    """For messages: `(to: str, subject: str = 'Hi')`."""
    fields: Mapping[str, Any]
    positional: tuple[str, ...]
    defaults: Mapping[str, Any]
    positional_only: tuple[str, ...] = ()
    extras: Any = None
    """The type of `**kwargs`, None where there are none."""
    context: str | None = None
    returns: Any = Any
    is_async: bool = False


def read_signature(handler: Callable[..., Any], name: str) -> Signature:
    """The signature of `handler`, of task `name`. Raises `DefinitionError` for what a stored job could not fill."""
    _check_callable(handler, name)
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError) as e:
        raise DefinitionError(f"bad handler of task {name!r}: {handler!r} has no signature ({e}).") from e
    hints = _hints(handler, name)
    fields: dict[str, Any] = {}
    contexts: list[str] = []
    extras = None
    for parameter in signature.parameters.values():
        kind = hints.get(parameter.name, Any)
        if parameter.kind is Parameter.VAR_POSITIONAL:
            raise DefinitionError(
                f"bad handler of task {name!r}: *{parameter.name} cannot be stored. Take a list as one parameter."
            )
        if is_context(kind):
            contexts.append(parameter.name)
        elif parameter.kind is Parameter.VAR_KEYWORD:
            extras = kind
        else:
            fields[parameter.name] = kind
    if len(contexts) > 1:
        raise DefinitionError(f"bad handler of task {name!r}: two contexts, {' and '.join(contexts)}. Take one.")
    return _assemble(signature, fields, contexts, extras, hints.get("return", Any), handler)


def _assemble(
    signature: inspect.Signature,
    fields: dict[str, Any],
    contexts: list[str],
    extras: Any,
    returns: Any,
    handler: Callable[..., Any],
) -> Signature:
    parameters = signature.parameters
    kinds = {**fields, **({} if extras is None else {n: extras for n, p in parameters.items() if n not in fields})}
    shown = [p.replace(annotation=_bare(kinds[p.name])) for p in parameters.values() if p.name not in contexts]
    by_place = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return Signature(
        text=str(signature.replace(parameters=shown, return_annotation=inspect.Signature.empty)),
        fields=fields,
        positional=tuple(n for n in fields if parameters[n].kind in by_place),
        defaults={n: parameters[n].default for n in fields if parameters[n].default is not Parameter.empty},
        positional_only=tuple(n for n, p in parameters.items() if p.kind is Parameter.POSITIONAL_ONLY),
        extras=extras,
        context=contexts[0] if contexts else None,
        returns=None if returns in (NoReturn, type(None)) else returns,
        is_async=is_async(handler),
    )


def _bare(annotation: Any) -> Any:
    """An annotation without what validates it, for people."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def is_context(annotation: Any) -> bool:
    """Whether an annotation names a run's context: a class that carries the mark, or such a class or None."""
    if get_origin(annotation) in (Union, types.UnionType):
        return any(is_context(part) for part in get_args(annotation))
    return bool(getattr(get_origin(annotation) or annotation, MARK, False))


def is_async(handler: Callable[..., Any]) -> bool:
    """Whether calling `handler` gives a coroutine."""
    while isinstance(handler, partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004


def by_keyword(handler: Callable[..., Any], signature: Signature) -> Callable[..., Any]:
    """`handler`, called with keywords alone, which is how a job's arguments come."""
    names = signature.positional_only
    if not names:
        return handler

    @wraps(handler)
    def call(**arguments: Any) -> Any:
        given = [arguments.pop(n) if n in arguments else signature.defaults[n] for n in names]
        return handler(*given, **arguments)

    return call


def _check_callable(handler: object, name: str) -> None:
    if not callable(handler) or isinstance(handler, type):
        raise DefinitionError(f"bad handler of task {name!r}: {handler!r}. Expected a function, plain or async.")
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise DefinitionError(f"bad handler of task {name!r}: it is a generator. Expected a function that returns.")


def _hints(handler: Callable[..., Any], name: str) -> dict[str, Any]:
    target: Any = handler
    while isinstance(target, partial):
        target = target.func
    if not hasattr(target, "__annotations__") and not inspect.ismethod(target):
        target = type(target).__call__
    target = inspect.unwrap(target)
    try:
        return get_type_hints(target, include_extras=True)
    except NameError:
        pass  # a name of the function around it, perhaps
    try:
        return get_type_hints(target, localns=_surroundings(target), include_extras=True)
    except NameError as e:
        raise DefinitionError(
            f"bad annotation in task {name!r}: {e}. "
            "Annotations are read at run time: import the name outside of `if TYPE_CHECKING`."
        ) from e


def _surroundings(function: Any) -> dict[str, Any]:
    """The local names of the functions under way in the module of `function`, the innermost winning."""
    scopes = []
    frame = sys._getframe(1)
    home = getattr(function, "__globals__", None)
    while frame is not None:
        if frame.f_globals is home:
            scopes.append(frame.f_locals)
        frame = frame.f_back  # type: ignore[assignment]  # None ends the walk
    names: dict[str, Any] = {}
    for scope in reversed(scopes):
        names |= scope
    return names
