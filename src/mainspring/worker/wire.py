"""What a worker and the processes of its cpu handlers say to each other: small records, as JSON with their length.

Nothing here is pickled: a process that answers can only say what these records can carry.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import msgspec

from mainspring.core.job import Error, Job

HEADER = struct.Struct(">I")
MAIN = "__mp_main__"
"""What the program's main module is called in a process of cpu handlers, so that its `if __name__ == "__main__"` does
not run there. The name is that of the standard library's multiprocessing, as people know it."""
LIMIT = 64 * 1024 * 1024
"""Bytes of a message; an input or a result is far smaller, so more is a fault of the line."""


class Message(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of what is said on a line between a worker and a handler's process."""


class Setup(Message, frozen=True, tag="setup"):
    """To a nursery, first: how to find the tasks whose handlers its children run."""

    path: list[str]
    """`sys.path` of the worker."""
    pythonpath: str | None = None
    """What the worker has in its environment. The nursery is started with another one, to find this very package;
    programs that handlers start are not to have that."""
    argv: list[str] = []
    """The program's arguments, for modules that look at them."""
    main: tuple[str, str] | None = None
    """Where the program's main module is needed: "file" and its path, or "module" and its name."""
    app: tuple[str, str] | None = None
    """The module and the attribute that hold the app; None where none does."""
    modules: list[str] = []
    """Those of the handlers."""
    tasks: list[str] = []
    max_jobs: int = 0
    """Jobs after which a child ends; 0: never."""
    max_memory: int = 0
    """Bytes of resident memory above which a child ends after its job; 0: never."""
    logging: tuple[int | str, str] | None = None
    """Level and format, where the worker's process has configured them by `configure_logging`."""
    url: str = ""
    """Of the worker's store; what a handler enqueues goes there or nowhere."""


class Order(Message, frozen=True, tag="order"):
    """To the process: run this job. `job` comes without its input."""

    job: Job
    input: str
    worker: str
    now: int = 0
    """ms on the worker's clock; the handler's goes on from there."""
    capture: bool = False
    log_lines: int = 1_000


class Report(Message, frozen=True, tag="report"):
    """From the process, while the handler runs: log lines (text, level, ms), and progress as JSON. An empty one comes
    first."""

    lines: list[tuple[str, str, int]] = []
    progress: str | None = None


class Returned(Message, frozen=True, tag="returned"):
    """The handler returned; `result` is JSON, None for None. `last`: the process ends now."""

    result: str | None = None
    last: bool = False


class Raised(Message, frozen=True, tag="raised"):
    """The handler raised. `kind` says how it steers its job; "error" is any other exception, "unfit" one that to run it
    again would not mend."""

    kind: str
    error: Error
    reason: str = ""
    due: int = 0
    """ms; of a snooze, and of a retry that was asked for."""
    retryable: bool = True
    dead_letter: bool = True
    last: bool = False


Answer = Report | Returned | Raised
decode_setup = msgspec.json.Decoder(Setup).decode
decode_order = msgspec.json.Decoder(Order).decode
decode_answer: Callable[[bytes], Answer] = msgspec.json.Decoder(Answer).decode
_encode = msgspec.json.Encoder().encode


def frame(message: Message) -> bytes:
    """`message` as it goes over the line."""
    body = _encode(message)
    return HEADER.pack(len(body)) + body


def length_of(header: bytes) -> int:
    """How long the message is that follows `header`. Raises `ValueError` for what no message has."""
    (length,) = HEADER.unpack(header)
    if length > LIMIT:
        raise ValueError(f"a message of {length} bytes")
    return int(length)
