"""What cannot be written as JSON, or not be read back, is refused as input and as a result, in our own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, computed_field

from mainspring import InputError, Mainspring, OutputError


class Node(BaseModel):
    next: Node | None = None


class Broken(BaseModel):
    @computed_field
    def total(self) -> int:
        raise ValueError("nothing to add up")


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def within_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def ring() -> Node:
    node = Node()
    node.next = node
    return node


def with_annotation(name: str, kind: Any) -> Callable[[Any], Any]:
    def handler(value: Any) -> Any: ...

    handler.__annotations__[name] = kind
    return handler


UNWRITABLE: dict[str, tuple[Any, Any, str]] = {
    "within itself": (list, within_itself(), r"cannot be written as JSON \(Circular reference.*200 levels deep\."),
    "an object within itself": (dict, {"a": within_itself()}, r"cannot be written as JSON \(Circular reference"),
    "a model within itself": (Node, ring(), r"cannot be written as JSON \(Circular reference"),
    "items within themselves": (list[Any], within_itself(), r"cannot be written as JSON \(Circular reference"),
    "too deep": (list, nested(301), r"cannot be written as JSON \(Maximum .*depth exceeded.*200 levels deep\."),
    "items too deep": (list[Any], nested(301), r"cannot be written as JSON \(Maximum .*depth exceeded"),
    "anything too deep": (Any, nested(250), "nested deeper than 200 levels"),
    "just too deep to be read": (Any, nested(201), "nested deeper than 200 levels"),
    "a field that raises": (Broken, Broken(), r"cannot be written as JSON \(.*nothing to add up\)"),
}


@pytest.mark.parametrize("case", UNWRITABLE)
async def test_an_input_that_cannot_be_written_is_refused_and_nothing_is_stored(case: str) -> None:
    kind, value, message = UNWRITABLE[case]
    app = Mainspring("sqlite://:memory:")
    take = app.task(with_annotation("value", kind))
    with pytest.raises(InputError, match=message) as caught:
        await take.enqueue(value)
    assert "Expected (value: " in str(caught.value)
    assert not (await app.jobs.list()).jobs
    await app.close()


@pytest.mark.parametrize("case", UNWRITABLE)
def test_a_result_that_cannot_be_written_is_refused(case: str) -> None:
    kind, value, message = UNWRITABLE[case]
    give = Mainspring("sqlite://:memory:").task(with_annotation("return", kind))
    with pytest.raises(OutputError, match=message):
        give.encode_result(value)


@pytest.mark.parametrize("kind", [Any, list, list[Any]])
def test_what_can_be_written_can_be_read(kind: Any) -> None:
    give = Mainspring("sqlite://:memory:").task(with_annotation("return", kind))
    deepest = nested(200)
    assert give.decode_result(give.encode_result(deepest)) == deepest
    brackets = ["[" * 300]
    assert give.decode_result(give.encode_result(brackets)) == brackets
