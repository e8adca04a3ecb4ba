"""How every command ends where standard output takes no more."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from mainspring.cli.output import silence


class Commands(TyperGroup):
    """All commands. A reader that has seen enough ends one of them early, and with 0."""

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
        if not isinstance(refusal, BrokenPipeError):
            raise
        silence(sys.stdout)
        raise typer.Exit from None


def _refusal() -> OSError | None:
    """Why standard output takes nothing. None: it does, and the error is another's."""
    try:
        sys.stdout.write("\n")  # an empty write is never refused
        sys.stdout.flush()
    except OSError as error:
        return error
    return None
