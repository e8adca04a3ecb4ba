"""What a type checker must see of functions as tasks. Checked by tests/system/test_typing.py; never run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, assert_type

from pydantic import BaseModel

from mainspring import Context, Debounce, JobHandle, Mainspring, Request, Retry, Task

app = Mainspring("sqlite://:memory:")


class Address(BaseModel):
    street: str


@dataclass
class Receipt:
    number: int


@app.task
async def bare(to: str) -> int:
    """Without a context, without options."""
    return len(to)


@app.task
async def with_context(ctx: Context, to: str, copies: int = 1) -> Receipt:
    return Receipt(copies)


@app.task(queue="emails", priority=75, timeout="30s", max_concurrency=10, expires="1h", retention="1d", history=10)
async def with_options(to: Address, /, subject: str, *, urgent: bool = False) -> Receipt:
    return Receipt(1)


@app.task(name="in-thread")
def in_thread(to: str) -> list[str]:
    return [to]


@app.task
def in_thread_with_context(ctx: Context, to: str) -> None:
    ctx.log(to)


@app.task
async def of_nothing() -> dict[str, int]:
    return {}


@app.task
async def open_to_more(to: str, **more: int) -> None: ...


class Mailer:
    async def send(self, to: str, copies: int = 1) -> Receipt:
        return Receipt(copies)

    async def send_with_context(self, ctx: Context, to: str) -> Receipt:
        return Receipt(1)

    def send_in_thread(self, to: str) -> int:
        return 1


async def greet(greeting: str, to: str) -> str:
    return greeting + to


mailer = Mailer()
method = app.task(mailer.send)
method_with_context = app.task(mailer.send_with_context)
method_in_thread = app.task(name="send-in-thread")(mailer.send_in_thread)
part = app.task(name="hello")(partial(greet, "Hello "))

emails = app.task(queue="emails", retries=3)
"""The decorator with options, kept for several tasks."""


@emails
async def of_a_family(to: str) -> int:
    return 1


@emails(name="of-a-family-too", priority=90)
async def of_a_family_too(ctx: Context, to: str) -> int:
    return 1


def right() -> None:
    assert_type(bare.job("a"), Request[int])
    assert_type(with_context.job("a", 2), Request[Receipt])
    assert_type(with_context.job("a", copies=2), Request[Receipt])
    assert_type(with_options.job(Address(street="s"), "s", urgent=True), Request[Receipt])
    assert_type(in_thread.job(to="a"), Request[list[str]])
    assert_type(in_thread_with_context.job(to="a"), Request[None])
    assert_type(of_nothing.job(), Request[dict[str, int]])
    assert_type(open_to_more.job("a", n=1), Request[None])
    assert_type(method.job("a", copies=2), Request[Receipt])
    assert_type(method_with_context.job("a"), Request[Receipt])
    assert_type(method_in_thread.job(to="a"), Request[int])
    assert_type(part.job("a"), Request[str])
    assert_type(of_a_family.job("a"), Request[int])
    assert_type(of_a_family_too.job("a"), Request[int])
    assert_type(bare.name, str)
    assert_type(bare.timeout, int | None)
    assert_type(app.tasks["bare"], Task[Any, Any])


def wrong_arguments() -> None:
    bare.job(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bare.job()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    bare.job("a", "b")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with_context.job(Context, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with_context.job(to="a", ctx=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with_context.job("a", copies="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with_options.job(to=Address(street="s"), subject="s")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with_options.job({"street": "s"}, "s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with_options.job(Address(street="s"), "s", True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    of_nothing.job(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    open_to_more.job("a", n="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    method.job(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    method_with_context.job()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    method_in_thread.job(to=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    of_a_family.job()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    of_a_family_too.job(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def takes_text_task(task: Task[[str], str]) -> None: ...


def takes_any_task(task: Task[..., Any]) -> None: ...


def wrong_tasks() -> None:
    takes_any_task(greet)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    takes_text_task(bare)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.task(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    app.task(queue=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.task(prioritee=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    app.task(priority="high")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.task(retry=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.task(retries="3")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.task(timeout=object())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.task(unique="yes")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.task(debounce=object())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.task(dead_letter=lambda error: True)  # type: ignore[arg-type, misc]  # pyright: ignore[reportArgumentType]
    app.task(idempotency_key=lambda to: 1)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType, reportUnknownLambdaType]
    app.task(max_concurrency="all")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def key_of(to: str, **_: object) -> str:
    return to


def right_options() -> None:
    app.task(retry=Retry(max_attempts=3), dead_letter=lambda error, attempt: attempt > 1)
    app.task(idempotency_key=key_of)
    app.task(unique=True)
    app.task(unique=key_of)
    app.task(debounce="5s")
    app.task(debounce=Debounce(5, max_wait="1m", key=key_of))
    app.task(dead_letter=False, dead_retention="90d", max_interruptions=0, capture=True, description="text")


def right_but_for_a_strict_pyright() -> None:
    """It asks for the types of a lambda's parameters, which nobody but the task knows; a function says them."""
    app.task(idempotency_key=lambda to, **_: f"welcome-{to}")  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
    app.task(unique=lambda to: f"{to}")  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]


async def by_hand() -> None:
    takes_any_task(bare)
    assert_type(await app.client.enqueue_request(bare.job("a")), JobHandle[int])
    assert_type(bare.request({"to": "a"}), Request[int])
