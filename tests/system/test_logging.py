"""Every line that is written while a handler runs says which run wrote it, as text or as JSON."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest

from mainspring import Context, DefinitionError, Depends, Injected, Mainspring
from mainspring.logs import JobFilter, JsonFormatter, TextFormatter, configure_logging
from mainspring.worker.middleware import CallNext

WAIT = 60
library = logging.getLogger("some.library")


@pytest.fixture
async def app() -> AsyncIterator[Mainspring]:
    app = Mainspring("sqlite://:memory:")
    yield app
    await app.close()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged as JSON, in a root logger of the test's own."""
    monkeypatch.setattr(logging.root, "handlers", [])
    level = logging.root.level
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    yield stream
    logging.root.setLevel(level)


def of(lines: io.StringIO, message: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, lines.getvalue().splitlines()) if line["message"] == message]


async def test_every_line_of_a_run_names_it_in_tasks_and_threads_and_in_what_stands_around(
    app: Mainspring, lines: io.StringIO
) -> None:
    def provider() -> int:
        library.info("here")
        return 1

    @app.middleware
    async def around(call_next: CallNext, ctx: Context) -> Any:
        library.info("here")
        return await call_next(ctx)

    async def inner() -> None:
        library.info("here")

    @app.task(queue="q")
    async def in_loop(one: Annotated[int, Depends(provider)] = Injected) -> None:
        await asyncio.create_task(inner())

    @app.task(queue="q")
    def in_thread(one: Annotated[int, Depends(provider)] = Injected) -> None:
        library.info("here")

    async with app.worker():
        for task in (in_loop, in_thread):
            job = await task.enqueue()
            await job.result(timeout=WAIT)
            named = [(line["job_id"], line["task"], line["attempt"], line["queue"]) for line in of(lines, "here")]
            assert named == [(job.id, task.name, 1, "q")] * 3
            lines.truncate(0)
            lines.seek(0)


async def test_runs_beside_each_other_are_not_mixed_up(app: Mainspring, lines: io.StringIO) -> None:
    both = threading.Barrier(2)

    @app.task
    def meet(n: int, ctx: Context) -> None:
        both.wait(WAIT)
        library.info("here", extra={"mine": ctx.job_id})
        both.wait(WAIT)

    async with app.worker():
        for job in await app.enqueue_many([meet.job(1), meet.job(2)]):  # type: ignore[call-arg]
            await job.result(timeout=WAIT)
    said = of(lines, "here")
    assert len(said) == 2
    assert all(line["mine"] == line["job_id"] for line in said)
    assert said[0]["job_id"] != said[1]["job_id"]


async def test_what_is_written_outside_of_a_run_names_none(app: Mainspring, lines: io.StringIO) -> None:
    @app.task
    async def work() -> None: ...

    async with app.worker():
        await (await work.enqueue()).result(timeout=WAIT)
        library.info("outside")
    told = [line for line in map(json.loads, lines.getvalue().splitlines()) if "job_id" in line]
    assert told == []
    assert Context.current() is None


def record(message: str, *args: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("a.logger", logging.WARNING, "file.py", 1, message, args, None)
    made.__dict__.update(more)
    JobFilter().filter(made)
    return made


def test_a_line_of_json_holds_what_the_record_holds() -> None:
    made = record("%s and %s", 1, "two", user="ada", amount=3)
    made.created = 1_700_000_000.25
    line = json.loads(JsonFormatter().format(made))
    assert line.pop("process") == made.process
    assert line == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "a.logger",
        "message": "1 and two",
        "user": "ada",
        "amount": 3,
    }


def test_our_own_events_come_with_their_fields() -> None:
    line = json.loads(JsonFormatter().format(record("text", event="run.failed", fields={"job_id": "1", "error": "e"})))
    assert (line["event"], line["job_id"], line["error"]) == ("run.failed", "1", "e")


def test_an_exception_is_one_field_of_one_line() -> None:
    try:
        raise ValueError("bad")
    except ValueError as error:
        made = record("it failed")
        made.exc_info = (ValueError, error, error.__traceback__)
    text = JsonFormatter().format(made)
    assert "\n" not in text
    assert json.loads(text)["exception"].endswith("ValueError: bad")


def test_what_json_cannot_carry_is_written_as_text() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for odd in (object(), {1, 2}, {(1, 2): 3}, circle, "\ud800"):
        assert json.loads(JsonFormatter().format(record("odd", odd=odd)))["message"] == "odd"


def test_a_line_of_text_ends_with_its_run() -> None:
    run = {"job_id": "0193", "task": "send", "attempt": 2, "queue": "mails"}
    formatter = TextFormatter("%(message)s")
    assert formatter.format(record("sent", **run)) == "sent [send 0193 attempt=2 queue=mails]"
    assert formatter.format(record("sent")) == "sent"
    assert formatter.format(record("run.failed job_id=0193", **run, fields={"job_id": "0193"})) == (
        "run.failed job_id=0193"
    )


def test_a_format_of_ones_own_may_use_the_fields_outside_of_a_run_too() -> None:
    assert logging.Formatter("%(job_id)s|%(task)s|%(attempt)s|%(queue)s").format(record("x")) == "|||"


@pytest.mark.parametrize(
    ("level", "format", "why"), [("loud", "text", "bad log level: 'loud'"), ("info", "xml", "bad log format: 'xml'")]
)
def test_a_wrong_setting_is_refused(monkeypatch: pytest.MonkeyPatch, level: str, format: Any, why: str) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    with pytest.raises(DefinitionError, match=why):
        configure_logging(level, format)
