"""What handlers say, on its way into the store: text that every store takes, and log lines in batches.

A reason that is no text, or a lone surrogate in a log line, must cost neither its job nor the neighbours in its batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mainspring.stores.base import BATCH_BYTES, BATCH_ROWS, LogLine, Store

LINE_BYTES = 64
"""What a log line weighs in a batch besides its text."""


def storable(value: object, limit: int) -> str:
    """`value` as text of at most `limit` characters. Lone surrogates are shown, not carried; None is no text."""
    if value is None:
        return ""
    try:
        text = str(value)
    except Exception:  # an object of the user's, whose own text cannot be made
        return "(its text cannot be shown)"
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


async def append(store: Store, lines: Sequence[LogLine], keep: int) -> None:
    """Append to the logs of jobs, in as many round trips as their size asks for. Raises `StoreError`."""
    for batch in batches(lines):
        await store.append(batch, keep)


def batches(lines: Sequence[LogLine]) -> Iterator[list[LogLine]]:
    """`lines`, in order, in batches that a store takes."""
    batch: list[LogLine] = []
    size = 0
    for line in lines:
        weight = len(line.text.encode()) + LINE_BYTES
        if batch and (len(batch) == BATCH_ROWS or size + weight > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += weight
    if batch:
        yield batch
