"""Dependencies: parameters that a worker fills in, by a provider that their annotation names.

Here they are found and checked, where they are written down; `worker.dependencies` makes the values. This module reads
functions and never calls them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, get_args, get_origin

from mainspring.core.annotations import hints, is_async, is_async_generator, is_context, is_generator
from mainspring.errors import DefinitionError

Parameter = inspect.Parameter
Kind = Literal["function", "coroutine", "generator", "async generator"]


class Unfilled:
    """What a parameter is where a function is called without it, by hand. To use it says what is wrong."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"{name} of a dependency that was not given. A worker fills it in; who calls the function itself gives it "
            "by name."
        )


class _Injected(Unfilled):
    __slots__ = ()

    def __repr__(self) -> str:
        return "Injected"


Injected: Any = _Injected()
"""The default of a dependency, so that type checkers do not ask for it in `task.enqueue(...)`:
`db: Annotated[Db, Depends(get_db)] = Injected`."""


@dataclass(frozen=True, slots=True)
class Dependency(Unfilled):
    """The mark that `Depends` makes."""

    provider: Callable[..., Any]
    use_cache: bool = True


def Depends(provider: Callable[..., Any], /, *, use_cache: bool = True) -> Any:  # noqa: N802  as everybody knows it
    """Let a worker fill in a parameter: `db: Annotated[Db, Depends(get_db)]`, or `db: Db = Depends(get_db)`.

    `provider`: a function, plain or async, that returns the value, or a generator, plain or async, that yields it once
    and cleans up after the run. Its own parameters are dependencies, the `Context`, or have defaults. Called once per
    run, whoever asks; `use_cache=False`: for each one who asks. Raises `DefinitionError`.
    """
    if not callable(provider):
        raise DefinitionError(f"cannot depend on {provider!r}. Expected a function, not what it returns: Depends(f).")
    try:
        hash(provider)
    except TypeError as e:
        raise DefinitionError(f"cannot depend on {provider!r}: {e}. Expected something that can be a key.") from e
    return Dependency(provider, use_cache)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider, and all that it needs."""

    call: Callable[..., Any]
    kind: Kind
    needs: Mapping[str, Need]
    """By parameter."""
    context: str | None

    @property
    def name(self) -> str:
        return _name(self.call)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A parameter's want of a provider."""

    provider: Provider
    use_cache: bool


def need_of(
    parameter: Parameter, annotation: Any, what: str, above: tuple[Callable[..., Any], ...] = ()
) -> Need | None:
    """What `parameter`, of `what`, wants to be filled in with; None where it is no dependency.

    `above`: the providers under way, which must not come again. Raises `DefinitionError`.
    """
    wanted = _dependency(parameter, annotation, f"{parameter.name} of {what}")
    if wanted is None:
        return None
    if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
        raise DefinitionError(f"bad dependency {parameter.name} of {what}: it stands for many. Name each parameter.")
    return Need(provider=read_provider(wanted.provider, what, above), use_cache=wanted.use_cache)


def read_provider(call: Callable[..., Any], user: str, above: tuple[Callable[..., Any], ...] = ()) -> Provider:
    """What `call` is and needs, as a provider for `user`. Raises `DefinitionError` for one that could not be called."""
    what = f"provider {_name(call)} of {user}"
    if call in above:
        way = " -> ".join(map(_name, (*above[above.index(call) :], call)))
        raise DefinitionError(f"bad {what}: it needs itself ({way}). Take one of these dependencies out.")
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError) as e:
        raise DefinitionError(f"bad {what}: it has no signature ({e}). Wrap it: lambda: ...") from e
    kinds = hints(call, what)
    needs: dict[str, Need] = {}
    contexts: list[str] = []
    for parameter in parameters:
        annotation = kinds.get(parameter.name, Any)
        need = need_of(parameter, annotation, f"provider {_name(call)}", (*above, call))
        if need is not None:
            needs[parameter.name] = need
        elif is_context(annotation):
            contexts.append(parameter.name)
        else:
            _check_optional(parameter, what)
    if len(contexts) > 1:
        raise DefinitionError(f"bad {what}: two contexts, {' and '.join(contexts)}. Take one.")
    _check_by_name(parameters, {*needs, *contexts}, what)
    return Provider(call=call, kind=_kind(call), needs=needs, context=contexts[0] if contexts else None)


class Overrides(MutableMapping[Callable[..., Any], Callable[..., Any]]):
    """Providers in place of others, for tests: a mapping from each one to what is called instead.

    An item is checked when it is set, and raises `DefinitionError`.
    """

    def __init__(self) -> None:
        self.providers: dict[Callable[..., Any], Provider] = {}

    @contextmanager
    def during(self, more: Mapping[Callable[..., Any], Callable[..., Any]]) -> Iterator[None]:
        """With `more` for a while, and then as before."""
        before = dict(self.providers)
        try:
            self.update(more)
            yield
        finally:
            self.providers.clear()
            self.providers.update(before)

    def __getitem__(self, call: Callable[..., Any]) -> Callable[..., Any]:
        return self.providers[call].call

    def __setitem__(self, call: Callable[..., Any], instead: Callable[..., Any]) -> None:
        if not callable(call) or not callable(instead):
            raise DefinitionError(
                f"bad override: {instead!r} for {call!r}. Expected functions, as in {{get_db: fake}}."
            )
        self.providers[call] = read_provider(instead, f"the override of {_name(call)}")

    def __delitem__(self, call: Callable[..., Any]) -> None:
        del self.providers[call]

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter(self.providers)

    def __len__(self) -> int:
        return len(self.providers)


def _dependency(parameter: Parameter, annotation: Any, what: str) -> Dependency | None:
    annotation = getattr(annotation, "__value__", annotation)  # an alias made by `type X = ...`
    marks = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    found = [mark for mark in (*marks, parameter.default) if isinstance(mark, Dependency)]
    if len(found) > 1:
        raise DefinitionError(f"bad {what}: two times Depends. Expected one, in the annotation or as the default.")
    if found:
        return found[0]
    if Depends in marks or parameter.default is Depends:
        raise DefinitionError(f"bad {what}: Depends without a provider. Expected Depends(get_it).")
    if _hidden(annotation):
        raise DefinitionError(
            f"bad {what}: Depends inside of {annotation}. Expected it outermost: Annotated[type, Depends(f)]."
        )
    if isinstance(parameter.default, Unfilled):
        raise DefinitionError(f"bad {what}: it is to be injected, and nobody says by whom. Expected Depends(f) too.")
    return None


def _hidden(annotation: Any) -> bool:
    """Whether there is a mark deeper inside, where nobody would find it."""
    return any(isinstance(part, Dependency) or _hidden(part) for part in get_args(annotation))


def _check_optional(parameter: Parameter, what: str) -> None:
    if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD) or parameter.default is not Parameter.empty:
        return
    raise DefinitionError(
        f"bad {what}: nobody fills in {parameter.name}. Expected parameters that are dependencies, the Context, or "
        "have a default; the input of a job is the handler's alone."
    )


def _check_by_name(parameters: Any, filled: set[str], what: str) -> None:
    by_place = [p.name for p in parameters if p.kind is Parameter.POSITIONAL_ONLY and p.name in filled]
    if by_place:
        raise DefinitionError(f"bad {what}: {', '.join(by_place)} by place only. Take the / out of its parameters.")


def _kind(call: Callable[..., Any]) -> Kind:
    if is_async_generator(call):
        return "async generator"
    if is_generator(call):
        return "generator"
    return "coroutine" if is_async(call) else "function"


def _name(call: Callable[..., Any]) -> str:
    return getattr(call, "__qualname__", None) or repr(call)
