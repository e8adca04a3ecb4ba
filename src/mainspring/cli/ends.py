"""How every command ends where standard output takes no more, and what stands for a stream that is closed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from mainspring.cli.output import fail, silence


class Commands(TyperGroup):
    """All commands. A reader that has seen enough ends one of them early, and with 0; a full disk does with 1."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        with _heeding_the_reader():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with _heeding_the_reader():
            return super().invoke(ctx)


@contextmanager
def _heeding_the_reader() -> Iterator[None]:
    try:
        yield
    except OSError:
        refusal = _refusal()
        if refusal is None:
            raise
        silence(sys.stdout)
        if isinstance(refusal, BrokenPipeError):
            raise typer.Exit from None
        fail(f"standard output cannot be written: {refusal.strerror}. Expected a terminal, a pipe or a file with room.")


def _refusal() -> OSError | None:
    """Why standard output takes nothing. None: it does, and the error is another's."""
    try:
        sys.stdout.write("\n")  # an empty write is never refused
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


def open_streams() -> None:
    """Let a stream that was closed before we began be empty, and take everything, as /dev/null."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for as long as the process lives
