"""What handlers print and log is in the log of their job."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import redirect_stdout
from contextvars import copy_context
from typing import Any

import pytest

from mainspring import Context, JobFailed, JobHandle, Mainspring
from mainspring.worker.output import Capture, Tee

Lines = list[tuple[str, str]]
LOG = logging.getLogger("tests.output")


@pytest.fixture(autouse=True)
def hooks_are_taken_off() -> Iterator[None]:
    before = logging.Logger.callHandlers
    yield
    assert logging.Logger.callHandlers is before
    assert not isinstance(sys.stdout, Tee)
    assert not isinstance(sys.stderr, Tee)


async def lines_of(app: Mainspring, job: JobHandle[Any]) -> Lines:
    """The log as it is when the result is there."""
    store = (await app.connect()).store
    return [(line.level, line.text) for line in await store.tail(job.id)]


async def log_of(app: Mainspring, job: JobHandle[Any]) -> Lines:
    await job.result(timeout=60)
    return await lines_of(app, job)


async def test_prints_and_records_are_lines_in_order(app: Mainspring, capsys: pytest.CaptureFixture[str]) -> None:
    @app.task(capture=True)
    async def talk(ctx: Context) -> None:
        print("one", 1)
        ctx.log("two", level="error")
        print("three", file=sys.stderr)
        LOG.warning("four %d", 4)
        print("five", end="")
        ctx.log("six")
        print(" at last\n\nand a rest", end="")

    async with app.worker():
        assert await log_of(app, await talk.enqueue()) == [
            ("info", "one 1"),
            ("error", "two"),
            ("warning", "three"),
            ("warning", "four 4"),
            ("info", "six"),
            ("info", "five at last"),
            ("info", ""),
            ("info", "and a rest"),
        ]
    printed = capsys.readouterr()
    assert printed.out == "one 1\nfive at last\n\nand a rest"
    assert printed.err.startswith("three\n")


async def test_a_function_in_a_thread(app: Mainspring, capsys: pytest.CaptureFixture[str]) -> None:
    @app.task(capture=True)
    def talk() -> None:
        print("here")
        LOG.error("there")

    async with app.worker():
        assert await log_of(app, await talk.enqueue()) == [("info", "here"), ("error", "there")]
    assert capsys.readouterr().out == "here\n"


@pytest.mark.parametrize("capture", [None, False])
async def test_nothing_is_captured_unless_asked_for(
    app: Mainspring, capsys: pytest.CaptureFixture[str], capture: bool | None
) -> None:
    seen: list[bool] = []

    async def talk() -> None:
        print("only here")
        seen.append(isinstance(sys.stdout, Tee))

    task = app.task(capture=capture)(talk) if capture is not None else app.task(talk)
    async with app.worker():
        assert await log_of(app, await task.enqueue()) == []
    assert capsys.readouterr().out == "only here\n"
    assert seen == [False]


async def test_what_a_schedule_asks_for_is_always_captured(app: Mainspring) -> None:
    @app.task
    async def tick() -> None:
        print("tick")

    async with app.worker():
        await app.schedules.create("nightly", tick, cron="0 0 1 1 *")
        assert await log_of(app, await app.schedules.run("nightly")) == [("info", "tick")]
        other = await app.enqueue(tick.job().evolve(origin="scheduled-by-hand"))
        assert await log_of(app, other) == []


async def test_many_runs_at_once_do_not_mix(app: Mainspring) -> None:
    count, lines = 30, 20

    def speak(name: str, number: int) -> None:
        sys.stdout.write(f"{name} ")
        print(number)

    @app.task(capture=True)
    async def talk(name: str) -> None:
        for number in range(lines):
            speak(name, number)
            await asyncio.sleep(0)

    @app.task(capture=True)
    def shout(name: str) -> None:
        for number in range(lines):
            speak(name, number)

    async with app.worker(concurrency=2 * count):
        calls = [task.job(f"{task.name}-{n}") for n in range(count) for task in (talk, shout)]
        for job, call in zip(await app.enqueue_many(calls), calls, strict=True):
            name = call.input.split('"')[3]
            assert await log_of(app, job) == [("info", f"{name} {number}") for number in range(lines)]


async def test_the_tasks_and_threads_of_a_handler(app: Mainspring) -> None:
    go_on, over = asyncio.Event(), asyncio.Event()
    left: list[asyncio.Task[None]] = []

    async def speak(text: str) -> None:
        print(text)

    async def outlive() -> None:
        await go_on.wait()
        print("too late")
        over.set()

    @app.task(capture=True)
    async def talk() -> None:
        await asyncio.create_task(speak("in a task"))
        await asyncio.to_thread(print, "in a thread")
        left.append(asyncio.create_task(outlive()))

    async with app.worker():
        job = await talk.enqueue()
        expected = [("info", "in a task"), ("info", "in a thread")]
        assert await log_of(app, job) == expected
        go_on.set()
        await over.wait()
        assert await log_of(app, job) == expected


async def test_a_run_that_fails_keeps_what_it_said(app: Mainspring) -> None:
    @app.task(capture=True, retries=0)
    async def fail() -> None:
        print("so far", end="")
        raise ValueError("broken")

    async with app.worker():
        job = await fail.enqueue()
        with pytest.raises(JobFailed, match="broken"):
            await job.result(timeout=60)
        assert await lines_of(app, job) == [("info", "so far")]
    error = (await job.get()).error
    assert error is not None
    assert 'raise ValueError("broken")' in error.traceback
    assert "mainspring" not in error.traceback


async def test_a_logged_exception_brings_its_traceback(app: Mainspring) -> None:
    @app.task(capture=True)
    async def survive() -> None:
        try:
            raise KeyError("lost")
        except KeyError:
            LOG.exception("survived")

    async with app.worker():
        [(level, text)] = await log_of(app, await survive.enqueue())
    assert level == "error"
    assert text.startswith("survived\nTraceback (most recent call last)")
    assert text.endswith("KeyError: 'lost'")


async def test_levels_and_mainsprings_own_records(app: Mainspring, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    @app.task(capture=True)
    async def talk() -> None:
        LOG.debug("not this")
        LOG.info("an info")
        LOG.log(logging.WARNING + 5, "between")
        LOG.critical("the end")
        logging.getLogger("mainspring").error("ours")
        logging.getLogger("mainspring.worker").error("ours")
        logging.getLogger("mainspringtime").error("yours")

    async with app.worker():
        assert await log_of(app, await talk.enqueue()) == [
            ("info", "an info"),
            ("warning", "between"),
            ("critical", "the end"),
            ("error", "yours"),
        ]
    assert {"not this", "ours", "the end"} <= set(caplog.messages)


async def test_a_record_that_is_also_printed_is_one_line(app: Mainspring) -> None:
    @app.task(capture=True)
    async def talk() -> None:
        handler = logging.StreamHandler()  # to sys.stderr, as it is now
        LOG.addHandler(handler)
        try:
            LOG.warning("once")
        finally:
            LOG.removeHandler(handler)

    async with app.worker():
        assert await log_of(app, await talk.enqueue()) == [("warning", "once")]


async def test_logging_is_configured_as_if_we_were_not_there(
    app: Mainspring, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.WARNING)

    @app.task(capture=True)
    async def configure() -> None:
        LOG.warning("by the last resort")
        logging.basicConfig(level=logging.INFO, format="configured: %(message)s")
        LOG.info("by its handler")

    async with app.worker():
        job = await configure.enqueue()
        assert await log_of(app, job) == [("warning", "by the last resort"), ("info", "by its handler")]
    assert capsys.readouterr().err.splitlines()[:2] == ["by the last resort", "configured: by its handler"]


async def test_records_that_cannot_be_shown_cost_nothing(app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    @app.task(capture=True)
    async def talk() -> str:
        LOG.propagate = False  # pytest's own handler would raise
        try:
            LOG.warning("%d eggs", "many")
            LOG.warning(Broken())
        finally:
            LOG.propagate = True
        return "done"

    async with app.worker():
        job = await talk.enqueue()
        assert await log_of(app, job) == [("warning", "%d eggs"), ("warning", "(its text cannot be shown)")]
        assert await job.result() == "done"


async def test_only_the_last_lines_are_kept(app: Mainspring) -> None:
    @app.task(capture=True)
    async def count(to: int) -> None:
        for number in range(to):
            print(number)

    async with app.worker(log_lines=5):
        assert await log_of(app, await count.enqueue(5_000)) == [("info", str(n)) for n in range(4_995, 5_000)]


async def test_a_line_is_text_that_a_store_takes(app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())

    @app.task(capture=True)
    async def talk() -> None:
        print("a lone \ud800, a \x00 and \x1b[31mred\x1b[0m")
        print("ä" * 100_000)
        for _ in range(100_000):
            print("y" * 100, end="")

    async with app.worker():
        first, second, third = await log_of(app, await talk.enqueue())
    assert first == ("info", "a lone \\ud800, a \x00 and \x1b[31mred\x1b[0m")
    assert second == ("info", "ä" * (8 * 1024 - 1) + "…")
    assert third == ("info", "y" * (8 * 1024 - 1) + "…")


async def test_where_somebody_has_replaced_the_stream(app: Mainspring, capsys: pytest.CaptureFixture[str]) -> None:
    taken, outside = io.StringIO(), io.StringIO()

    @app.task(capture=True)
    async def talk() -> None:
        with redirect_stdout(taken):
            print("only for itself")
        print("for all")

    async with app.worker():
        with redirect_stdout(outside):
            assert await log_of(app, await talk.enqueue()) == [("info", "for all")]
        assert await log_of(app, await talk.enqueue()) == [("info", "for all")]
    assert (taken.getvalue(), outside.getvalue()) == ("only for itself\n" * 2, "for all\n")
    assert capsys.readouterr().out == "for all\n"


async def test_a_stream_replaced_in_the_middle_of_a_run(app: Mainspring, capsys: pytest.CaptureFixture[str]) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()
    mine = io.StringIO()

    @app.task(capture=True)
    async def talk() -> None:
        print("before")
        started.set()
        await go_on.wait()
        print("after")

    async with app.worker():
        job = await talk.enqueue()
        await started.wait()
        with redirect_stdout(mine):
            go_on.set()
            assert await log_of(app, job) == [("info", "before")]  # it goes where it was sent
            assert await log_of(app, await talk.enqueue()) == [("info", "before"), ("info", "after")]
        stand_in = sys.stdout
        assert isinstance(stand_in, Tee)  # redirect_stdout has brought it back: it passes on, until the next run
        print("outside")
        await log_of(app, await talk.enqueue())
        assert sys.stdout is stand_in.target
    assert mine.getvalue() == "after\nbefore\nafter\n"
    assert capsys.readouterr().out == "before\noutside\nbefore\nafter\n"


# -- a capture alone --------------------------------------------------------------------------------------------------


class Heard:
    def __init__(self) -> None:
        self.lines: Lines = []

    def __call__(self, text: str, level: str) -> None:
        self.lines.append((level, text))

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.lines]


def test_a_line_without_end_is_cut_and_eats_no_memory() -> None:
    heard, piece = Heard(), "x" * 1_000
    capture = Capture(heard, 10)
    tracemalloc.start()
    try:
        with capture:
            for _ in range(10_000):
                capture.printed("info", piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000
    [text] = heard.texts
    assert 8 * 1024 < len(text) < 10_000  # the log cuts it, and shows that it did


def test_of_a_huge_piece_of_a_line_only_what_is_shown_is_kept() -> None:
    heard = Heard()
    capture = Capture(heard, 10)
    with capture:
        capture.printed("info", "x" * 1_000_000)
    [text] = heard.texts
    assert 8 * 1024 < len(text) < 10_000


def test_after_its_end_nothing_is_heard() -> None:
    heard = Heard()
    with Capture(heard, 10):
        context = copy_context()
        print("within")
    with Capture(Heard(), 10):  # for the hooks
        context.run(print, "after")
        context.run(LOG.warning, "after")
    assert heard.texts == ["within"]


def test_a_wrapper_of_a_stand_in_is_heard_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Coloured:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def write(self, text: str) -> int:
            written: int = self.stream.write(text)
            return written

    first, second = Heard(), Heard()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with Capture(first, 10):
        monkeypatch.setattr(sys, "stdout", Coloured(sys.stdout))
        with Capture(second, 10):
            print("one")
        print("two")
    assert (first.texts, second.texts) == (["two"], ["one"])


def test_of_a_huge_text_only_the_last_lines_are_looked_at() -> None:
    heard = Heard()
    capture = Capture(heard, 3)
    with capture:
        capture.printed("info", "a beginning ")
        capture.printed("info", "\n".join(str(n) for n in range(100_000)) + "\nrest")
    assert heard.texts == ["99997", "99998", "99999", "rest"]


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        (["one\r\ntwo\r\n"], ["one", "two"]),
        (["one\r", "\ntwo"], ["one", "two"]),
        (["\r10%", "\r20%", "\r100%\n"], ["100%"]),
        (["10%\r", "20%\r", "100%\r", "\n"], ["100%"]),
        (["\n", "\n"], ["", ""]),
        (["a", "b", "\nc"], ["ab", "c"]),
        (["x" * 9_000, "\rshort\n"], ["short"]),
        ([""], []),
    ],
)
def test_lines(pieces: list[str], lines: list[str]) -> None:
    heard = Heard()
    capture = Capture(heard, 10)
    with capture:
        for piece in pieces:
            capture.printed("info", piece)
    assert heard.texts == lines


def test_a_stand_in_is_its_target_but_for_writing() -> None:
    class Terminal(io.StringIO):
        encoding = "latin-1"

        def isatty(self) -> bool:
            return True

        def fileno(self) -> int:
            return 42

    terminal = Terminal()
    tee = Tee(terminal, "info")
    tee.writelines(["a\n", "b\n"])
    assert tee.write("c") == 1
    tee.flush()
    assert (tee.isatty(), tee.fileno(), tee.encoding, tee.closed) == (True, 42, "latin-1", False)
    assert terminal.getvalue() == "a\nb\nc"
    with pytest.raises(TypeError):
        tee.write(b"bytes")  # type: ignore[arg-type]
    with tee:
        pass
    assert terminal.closed


def test_bytes_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, raw = Heard(), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="utf-8", write_through=True))
    with Capture(heard, 10):
        sys.stdout.buffer.write(b"bytes\n")
        sys.stdout.buffer.flush()
        print("text")
    assert raw.getvalue() == b"bytes\ntext\n"
    assert heard.texts == ["text"]
    sys.stdout.detach()  # type: ignore[union-attr]


def test_a_process_without_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    heard = Heard()
    with Capture(heard, 10):
        print("nowhere")
    assert sys.stdout is None
    assert heard.texts == []


def test_somebody_elses_hook_over_ours_stays_and_nothing_is_heard_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, seen = Heard(), list[str]()
    original = logging.Logger.callHandlers
    monkeypatch.setattr(logging.Logger, "callHandlers", original)  # put back in the end
    with Capture(heard, 10):
        ours: Any = logging.Logger.callHandlers

        def theirs(logger: logging.Logger, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())
            ours(logger, record)

        monkeypatch.setattr(logging.Logger, "callHandlers", theirs)
    assert logging.Logger.callHandlers is theirs
    for _ in range(3):
        with Capture(heard, 10):
            LOG.warning("again")
        assert logging.Logger.callHandlers is theirs
    LOG.warning("outside")
    assert heard.texts == ["again"] * 3
    assert seen == ["again"] * 3 + ["outside"]
    monkeypatch.undo()


def test_hooks_stay_until_the_last_run_has_ended() -> None:
    first, second = Heard(), Heard()
    one, two = Capture(first, keep=10), Capture(second, keep=10)
    with redirect_stdout(io.StringIO()):
        ended, go_on = threading.Event(), threading.Event()

        def other() -> None:
            with two:
                print("two")
                ended.set()
                assert go_on.wait(10)
                print("still two")

        thread = threading.Thread(target=other)
        with one:
            thread.start()
            assert ended.wait(10)
            print("one")
        assert isinstance(sys.stdout, Tee)
        go_on.set()
        thread.join(10)
        assert not isinstance(sys.stdout, Tee)
    assert (first.texts, second.texts) == (["one"], ["two", "still two"])
