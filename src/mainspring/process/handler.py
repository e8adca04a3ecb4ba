"""A child of the nursery: it runs cpu handlers, one job after the other, and answers on its own line.

It may be killed at any moment. It decides nothing: what it answers is what the handler did, and the worker goes on from
there as with any other handler. After so many jobs, or above so much memory, it ends after its answer.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, BinaryIO, NamedTuple

import msgspec

from mainspring.core.task import Task
from mainspring.errors import OutputError, PayloadTooLarge
from mainspring.logs import running
from mainspring.process.handler_context import HandlerContext
from mainspring.process.reports import Reports
from mainspring.worker.dependencies import Resolved
from mainspring.worker.output import Capture
from mainspring.worker.raised import raised
from mainspring.worker.wire import HEADER, Order, Raised, Report, Returned, Setup, decode_order, frame, length_of


class Handlers(NamedTuple):
    """The tasks that a nursery has loaded, and how its children are to run them."""

    tasks: dict[str, Task[Any, Any]]
    setup: Setup


def serve(line: socket.socket, handlers: Handlers) -> None:
    """Run the jobs that come over `line`, until it ends or this process has had its share."""
    jobs, own = 0, os.getpid()
    with line, line.makefile("rb") as stream:
        while (said := _read(stream)) is not None:
            line.sendall(frame(Report()))  # begun: if this process ends from here on, it has to do with the job
            order = decode_order(said)
            jobs += 1
            reports = Reports(line, order.log_lines)
            answer = _run(order, handlers, reports)
            if os.getpid() != own:  # a fork that the handler has made, and let return: the answer is not its to give
                os._exit(isinstance(answer, Raised))
            last = _had_its_share(jobs, handlers.setup)
            flush()
            reports.end(msgspec.structs.replace(answer, last=last))
            if last:
                return


def _read(stream: BinaryIO) -> bytes | None:
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    return stream.read(length_of(header))


def _run(order: Order, handlers: Handlers, reports: Reports) -> Returned | Raised:
    task = handlers.tasks[order.job.task]
    context = HandlerContext(order, task, reports, handlers.setup.url)
    try:
        arguments = task.arguments(order.input)
        if task.context_parameter is not None:
            arguments[task.context_parameter] = context
        with _output(order, context):
            value = _call(task, context, arguments)
    except BaseException as error:
        return raised(error, task, order.job.attempt, context.now())
    try:
        return Returned(result=task.encode_result(value))
    except BaseException as error:  # the code of a result's own type may raise anything
        unfit = isinstance(error, (OutputError, PayloadTooLarge))
        return raised(error, task, order.job.attempt, context.now(), unfit=unfit)


def _call(task: Task[Any, Any], context: HandlerContext, arguments: dict[str, Any]) -> Any:
    """The handler runs outside of the event loop that its dependencies are made and cleaned up in."""
    running.set(context)
    if not task.needs:
        return task.handler(**arguments)
    with asyncio.Runner() as runner:
        resolved = Resolved(task.needs, context, {}, _here)
        values = runner.run(resolved.__aenter__())
        try:
            value = task.handler(**arguments, **values)
        except BaseException as error:
            runner.run(resolved.__aexit__(type(error), error, error.__traceback__))
            raise
        runner.run(resolved.__aexit__(None, None, None))
        return value


async def _here(function: Callable[[], Any]) -> Any:
    return function()  # nobody else is on this loop


def _output(order: Order, context: HandlerContext) -> AbstractContextManager[None]:
    return Capture(context.log, order.log_lines) if order.capture else nullcontext()


def _had_its_share(jobs: int, setup: Setup) -> bool:
    return (0 < setup.max_jobs <= jobs) or (0 < setup.max_memory < resident())


def resident() -> int:
    """Bytes of memory that this process has to itself or shares, as the system counts it now; at its peak, where the
    system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def flush() -> None:
    """Let what was printed out, for this process ends without the interpreter's own care."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # closed, or a handler has put something else there
