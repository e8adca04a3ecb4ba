"""What can travel: the types of a signature, there and back, equal to themselves."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, NotRequired
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, JsonValue
from typing_extensions import TypedDict

from mainspring import Context, Mainspring

app = Mainspring("sqlite://:memory:")


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


@dataclass
class Point:
    x: float
    y: float
    tags: set[str] = field(default_factory=set)


class Line(BaseModel):
    start: Point
    end: Point
    colour: Colour = Colour.RED
    drawn: datetime | None = None


class Pair(NamedTuple):
    left: int
    right: str


class Options(TypedDict):
    deep: bool
    depth: NotRequired[int]


def roundtrip(annotation: Any, value: Any) -> Any:
    def work(value: Any) -> Any: ...

    work.__annotations__ = {"value": annotation, "return": annotation}
    task: Any = Mainspring("sqlite://:memory:").task(work)
    assert task.decode_result(task.encode_result(value)) == value
    return task.arguments(task.encode_input(value=value))["value"]


CASES: dict[str, tuple[Any, Any]] = {
    "text": (str, "žluťoučký 🐎 \x00"),
    "int": (int, -(2**63)),
    "float": (float, 0.1),
    "bool": (bool, True),
    "optional": (int | None, None),
    "bytes": (bytes, b"\xff\x00\x80"),
    "datetime": (datetime, datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)),
    "datetime in a zone": (datetime, datetime(2024, 2, 29, 12, tzinfo=ZoneInfo("Europe/Prague"))),
    "naive datetime": (datetime, datetime(2024, 2, 29, 12)),
    "date": (date, date(2024, 2, 29)),
    "time": (time, time(12, 30)),
    "timedelta": (timedelta, timedelta(days=3, microseconds=1)),
    "uuid": (UUID, UUID("12345678123456781234567812345678")),
    "decimal": (Decimal, Decimal("1.10")),
    "path": (PurePosixPath, PurePosixPath("/tmp/x")),
    "enum": (Colour, Colour.BLUE),
    "literal": (Literal["a", "b"], "b"),
    "set": (set[int], {1, 2}),
    "frozenset of dates": (frozenset[date], frozenset({date(2024, 1, 1)})),
    "tuple": (tuple[int, str], (1, "x")),
    "named tuple": (Pair, Pair(1, "x")),
    "typed dict": (Options, {"deep": True}),
    "dict by number": (dict[int, Colour], {1: Colour.RED}),
    "list of models": (list[Line], [Line(start=Point(0, 0), end=Point(1, 1, {"a"}), drawn=datetime.now(UTC))]),
    "dataclass": (Point, Point(1, 2)),
    "constrained": (Annotated[int, Field(gt=0)], 5),
    "union": (int | str | None, "5"),
    "nested plain": (dict[str, list[int | None]], {"a": [1, None]}),
    "untyped": (Any, {"a": [1, 2.5, None, True, "x"]}),
    "json": (JsonValue, [{"a": {}}]),
}


@pytest.mark.parametrize("case", CASES)
def test_types_come_back_equal_and_of_their_type(case: str) -> None:
    annotation, value = CASES[case]
    back = roundtrip(annotation, value)
    assert back == value
    assert type(back) is type(value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


@app.task
def anything(value: Any, **rest: Any) -> Any:
    return value


@given(value=json_values, rest=st.dictionaries(st.sampled_from("abc"), json_values))
def test_any_json_value_comes_back(value: Any, rest: dict[str, Any]) -> None:
    assert anything.arguments(anything.encode_input(value, **rest)) == {"value": value, **rest}
    assert anything.decode_result(anything.encode_result(value)) == value


def test_text_is_read_as_the_type_says() -> None:
    @app.task
    def work(n: int, when: datetime) -> None: ...

    assert work.encode_input(n="5", when="2024-01-01T00:00:00+02:00") == '{"n":5,"when":"2024-01-01T00:00:00+02:00"}'


def test_annotations_of_local_types_are_found() -> None:
    class Local(BaseModel):
        n: int

    @app.task
    def local(ctx: Context, item: Local) -> Local:
        return item

    assert local.arguments(local.encode_input(Local(n=1))) == {"item": Local(n=1)}
    assert local.context_parameter == "ctx"


def test_email_addresses_where_the_extra_is_there() -> None:
    pytest.importorskip("email_validator", reason="the extra mainspring[email] is not installed")
    from pydantic import EmailStr

    from mainspring import InputError

    @app.task
    def write(to: EmailStr) -> None: ...

    assert write.arguments(write.encode_input(to="a@example.com")) == {"to": "a@example.com"}
    with pytest.raises(InputError, match="to: value is not a valid email address"):
        write.encode_input(to="nobody")


def test_what_a_task_is_made_of() -> None:
    @app.task(timeout="1m", max_concurrency=3, retries=2, description="Says so")
    async def described(ctx: Context, a: int, b: str = "x") -> None: ...

    assert (described.name, described.queue, described.priority) == ("described", "default", 50)
    assert (described.timeout, described.max_concurrency, described.is_async) == (60_000, 3, True)
    assert described.policy.retry.max_attempts == 3
    assert described.description == "Says so"
    assert app.tasks["described"] is described


def test_who_judges_failures() -> None:
    from mainspring import Retry

    @app.task(retry=Retry(retry_on=(OSError,)), dead_letter=lambda error, attempts: attempts > 2)
    def judged() -> None: ...

    @app.task(retry=Retry(retry_on=lambda error, attempt: attempt < 2), dead_letter=False)
    def judged_by_a_predicate() -> None: ...

    assert judged.judge(OSError(), 1) == (True, False)
    assert judged.judge(KeyError(), 3) == (False, True)
    assert judged_by_a_predicate.judge(KeyError(), 1) == (True, False)
    assert judged_by_a_predicate.judge(KeyError(), 2) == (False, False)
