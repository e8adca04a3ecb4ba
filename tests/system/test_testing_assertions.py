"""Assertions of a kit: what holds passes, what does not is told with what there is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from unittest.mock import ANY

import pytest
from pydantic import BaseModel

from mainspring import DeadLetter, Mainspring, Task
from mainspring.errors import DefinitionError, UnknownTask
from mainspring.testing import Kit, kit, subset


class Item(BaseModel):
    name: str
    price: float = 1.0


class Mail:
    def __init__(self) -> None:
        self.app = app = Mainspring("sqlite://:memory:")

        @app.task(queue="mail", priority=70, retries=1)
        async def send_email(to: str, subject: str = "Hi", items: list[Item] | None = None) -> None:
            if to == "nobody":
                raise ValueError("no such address")
            if to == "dead":
                raise DeadLetter("no mail for the dead")

        @app.task
        async def clean_up(older_than: int = 30, queue: str = "all", **rest: Any) -> None: ...

        self.send: Task[..., None] = send_email
        self.clean: Task[..., None] = clean_up


@pytest.fixture
def mail() -> Mail:
    return Mail()


@pytest.fixture
async def k(mail: Mail) -> AsyncIterator[Kit]:
    async with kit(mail.app) as k:
        yield k


async def failure(k: Kit, *args: Any, **wanted: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        await k.assert_enqueued(*args, **wanted)
    return str(caught.value)


async def test_by_task_and_parts_of_the_input(mail: Mail, k: Kit) -> None:
    job = await mail.send.enqueue("ada@b.c", items=[Item(name="tea")])
    found = await k.assert_enqueued(mail.send, to="ada@b.c", items=[Item(name="tea")])
    assert (found.id, found.task, found.queue, found.status, found.priority) == (
        job.id,
        "send-email",
        "mail",
        "pending",
        70,
    )
    assert found.input == {"to": "ada@b.c", "items": [Item(name="tea")]}
    await k.assert_enqueued("send-email", items=[{"name": "tea", "price": 1.0}])  # as JSON
    await k.assert_enqueued(mail.send, to=ANY)
    await k.assert_enqueued(mail.send, to=lambda to: to.startswith("ada"))
    await k.assert_enqueued(mail.send, items=[subset({"name": "tea"})])
    await k.assert_enqueued(mail.send, input={"to": "ada@b.c"}, queue="mail", priority=70, origin="call", key=None)
    await k.assert_enqueued()
    await k.refute_enqueued(mail.clean)
    await k.refute_enqueued(mail.send, to="eve@b.c")
    await k.refute_enqueued(mail.send, items=[subset({"name": "milk"})])
    await k.refute_enqueued(mail.send, items=[subset({"colour": "red"})])


async def test_a_missing_job_is_told_with_the_nearest_and_all_there_are(mail: Mail, k: Kit) -> None:
    await mail.clean.enqueue()
    job = await mail.send.enqueue("ada@b.c", subject="Hello")
    text = await failure(k, mail.send, to="ada@b.c", subject="Bye", queue="post")
    assert text.splitlines()[0] == (
        "expected a job of 'send-email' with to='ada@b.c', subject='Bye', queue='post', and there is none."
    )
    line = f'send-email {{"to":"ada@b.c","subject":"Hello"}} (pending, queue \'mail\', priority 70, {job.id})'
    assert f"The nearest, {line}:" in text
    assert "  queue: 'mail', expected 'post'\n  subject: 'Hello', expected 'Bye'\n" in text
    assert "Enqueued are:\n  clean-up {} (pending" in text


async def test_nothing_enqueued_is_told(mail: Mail, k: Kit) -> None:
    assert await failure(k, mail.send) == "expected a job of 'send-email', and there is none.\nNothing is enqueued."
    assert "expected a job with meta user='ada', and there is none." in await failure(k, meta={"user": "ada"})


async def test_a_predicate_is_named(mail: Mail, k: Kit) -> None:
    await mail.send.enqueue("ada@b.c")
    assert "to: 'ada@b.c', expected what str.isupper() accepts" in await failure(k, mail.send, to=str.isupper)


async def test_an_argument_that_was_not_given_is_told(mail: Mail, k: Kit) -> None:
    await mail.clean.enqueue()
    assert "older_than: is not given, expected 3" in await failure(k, mail.clean, older_than=3)


async def test_a_count(mail: Mail, k: Kit) -> None:
    for to in ("a", "b", "b"):
        await mail.send.enqueue(to)
    assert (await k.assert_enqueued(mail.send, count=3)).input["to"] == "a"
    await k.assert_enqueued(mail.send, to="b", count=2)
    assert "expected 1 times a job of 'send-email' with to='b', and there are 2." in await failure(
        k, mail.send, to="b", count=1
    )
    assert [job.input["to"] for job in await k.all_enqueued(mail.send)] == ["a", "b", "b"]
    bad: Any
    for bad in (-1, "two", True):
        with pytest.raises(DefinitionError, match=f"bad count: {bad!r}"):
            await k.assert_enqueued(mail.send, count=bad)


async def test_values_that_judge_themselves(mail: Mail, k: Kit) -> None:
    await mail.send.enqueue("ada")
    await k.assert_enqueued(mail.send, key=None, queue=ANY, priority=lambda priority: priority > 1)
    await k.refute_enqueued(mail.send, key=ANY, origin=lambda origin: origin != "call")


async def test_many_are_counted_and_the_first_are_shown(mail: Mail, k: Kit) -> None:
    await mail.app.enqueue_many([mail.send.job("x" * 300) for _ in range(700)])
    await k.assert_enqueued(mail.send, count=700)
    text = await failure(k, mail.send, to="y")
    assert "  ... and 680 more" in text
    assert len(text) < 10_000


async def test_the_time(mail: Mail, k: Kit) -> None:
    await mail.send.options(delay="1h").enqueue("ada")
    await k.assert_enqueued(mail.send, at="1h")
    await k.assert_enqueued(mail.send, at=k.clock.utcnow() + timedelta(hours=1), status="scheduled")
    await k.assert_enqueued(mail.send, at="61m", within="1m")
    await k.refute_enqueued(mail.send, at="61m")
    text = await failure(k, mail.send, at="59m", within="30s")
    assert re.search(r"at: 2030-01-01 01:00:00\+00:00, which is 1m later than expected", text)
    assert "(scheduled, in 1h, queue" in text


async def test_key_and_meta(mail: Mail, k: Kit) -> None:
    await mail.send.options(unique_key="u1", meta={"user": "ada", "trace": "7"}).enqueue("ada")
    await k.assert_enqueued(key="u1", meta={"user": "ada"})
    await k.refute_enqueued(key="u2")
    await k.refute_enqueued(meta={"user": "eve"})
    await k.refute_enqueued(meta={"tenant": "eve"})


async def test_an_argument_with_the_name_of_a_condition_goes_by_input(mail: Mail, k: Kit) -> None:
    await mail.clean.enqueue(queue="old", colour="red")
    await k.assert_enqueued(mail.clean, queue="default", input={"queue": "old"}, colour="red")
    await k.refute_enqueued(mail.clean, input={"queue": "default"})


async def test_what_has_ended_is_not_enqueued_but_hinted_at(mail: Mail, k: Kit) -> None:
    job = await mail.send.enqueue("ada")
    await k.drain()
    await k.refute_enqueued(mail.send)
    assert f"One like that is completed ({job.id}): status='completed' would find it." in await failure(k, mail.send)
    await k.assert_enqueued(mail.send, status="completed")
    await k.assert_enqueued(mail.send, status="any")
    await k.refute_enqueued(mail.send, status="dead")


async def test_what_is_refuted_is_shown(mail: Mail, k: Kit) -> None:
    await mail.send.enqueue("ada")
    await mail.clean.enqueue()
    with pytest.raises(AssertionError) as caught:
        await k.refute_enqueued(mail.send, to="ada")
    assert str(caught.value).startswith("expected no job of 'send-email' with to='ada', and there is:\n  send-email {")
    assert "clean-up" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "wanted", "error", "text"),
    [
        ("send-email", {"too": "ada"}, DefinitionError, "has no argument 'too', so no job has it. Expected one of to,"),
        ("send-mail", {}, UnknownTask, "Did you mean 'send-email'?"),
        ("send-email", {"status": "done"}, DefinitionError, "unknown status: 'done'. Expected one of scheduled,"),
        ("send-email", {"meta": "ada"}, DefinitionError, "bad meta: 'ada'"),
        ("send-email", {"at": "soon"}, DefinitionError, "bad at: 'soon'"),
        ("send-email", {"key": 5}, DefinitionError, "bad key: 5, so no job has it. Expected text, or a function"),
        ("send-email", {"queue": None}, DefinitionError, "bad queue: None, so no job has it"),
        ("send-email", {"origin": ["call"]}, DefinitionError, "bad origin: ['call'], so no job has it"),
        ("send-email", {"priority": "high"}, DefinitionError, "bad priority: 'high', so no job has it. Expected a num"),
        (7, {}, DefinitionError, "a job of 7. Expected a task, or the name of one"),
    ],
)
async def test_what_could_never_hold_is_no_refutation(
    k: Kit, task: Any, wanted: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=re.escape(text)):
        await k.refute_enqueued(task, **wanted)


async def test_a_task_of_another_app_is_refused(k: Kit) -> None:
    with pytest.raises(DefinitionError, match="belongs to another app than the one in this kit"):
        await k.refute_enqueued(Mail().send)


async def test_failures_are_found_whatever_became_of_them(mail: Mail, k: Kit) -> None:
    await k.assert_no_failures()
    await mail.send.enqueue("nobody")
    await mail.send.enqueue("ada")
    await k.drain()
    with pytest.raises(AssertionError, match=r"1 did:\n  send-email .*retrying(.|\n)*ValueError: no such address"):
        await k.assert_no_failures()
    await k.drain(with_scheduled=True)
    with pytest.raises(AssertionError, match=r"1 did:\n  send-email .*dead(.|\n)*ValueError: no such address"):
        await k.assert_no_failures()
    await k.assert_no_failures(ignoring=[mail.send])
    await k.assert_no_failures(ignoring=["no such address"])
    with pytest.raises(AssertionError):
        await k.assert_no_failures(ignoring=[mail.clean, "another"])


async def test_failures_are_ignored_by_what_the_handler_said(mail: Mail, k: Kit) -> None:
    await mail.send.enqueue("dead")
    await k.drain()
    with pytest.raises(AssertionError, match="no mail for the dead"):
        await k.assert_no_failures()
    await k.assert_no_failures(ignoring=["no mail"])
    bad: Any
    for bad in ("no mail", 5, mail.send, [5]):
        with pytest.raises(DefinitionError, match=r"bad ignoring: .* Expected a list of tasks"):
            await k.assert_no_failures(ignoring=bad)
