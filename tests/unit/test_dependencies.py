"""What may be a dependency is said where a task is defined, with the parameter and the provider at fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest

from mainspring import Context, DefinitionError, Depends, Injected
from mainspring.core.dependencies import Overrides
from mainspring.core.signature import read_signature


def get_one() -> int:
    return 1


def first(n: Annotated[int, Depends(get_one)]) -> int:
    return n


def wants_more(n: Annotated[int, Depends(get_one)], more: str) -> int:
    return n


def by_place(n: Annotated[int, Depends(get_one)], /) -> int:
    return n


def two_contexts(one: Context, two: Context) -> None: ...


def test_what_a_worker_fills_in_is_told_from_the_input() -> None:
    def handler(ctx: Context, one: Annotated[int, Depends(get_one)], n: int, two: int = Depends(first)) -> None: ...

    signature = read_signature(handler, "t")
    assert list(signature.fields) == ["n"] == list(signature.positional)
    assert list(signature.needs) == ["one", "two"]
    assert signature.injected == {"ctx", "one", "two"}
    assert signature.text == "(n: int)"
    assert not signature.defaults


def twice(n: Annotated[int, Depends(get_one)] = Depends(get_one)) -> None: ...


def twice_inside(n: Annotated[int, Depends(get_one), Depends(first)]) -> None: ...


def hidden(n: Annotated[int, Depends(get_one)] | None) -> None: ...


def not_called(n: Annotated[int, Depends]) -> None: ...


def only_injected(n: int = Injected) -> None: ...


def many(**n: Annotated[int, Depends(get_one)]) -> None: ...


def needs_more(n: Annotated[int, Depends(wants_more)]) -> None: ...


def needs_place(n: Annotated[int, Depends(by_place)]) -> None: ...


def needs_contexts(n: Annotated[int, Depends(two_contexts)]) -> None: ...


def deep(n: Annotated[int, Depends(needs_more)]) -> None: ...


def builtin(n: Annotated[int, Depends(dict)]) -> None: ...


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (twice, "n of task 't': two times Depends"),
        (twice_inside, "n of task 't': two times Depends"),
        (hidden, "n of task 't': Depends inside of"),
        (not_called, "n of task 't': Depends without a provider"),
        (only_injected, "n of task 't': it is to be injected, and nobody says by whom"),
        (many, "dependency n of task 't': it stands for many"),
        (needs_more, "provider wants_more of task 't': nobody fills in more"),
        (needs_place, "provider by_place of task 't': n by place only"),
        (needs_contexts, "provider two_contexts of task 't': two contexts, one and two"),
        (deep, "provider wants_more of provider needs_more: nobody fills in more"),
        (builtin, "provider dict of task 't': it has no signature"),
    ],
)
def test_a_wrong_one_is_refused_by_name(handler: Callable[..., Any], why: str) -> None:
    with pytest.raises(DefinitionError, match=why):
        read_signature(handler, "t")


def chicken(egg: Annotated[int, Depends(lambda: 0)]) -> int:
    return egg


def egg(chicken: Annotated[int, Depends(chicken)]) -> int:
    return chicken


def test_one_that_needs_itself_is_refused_with_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(chicken.__annotations__, "egg", Annotated[int, Depends(egg)])
    monkeypatch.setitem(egg.__annotations__, "chicken", Annotated[int, Depends(chicken)])

    def handler(n: Annotated[int, Depends(egg)]) -> None: ...

    with pytest.raises(DefinitionError, match=r"it needs itself \(egg -> chicken -> egg\)"):
        read_signature(handler, "t")


@pytest.mark.parametrize("wrong", [1, None, "text"])
def test_what_cannot_be_called_is_no_provider(wrong: Any) -> None:
    with pytest.raises(DefinitionError, match="Expected a function, not what it returns"):
        Depends(wrong)


def test_what_cannot_be_a_key_is_no_provider() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self) -> int:
            return 1

    with pytest.raises(DefinitionError, match="unhashable"):
        Depends(Unhashable())


def test_overrides_are_a_mapping() -> None:
    overrides = Overrides()
    overrides[get_one] = first
    assert dict(overrides) == {get_one: first}
    with overrides.during({get_one: get_one}):
        assert overrides[get_one] is get_one
    assert overrides[get_one] is first
    del overrides[get_one]
    assert len(overrides) == 0
