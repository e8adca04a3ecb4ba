"""Functions as they are written down: their annotations resolved, whether they are async, which parameter is a context.

Reads functions, never calls them.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable
from functools import partial
from typing import Any, Union, get_args, get_origin, get_type_hints

from mainspring.errors import DefinitionError

MARK = "__mainspring_context__"


def is_context(annotation: Any) -> bool:
    """Whether an annotation names a run's context: a class that carries the mark, or such a class or None."""
    if get_origin(annotation) in (Union, types.UnionType):
        return any(is_context(part) for part in get_args(annotation))
    return bool(getattr(get_origin(annotation) or annotation, MARK, False))


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling `function` gives a coroutine."""
    return _is(inspect.iscoroutinefunction, function)


def is_generator(function: Callable[..., Any]) -> bool:
    """Whether calling `function` gives a generator."""
    return _is(inspect.isgeneratorfunction, function)


def is_async_generator(function: Callable[..., Any]) -> bool:
    """Whether calling `function` gives an async generator."""
    return _is(inspect.isasyncgenfunction, function)


def _is(kind: Callable[[object], bool], function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    return kind(function) or (not isinstance(function, type) and kind(getattr(function, "__call__", None)))  # noqa: B004


def hints(function: Callable[..., Any], what: str) -> dict[str, Any]:
    """The annotations of a callable, by parameter. `what` names it in messages.

    Raises `DefinitionError` for a name that cannot be found.
    """
    target = _annotated(function)
    try:
        return get_type_hints(target, include_extras=True)
    except NameError:
        pass  # a name of the function around it, perhaps
    try:
        return get_type_hints(target, localns=_surroundings(target), include_extras=True)
    except NameError as e:
        raise DefinitionError(
            f"bad annotation in {what}: {e}. "
            "Annotations are read at run time: import the name outside of `if TYPE_CHECKING`."
        ) from e


def _annotated(function: Any) -> Any:
    """What carries the annotations of a callable: the function, or the method that a call of it reaches."""
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, type):
        return function.__init__  # type: ignore[misc]  # the one that is called
    if not hasattr(function, "__annotations__") and not inspect.ismethod(function):
        function = type(function).__call__
    return inspect.unwrap(function)


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
