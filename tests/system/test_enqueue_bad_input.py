"""Bad input: a clear error at the earliest point, and nothing is stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from pydantic import BaseModel, Field, SecretStr

from mainspring import (
    Context,
    Debounce,
    DefinitionError,
    InputError,
    Mainspring,
    OutputError,
    PayloadTooLarge,
    Retry,
    Task,
    UnknownOption,
    UnknownTask,
)
from tests.system.conftest import count

Raises = type[Exception]


class Order(BaseModel):
    id: int
    lines: list[str] = Field(min_length=1)


class Forgetful(BaseModel):
    kept: int
    lost: int = Field(default=0, exclude=True)


DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]

BAD_ARGUMENTS: dict[str, tuple[dict[str, Any], Raises, str]] = {
    "a wrong type": ({"to": 1, "n": 1}, InputError, r"to: input should be a valid string \(got 1\)"),
    "two wrong types": ({"to": 1, "n": "x"}, InputError, r"to: .*; n: .*"),
    "nothing": ({}, InputError, r"to: is missing; n: is missing.*Expected \(to: str, n: int, more: Any = None\)"),
    "an unknown name": ({"to": "a", "n": 1, "m": 2}, InputError, "m: is not known"),
    "an object": ({"to": "a", "n": 1, "more": object()}, InputError, "more: .*not a valid JSON value"),
    "a function": ({"to": "a", "n": 1, "more": len}, InputError, "more"),
    "a set for an untyped parameter": ({"to": "a", "n": 1, "more": {1}}, InputError, "more"),
    "a key that is no text": ({"to": "a", "n": 1, "more": {1: 2}}, InputError, "more"),
    "not a number": ({"to": "a", "n": 1, "more": float("nan")}, InputError, "not JSON"),
    "infinity": ({"to": "a", "n": 1, "more": [float("inf")]}, InputError, "not JSON"),
    "an integer beyond 64 bits": ({"to": "a", "n": 2**64}, InputError, "64 bits.*as text"),
    "half a character": ({"to": "\ud800", "n": 1}, InputError, "."),
    "a megabyte": ({"to": "x" * 1_000_000, "n": 1}, PayloadTooLarge, r"1,000,015 bytes.*at most 262,144"),
    "a bottomless list": ({"to": "a", "n": 1, "more": DEEP}, InputError, "."),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
async def test_bad_arguments(app: Mainspring, case: str) -> None:
    @app.task
    def send(ctx: Context, to: str, n: int, more: Any = None) -> None: ...

    arguments, error, message = BAD_ARGUMENTS[case]
    calls: list[Callable[[], Any]] = [
        lambda: send.enqueue(**arguments),
        lambda: send.options(delay=1).enqueue(**arguments),
        lambda: app.enqueue("send", arguments),
    ]
    for call in calls:
        with pytest.raises(error, match=message):
            await call()
    with pytest.raises(error, match=message):
        send.job(**arguments)
    assert await count(app) == 0


async def test_arguments_by_place(app: Mainspring) -> None:
    @app.task
    def send(to: str, *, copies: int = 1) -> None: ...

    with pytest.raises(InputError, match=r"2 arguments by place\. Expected at most 1"):
        await send.enqueue("a", 2)  # type: ignore[call-arg]
    with pytest.raises(InputError, match="to given twice"):
        await send.enqueue("a", to="b")  # type: ignore[misc]
    assert await count(app) == 0


async def test_models_are_checked_to_the_bottom(app: Mainspring) -> None:
    @app.task
    def ship(order: Order) -> None: ...

    with pytest.raises(InputError, match=r"order\.lines: list should have at least 1 item"):
        await ship.enqueue(cast(Order, {"id": 1, "lines": []}))
    with pytest.raises(InputError, match=r"order\.id: .*\(got 'x'\)"):
        await ship.enqueue(cast(Order, {"id": "x", "lines": ["a"]}))
    assert await count(app) == 0


@pytest.mark.parametrize("value", [SecretStr("hidden"), Forgetful(kept=1, lost=2)])
async def test_what_would_not_come_back_is_refused(app: Mainspring, value: Any) -> None:
    @app.task(name="one")
    def secret(value: SecretStr) -> None: ...

    @app.task(name="two")
    def forgetful(value: Forgetful) -> None: ...

    task: Any = secret if isinstance(value, SecretStr) else forgetful
    with pytest.raises(InputError, match="does not survive the way through JSON"):
        await task.enqueue(value)
    assert await count(app) == 0


async def test_a_decimal_that_is_no_number(app: Mainspring) -> None:
    @app.task
    def pay(amount: Decimal) -> None: ...

    with pytest.raises(InputError, match="finite"):
        await pay.enqueue(Decimal("NaN"))


BAD_OPTIONS: dict[str, tuple[dict[str, Any], Raises, str]] = {
    "a slip of the pen": ({"dealy": 5}, UnknownOption, "'dealy' is no option of a call. Did you mean 'delay'"),
    "an unknown option": ({"colour": 5}, UnknownOption, "Known options: delay, at, priority"),
    "debounce on the wrong level": ({"debounce": 5}, UnknownOption, "belongs to the task"),
    "retry_on on the wrong level": ({"retry_on": ValueError}, UnknownOption, "belongs to the task"),
    "should_retry": ({"should_retry": len}, UnknownOption, "retry_on"),
    "attempts": ({"attempts": 3}, UnknownOption, "is retries"),
    "retries and a policy": ({"retries": 3, "retry": Retry(2)}, DefinitionError, "both retry=.* and retries=3"),
    "a predicate, which cannot be stored": ({"retry": Retry(retry_on=KeyError)}, DefinitionError, "cannot be stored"),
    "no policy": ({"retry": 3}, DefinitionError, "bad retry: 3"),
    "half a retry": ({"retries": 1.5}, DefinitionError, "bad retries: 1.5"),
    "both times": ({"delay": 1, "at": datetime.now().astimezone()}, DefinitionError, "both at=.* and delay=1"),
    "a time without a zone": ({"at": datetime(2030, 1, 1)}, DefinitionError, "with a zone"),
    "a time as text": ({"at": "2030-01-01"}, DefinitionError, "bad at"),
    "a wrong duration": ({"delay": "5 parsecs"}, DefinitionError, "bad delay: '5 parsecs'"),
    "a negative duration": ({"delay": -1}, DefinitionError, "bad delay: -1"),
    "an endless duration": ({"delay": float("inf")}, DefinitionError, "bad delay: inf"),
    "a duration of ages": ({"delay": timedelta(days=100_000)}, DefinitionError, "0 to 100 years"),
    "no time at all": ({"timeout": 0}, DefinitionError, "bad timeout: 0"),
    "a truth for a duration": ({"expires": True}, DefinitionError, "bad expires: True"),
    "a priority above all": ({"priority": 101}, DefinitionError, "bad priority: 101. Expected .* 0 to 100"),
    "a priority below all": ({"priority": -1}, DefinitionError, "bad priority: -1"),
    "a priority by name": ({"priority": "high"}, DefinitionError, "bad priority: 'high'"),
    "half a priority": ({"priority": 50.5}, DefinitionError, "bad priority: 50.5"),
    "a queue with a colon": ({"queue": "a:b"}, DefinitionError, "bad queue name: 'a:b'"),
    "a queue without a name": ({"queue": ""}, DefinitionError, "bad queue name: ''"),
    "two keys": ({"idempotency_key": "a", "unique_key": "b"}, DefinitionError, "both idempotency_key and unique_key"),
    "a key that is no text": ({"idempotency_key": 5}, InputError, "bad idempotency_key: 5. Expected text"),
    "an empty key": ({"unique_key": ""}, InputError, "bad unique_key: 0 characters"),
    "an absurd key": ({"idempotency_key": "x" * 1_001}, InputError, "bad idempotency_key: 1,001 characters"),
    "half a character as key": ({"idempotency_key": "\ud800"}, InputError, "not valid text"),
    "meta that is no text": ({"meta": {"tenant": 5}}, InputError, "bad meta"),
    "absurd meta": ({"meta": {"x": "y" * 20_000}}, PayloadTooLarge, "meta too large"),
    "within of another kind": ({"within": "connection"}, DefinitionError, "within"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
async def test_bad_options_of_a_call(app: Mainspring, case: str) -> None:
    @app.task
    def work() -> None: ...

    options, error, message = BAD_OPTIONS[case]
    with pytest.raises(error, match=message):
        await work.options(**cast(Any, options)).enqueue()
    with pytest.raises(error, match=message):
        await app.enqueue("work", {}, **cast(Any, options))
    assert await count(app) == 0


BAD_TASKS: dict[str, tuple[dict[str, Any], str]] = {
    "a slip of the pen": ({"retires": 3}, "'retires' is no option of a task. Did you mean 'retries'"),
    "an option that does not exist": (
        {"wings": True},
        r"'wings' is no option of a task\. .*Known options: name, aliases, queue",
    ),
    "a flag that is none": ({"capture": "yes"}, "bad capture: 'yes'. Expected True or False."),
    "an option of a call": ({"delay": 5}, r"belongs to a call: task.options\(delay=...\)"),
    "the option of a schedule": ({"retry_delay": 5}, r"retry=Retry\(initial_delay=...\)"),
    "an option of the policy": ({"retry_on": KeyError}, "belongs to the policy"),
    "an empty name": ({"name": ""}, "bad task name: ''"),
    "a name with a colon": ({"name": "a:b"}, "bad task name: 'a:b'"),
    "an absurd name": ({"name": "x" * 101}, "1 to 100 letters"),
    "a bad queue": ({"queue": "a b"}, "bad queue name: 'a b'"),
    "a bad priority": ({"priority": True}, "bad priority: True"),
    "a bad timeout": ({"timeout": "soon"}, "bad timeout: 'soon'"),
    "no timeout": ({"timeout": 0}, "bad timeout: 0"),
    "no concurrency": ({"max_concurrency": 0}, "bad max_concurrency: 0"),
    "both retries": ({"retries": 3, "retry": Retry()}, "both retry"),
    "negative retries": ({"retries": -1}, "bad retries: -1"),
    "a policy that is none": ({"retry": {"max_attempts": 3}}, "bad retry"),
    "a bad dead_letter": ({"dead_letter": "no"}, "bad dead_letter: 'no'"),
    "a type as dead_letter": ({"dead_letter": ValueError}, "bad dead_letter"),
    "a key that is no function": ({"idempotency_key": "k"}, "a function of the arguments"),
    "a unique that is no function": ({"unique": "k"}, "a function of the arguments that gives text, or True"),
    "two rules": ({"unique": True, "debounce": 5}, "both unique and debounce"),
    "three rules": ({"unique": True, "debounce": 5, "idempotency_key": str}, "both idempotency_key and unique and"),
    "a bad window": ({"debounce": "a while"}, "bad debounce window: 'a while'"),
    "a bad retention": ({"retention": -1}, "bad retention: -1"),
    "a bad expiry": ({"expires": "later"}, "bad expires: 'later'"),
    "negative interruptions": ({"max_interruptions": -1}, "bad max_interruptions: -1"),
    "no history": ({"history": 0}, "bad history: 0"),
}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("delay", r"a task has no 'delay'\. Expected await task\.enqueue\("),
        ("apply_async", r"a task has no 'apply_async'\. Expected await task\.options\(delay="),
        ("colour", r"a task has no 'colour'\.$"),
    ],
)
def test_what_other_systems_call_it_is_told(name: str, message: str) -> None:
    app = Mainspring("sqlite://:memory:")
    task = app.task(_nothing)
    with pytest.raises(AttributeError, match=message):
        getattr(task, name)
    assert not hasattr(task, name)


async def _nothing() -> None: ...


@pytest.mark.parametrize("case", BAD_TASKS)
def test_bad_options_of_a_task_show_where_they_are_written(case: str) -> None:
    app = Mainspring("sqlite://:memory:")
    options, message = BAD_TASKS[case]
    with pytest.raises(DefinitionError, match=message):

        @app.task(**cast(Any, options))
        def work() -> None: ...

    assert app.tasks == {}


BAD_POLICIES: dict[str, tuple[Callable[[], object], str]] = {
    "an unknown backoff": (lambda: Retry(backoff=cast(Any, "quadratic")), "unknown backoff: 'quadratic'"),
    "a bad cron": (lambda: Retry(backoff="cron", cron="61 * * * *"), "bad cron expression: '61"),
    "a cron that never fires": (lambda: Retry(backoff="cron", cron="0 0 31 2 *"), "bad cron expression"),
    "an unknown zone": (lambda: Retry(backoff="cron", cron="* * * * *", timezone="Mars/Base"), "unknown timezone"),
    "a bound below the window": (lambda: Debounce("10s", max_wait="5s"), "shorter than the window"),
}


@pytest.mark.parametrize("case", BAD_POLICIES)
def test_bad_policies(case: str) -> None:
    make, message = BAD_POLICIES[case]
    with pytest.raises(DefinitionError, match=message):
        make()


def test_handlers_that_cannot_be_tasks() -> None:
    app = Mainspring("sqlite://:memory:")

    def many(*texts: str) -> None: ...

    def generator() -> Any:
        yield 1

    def twice(one: Context, two: Context) -> None: ...

    def bare(ctx, name: str) -> None: ...  # type: ignore[no-untyped-def]

    class Foreign:
        pass

    def foreign(thing: Foreign) -> None: ...

    def foreign_result() -> Foreign:
        return Foreign()

    cases: list[tuple[Any, str]] = [
        (many, r"\*texts cannot be stored. Take a list"),
        (generator, "it is a generator"),
        (twice, "two contexts, one and two"),
        (bare, "ctx has no annotation, so it would be an argument of the job. Write ctx: Context"),
        (foreign, "bad type of thing in input of task 'foreign'.*cannot be carried as JSON"),
        (foreign_result, "bad type of result"),
        (lambda: None, "bad task name: '<lambda>'"),
        (Foreign, "Expected a function"),
        ("text", "."),
    ]
    for handler, message in cases:
        with pytest.raises(DefinitionError, match=message):
            app.task(handler)
    assert app.tasks == {}


@pytest.mark.parametrize("option", ["idempotency_key", "unique", "debounce"])
def test_a_key_function_of_something_else(option: str) -> None:
    app = Mainspring("sqlite://:memory:")

    def key(usr: str) -> str:
        return usr

    options: Any = {option: Debounce(1, key=key) if option == "debounce" else key}
    with pytest.raises(DefinitionError, match=r"of task 'index': it takes usr\. .*some or all of \(user, revision\)"):

        @app.task(**options)
        def index(user: str, revision: int) -> None: ...


def test_a_name_is_one_task() -> None:
    app = Mainspring("sqlite://:memory:")

    @app.task
    def work() -> None: ...

    with pytest.raises(DefinitionError, match="a task named 'work' exists already"):
        app.task(name="work")(lambda: None)


async def test_unknown_tasks_and_things_that_are_none(app: Mainspring) -> None:
    @app.task
    def work() -> None: ...

    with pytest.raises(UnknownTask, match=r"unknown task: 'wrok'\. Did you mean 'work'\? Known tasks: work") as caught:
        await app.enqueue("wrok", {})
    assert (caught.value.name, caught.value.known) == ("wrok", ["work"])
    with pytest.raises(DefinitionError, match="cannot enqueue 5"):
        await app.enqueue(cast(Any, 5))
    with pytest.raises(InputError, match="Expected an object"):
        await app.enqueue("work", cast(Any, [1, 2]))
    assert await count(app) == 0


async def test_a_key_function_that_fails_or_gives_no_text(app: Mainspring) -> None:
    @app.task(idempotency_key=lambda n: cast(str, n))
    def number(n: int) -> None: ...

    @app.task(debounce=Debounce(1, key=lambda n: str(1 // n)))
    def broken(n: int) -> None: ...

    with pytest.raises(InputError, match=r"bad idempotency_key of task 'number': 5\. Expected text"):
        await number.enqueue(5)
    with pytest.raises(InputError, match="debounce key of task 'broken' raised ZeroDivisionError"):
        await broken.enqueue(0)
    assert await count(app) == 0


def test_bad_urls() -> None:
    with pytest.raises(DefinitionError, match="unknown store: 'postgres://x'"):
        Mainspring("postgres://x")
    with pytest.raises(DefinitionError, match=r'for example "sqlite:///jobs.db"'):
        Mainspring("jobs.db")


def test_bad_results() -> None:
    app = Mainspring("sqlite://:memory:")

    @app.task
    def size() -> int:
        return 1

    @app.task
    def nothing() -> None: ...

    @app.task
    def anything():  # type: ignore[no-untyped-def]
        return None

    cases: list[tuple[Task[..., Any], Any]] = [
        (size, "x"),
        (size, None),
        (nothing, 1),
        (anything, object()),
        (anything, float("nan")),
    ]
    for task, value in cases:
        with pytest.raises(OutputError, match="result of task"):
            task.encode_result(value)
    with pytest.raises(PayloadTooLarge, match="result of task 'anything' too large"):
        anything.encode_result("x" * 300_000)
    assert [size.encode_result("5"), nothing.encode_result(None), anything.encode_result({"a": [1]})] == [
        "5",
        None,
        '{"a":[1]}',
    ]
