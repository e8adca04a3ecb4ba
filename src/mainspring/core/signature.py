"""The signature of a handler: which parameters are its input, where its context goes, what a worker fills in.

Reads functions, never calls them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Annotated, Any, NoReturn, get_args, get_origin

from mainspring.core.annotations import hints, is_async, is_context
from mainspring.core.dependencies import Need, need_of
from mainspring.errors import DefinitionError

Parameter = inspect.Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a task must know of its handler. Names are in order of definition, without what a worker fills in."""

    text: str
    """For messages: `(to: str, subject: str = 'Hi')`."""
    fields: Mapping[str, Any]
    positional: tuple[str, ...]
    defaults: Mapping[str, Any]
    positional_only: tuple[str, ...] = ()
    extras: Any = None
    """The type of `**kwargs`, None where there are none."""
    context: str | None = None
    needs: Mapping[str, Need] = field(default_factory=dict)
    """The parameters that are dependencies."""
    returns: Any = Any
    is_async: bool = False

    @property
    def injected(self) -> frozenset[str]:
        """The parameters that a worker fills in, and no caller."""
        return frozenset(self.needs) | ({self.context} if self.context is not None else set())


def read_signature(handler: Callable[..., Any], name: str) -> Signature:
    """The signature of `handler`, of task `name`. Raises `DefinitionError` for what a stored job could not fill."""
    _check_callable(handler, name)
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError) as e:
        raise DefinitionError(f"bad handler of task {name!r}: {handler!r} has no signature ({e}).") from e
    kinds = hints(handler, f"task {name!r}")
    fields: dict[str, Any] = {}
    contexts: list[str] = []
    needs: dict[str, Need] = {}
    extras = None
    for parameter in signature.parameters.values():
        kind = kinds.get(parameter.name, Any)
        if parameter.kind is Parameter.VAR_POSITIONAL:
            raise DefinitionError(
                f"bad handler of task {name!r}: *{parameter.name} cannot be stored. Take a list as one parameter."
            )
        need = need_of(parameter, kind, f"task {name!r}")
        if need is not None:
            needs[parameter.name] = need
        elif is_context(kind):
            contexts.append(parameter.name)
        elif parameter.kind is Parameter.VAR_KEYWORD:
            extras = kind
        else:
            _check_meant(parameter, name)
            fields[parameter.name] = kind
    if len(contexts) > 1:
        raise DefinitionError(f"bad handler of task {name!r}: two contexts, {' and '.join(contexts)}. Take one.")
    kept = _Read(fields=fields, extras=extras, context=contexts[0] if contexts else None, needs=needs)
    return _assemble(signature, kept, kinds.get("return", Any), handler)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """The parameters, sorted by who fills them in."""

    fields: dict[str, Any]
    extras: Any
    context: str | None
    needs: dict[str, Need]


def _assemble(signature: inspect.Signature, read: _Read, returns: Any, handler: Callable[..., Any]) -> Signature:
    parameters, fields, extras = signature.parameters, read.fields, read.extras
    asked = [p for n, p in parameters.items() if n != read.context and n not in read.needs]
    shown = [p.replace(annotation=_bare(fields.get(p.name, extras))) for p in asked]
    by_place = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return Signature(
        text=str(signature.replace(parameters=shown, return_annotation=inspect.Signature.empty)),
        fields=fields,
        positional=tuple(n for n in fields if parameters[n].kind in by_place),
        defaults={n: parameters[n].default for n in fields if parameters[n].default is not Parameter.empty},
        positional_only=tuple(n for n, p in parameters.items() if p.kind is Parameter.POSITIONAL_ONLY),
        extras=extras,
        context=read.context,
        needs=read.needs,
        returns=None if returns in (NoReturn, type(None)) else returns,
        is_async=is_async(handler),
    )


def _bare(annotation: Any) -> Any:
    """An annotation without what validates it, for people."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


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


def _check_meant(parameter: inspect.Parameter, name: str) -> None:
    """A bare `ctx` is a context elsewhere; here it would be an argument that every caller is asked for."""
    if parameter.name == "ctx" and parameter.annotation is Parameter.empty:
        raise DefinitionError(
            f"bad handler of task {name!r}: ctx has no annotation, so it would be an argument of the job. Write "
            "ctx: Context for the context of the run; or annotate it as the argument that it is."
        )


def _check_callable(handler: object, name: str) -> None:
    if not callable(handler) or isinstance(handler, type):
        raise DefinitionError(f"bad handler of task {name!r}: {handler!r}. Expected a function, plain or async.")
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise DefinitionError(f"bad handler of task {name!r}: it is a generator. Expected a function that returns.")
