"""How the command line shows things: tables for eyes, tab-separated lines or JSON for programs.

On a terminal: a table, local times, ages. In a pipe: one line a row, fields between tabs, no header, ISO times. With
`--json`: one document, for lists one document a line.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import compress
from typing import Annotated, Any, NoReturn, TextIO

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mainspring.core.duration import humanize

JsonOption = Annotated[bool, typer.Option("--json", help="JSON, not text; of a list, one document a line.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

COLOURS = {
    "pending": "cyan", "scheduled": "blue", "retrying": "yellow", "running": "green", "paused": "magenta",
    "completed": "dim", "failed": "red", "dead": "bold red", "cancelled": "dim", "interrupted": "yellow",
    "timed_out": "red", "succeeded": "green", "ok": "green", "note": "cyan", "warning": "yellow", "danger": "bold red",
    "active": "cyan", "stopping": "yellow", "silent": "bold red", "retry-scheduled": "yellow", "retired": "dim",
}  # fmt: skip


ENDING = tuple(signal.Signals[name] for name in ("SIGTERM", "SIGHUP") if name in signal.Signals.__members__)
"""The signals that end a command as Ctrl-C does, each with an exit code of its own: 128 and its number."""
WIDE = 110
"""Columns from which on a job's row has room for everything: an id takes 36 of them."""
LEGIBLE = 6
"""No column is folded into fewer."""
GAP = 2
"""Between two columns."""


class _Console(Console):
    """Rich's, where a reader that is gone is an error like others. Rich itself would end the process with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def on_terminal() -> bool:
    return sys.stdout.isatty()


def silence(stream: TextIO) -> None:
    """Let what is still written to a stream that nobody reads go nowhere. The interpreter flushes it at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


@contextmanager
def to_the_end() -> Iterator[None]:
    """Around what is told of an act: where nobody reads on, the act goes on."""
    try:
        yield
    except BrokenPipeError:
        silence(sys.stdout)


def complain(message: str) -> None:
    """Say on standard error what is wrong, in one line where it can be."""
    _tell(Text("error: " + "\n".join(clean(line) for line in message.splitlines()), style="red"))


def _tell(text: Text) -> None:
    """Say it on standard error; nobody can be told that this cannot be written."""
    try:
        _Console(stderr=True, soft_wrap=True, highlight=False).print(text)
    except OSError:
        silence(sys.stderr)


def fail(message: str, code: int = 1) -> NoReturn:
    """Complain, and end."""
    complain(message)
    raise typer.Exit(code)


def note(message: str) -> None:
    """Something for eyes only: on standard error, and only where somebody looks."""
    if sys.stderr.isatty():
        _tell(Text(clean(message), style="dim"))


def warn(message: str) -> None:
    """Something that is no error, and may be a slip: on standard error, whoever reads that."""
    _tell(Text(f"note: {clean(message)}", style="yellow"))


def say(message: str) -> None:
    """The answer of an act, on standard output."""
    typer.echo(clean(message))


def confirm(question: str, yes: bool) -> None:
    """Ask before what cannot be undone. Ends with 2 where nobody can be asked, with 1 where the answer is no, with
    130 where it is Ctrl-C or Ctrl-D."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"{question} There is no terminal to ask on: repeat the command with --yes.", 2)
    try:
        with interruptible():
            sure = typer.confirm(clean(question), err=True)
    except typer.Abort:
        typer.echo(err=True)
        fail("nothing was done.", 130)
    if not sure:
        fail("nothing was done.")


@contextmanager
def interruptible() -> Iterator[None]:
    """While input is waited for: Ctrl-C ends that, and other signals do. An event loop would only note them, and wait
    for the answer."""
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler)}
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, _leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: object) -> NoReturn:
    raise typer.Exit(128 + number)


def print_json(value: Any) -> None:
    """One JSON document: indented for eyes, in one line for programs."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2 if on_terminal() else None))


def print_json_lines(values: Sequence[Any]) -> None:
    for value in values:
        typer.echo(json.dumps(value, ensure_ascii=False))


def print_rows(
    columns: Sequence[str], rows: Sequence[Sequence[object]], whole: Sequence[str] = ("id",), spare: Sequence[str] = ()
) -> None:
    """A table, or lines. Columns named in `whole` are never cut or folded; on a narrow terminal those in `spare` are
    left out, so that what is left can be read. One that is narrower still folds the lines itself.
    """
    if not on_terminal():
        for row in rows:
            typer.echo("\t".join(_text(cell) for cell in row))
        return
    console = _Console(highlight=False)
    shown = [column not in spare or console.width >= WIDE for column in columns]
    table = Table(box=None, header_style="bold", pad_edge=False)
    cells = [[_styled(cell) for cell in compress(row, shown)] for row in rows]
    least = 0
    for number, column in enumerate(compress(columns, shown)):
        longest = max([len(column), *(row[number].cell_len for row in cells)])
        width = longest if column in whole else min(longest, LEGIBLE)
        table.add_column(column, no_wrap=column in whole, overflow="fold", min_width=width)
        least += width + GAP
    for row in cells:
        table.add_row(*row)
    console.width = max(console.width, least)
    console.print(table)


def print_fields(fields: Sequence[tuple[str, object]]) -> None:
    """Name and value, line by line, but for what is empty; nothing is folded."""
    given = [(name, value) for name, value in fields if _text(value)]
    console = _Console(highlight=False, soft_wrap=True)
    width = max((len(name) for name, _ in given), default=0) + 2
    for name, value in given:
        if on_terminal():
            console.print(Text.assemble((name.ljust(width), "bold"), _styled(value)))
        else:
            typer.echo(f"{name}\t{_text(value)}")


def print_block(title: str, text: str) -> None:
    """Several lines under a title."""
    _Console(highlight=False, soft_wrap=True).print(Text(f"\n{title}", style="bold"))
    for line in text.splitlines():
        typer.echo("  " + clean(line))


class When:
    """A time: local with its age for eyes, ISO 8601 for programs."""

    def __init__(self, at: int | None, now: int, *, short: bool = False) -> None:
        self.at = at
        self.now = now
        self.short = short

    def plain(self) -> str:
        if self.at is None:
            return ""
        return datetime.fromtimestamp(self.at / 1000).astimezone().isoformat(timespec="milliseconds")

    def shown(self) -> str:
        if self.at is None:
            return ""
        age = _age(self.at, self.now)
        return age if self.short else f"{datetime.fromtimestamp(self.at / 1000):%Y-%m-%d %H:%M:%S} ({age})"

    def __str__(self) -> str:
        return self.shown() if on_terminal() else self.plain()


def _age(at: int, now: int) -> str:
    length = abs(now - at)
    text = humanize(length if length < 1_000 else length // 1_000 * 1_000)
    return f"{text} ago" if at <= now else f"in {text}"


def clean(text: str) -> str:
    """`text` in one line, without what would steer a terminal or break a column."""
    return "".join(character if character.isprintable() else " " for character in text)


def _text(cell: object) -> str:
    return "" if cell is None else clean(str(cell))


def _styled(cell: object) -> Text:
    text = _text(cell)
    return Text(text, style=COLOURS.get(text, ""))
